//! Lays out the lines of a page: tables, paragraphs, blank lines.

use crate::escape;
use crate::ink::Ink;
use crate::table::measured::{self, Shape};
pub(super) use crate::table::measured::{Cell, Measured as Column};
use crate::terminal::Columns;
use crate::wrap::Paragraph;

/// Blanks between two columns.
const GAP: usize = 2;

/// A page that grows line by line.
pub(super) struct Page {
    text: String,
    color: bool,
    columns: usize,
}

impl Page {
    pub(super) fn new(color: bool, columns: Columns) -> Self {
        Self { text: String::new(), color, columns: columns.get() }
    }

    pub(super) const fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Appends text, escaped and wrapped; further lines are indented by `indent`.
    pub(super) fn line(&mut self, text: &str, indent: usize, ink: Ink) {
        let mut shown = String::new();
        escape::push(&mut shown, text);
        let paragraph = Paragraph { first: 0, rest: indent, columns: self.columns };
        ink.paint(&mut self.text, self.color, |out| {
            paragraph.push(out, shown.trim_end_matches(' '));
        });
        self.text.push('\n');
    }

    /// Appends a table. `heading`: whether to show the names of the columns.
    pub(super) fn table(&mut self, columns: &[Column], rows: &[Vec<Cell>], heading: bool) {
        let shape = Shape { line: self.columns, gap: GAP, heading, color: self.color };
        measured::write(&mut self.text, columns, rows, shape);
    }
}
