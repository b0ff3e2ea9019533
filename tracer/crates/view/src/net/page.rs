//! Lays out the lines of a page: columns, colours, and a right margin.

use std::fmt::Write as _;

use crate::escape;
use tracer_host::net::health::Severity;

/// The right margin, unless lines may be wide.
const COLUMNS: usize = 100;

/// A page that grows line by line.
pub(super) struct Page {
    text: String,
    color: bool,
    columns: usize,
}

/// The colour of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Faint,
    Sick,
    Watch,
}

impl From<Severity> for Ink {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Sick => Self::Sick,
            Severity::Watch => Self::Watch,
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its heading.
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text, cut to this many columns, and further where the page is too narrow.
    Left(usize),
    /// Numbers, never cut.
    Right,
    /// The rest of the line, cut at the margin.
    Rest,
    /// The rest of the line, wrapped at the margin.
    Prose,
}

impl Column {
    pub(super) const fn left(name: &'static str, most: usize) -> Self {
        Self { name, kind: Kind::Left(most) }
    }

    pub(super) const fn right(name: &'static str) -> Self {
        Self { name, kind: Kind::Right }
    }

    pub(super) const fn rest(name: &'static str) -> Self {
        Self { name, kind: Kind::Rest }
    }

    pub(super) const fn prose(name: &'static str) -> Self {
        Self { name, kind: Kind::Prose }
    }
}

/// The least columns of prose, and of a cut column.
const PROSE: usize = 24;
const LEAST: usize = 8;
/// Blanks between two columns.
const GAP: usize = 2;

/// A cell: text of any origin.
#[derive(Clone, Debug)]
pub(super) struct Cell(pub(super) String, pub(super) Ink);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into(), Ink::Plain)
    }
}

impl Page {
    pub(super) fn new(color: bool, wide: bool) -> Self {
        Self { text: String::new(), color, columns: if wide { usize::MAX } else { COLUMNS } }
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
        let mut column = 0;
        self.ink(ink);
        for word in text.split(' ') {
            let mut shown = String::new();
            escape::push(&mut shown, word);
            let width = escape::width(&shown);
            if column > indent && column + 1 + width > self.columns {
                let _ = write!(self.text, "\n{:indent$}", "");
                column = indent;
            } else if column > 0 {
                self.text.push(' ');
                column += 1;
            }
            column += escape::push_cut_plain(&mut self.text, &shown, self.columns.saturating_sub(column));
        }
        self.end(ink);
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }

    /// Appends a table; columns are as wide as their cells, as far as the page allows. `heading`: whether
    /// to show the names of the columns.
    pub(super) fn table(&mut self, columns: &[Column], rows: &[Vec<Cell>], heading: bool) {
        let mut shown: Vec<Vec<(String, Ink)>> = Vec::with_capacity(rows.len() + 1);
        if heading {
            shown.push(columns.iter().map(|column| (column.name.to_owned(), Ink::Faint)).collect());
        }
        for row in rows {
            let escaped = |cell: &Cell| {
                let mut text = String::new();
                escape::push(&mut text, &cell.0);
                (text, cell.1)
            };
            shown.push(row.iter().map(escaped).collect());
        }
        let widths = self.widths(columns, &shown);
        for row in &shown {
            self.row(columns, &widths, row);
        }
    }

    fn widths(&self, columns: &[Column], rows: &[Vec<(String, Ink)>]) -> Vec<usize> {
        let natural = |(at, column): (usize, &Column)| {
            let widest =
                rows.iter().filter_map(|row| row.get(at)).map(|cell| escape::width(&cell.0)).max().unwrap_or(0);
            match column.kind {
                Kind::Left(most) if self.columns != usize::MAX => widest.min(most),
                Kind::Left(_) | Kind::Right => widest,
                Kind::Rest => widest.min(LEAST),
                Kind::Prose => widest.min(PROSE),
            }
        };
        let mut widths: Vec<usize> = columns.iter().enumerate().map(natural).collect();
        let gaps = GAP * columns.len().saturating_sub(1);
        let mut surplus = (widths.iter().sum::<usize>() + gaps).saturating_sub(self.columns);
        // The widest text shrinks first.
        while surplus > 0 {
            let text = columns.iter().zip(&mut widths).filter(|(column, _)| matches!(column.kind, Kind::Left(_)));
            match text.map(|(_, width)| width).max().filter(|width| **width > LEAST) {
                Some(width) => *width -= 1,
                None => break,
            }
            surplus -= 1;
        }
        widths
    }

    fn row(&mut self, columns: &[Column], widths: &[usize], cells: &[(String, Ink)]) {
        let mut at = 0;
        for (n, ((column, width), (text, ink))) in columns.iter().zip(widths).zip(cells).enumerate() {
            if n > 0 {
                let _ = write!(self.text, "{:GAP$}", "");
                at += GAP;
            }
            // No colours around empty text: blanks at the end of a line go away.
            let ink = if text.is_empty() { &Ink::Plain } else { ink };
            match column.kind {
                Kind::Left(_) => {
                    self.ink(*ink);
                    let used = push_middle(&mut self.text, text, *width);
                    self.end(*ink);
                    let _ = write!(self.text, "{:1$}", "", width.saturating_sub(used));
                }
                Kind::Right => {
                    let _ = write!(self.text, "{:1$}", "", width.saturating_sub(escape::width(text)));
                    self.ink(*ink);
                    self.text.push_str(text);
                    self.end(*ink);
                }
                Kind::Rest => {
                    self.ink(*ink);
                    escape::push_cut_plain(&mut self.text, text, self.columns.saturating_sub(at));
                    self.end(*ink);
                }
                Kind::Prose => self.prose(text, at, *ink),
            }
            at += width;
        }
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }

    /// Appends words from column `at` on, also in further lines.
    fn prose(&mut self, text: &str, at: usize, ink: Ink) {
        self.ink(ink);
        let mut column = at;
        for word in text.split(' ') {
            let width = escape::width(word);
            if column > at && column + 1 + width > self.columns {
                let _ = write!(self.text, "\n{:at$}", "");
                column = at;
            } else if column > at {
                self.text.push(' ');
                column += 1;
            }
            column += escape::push_cut_plain(&mut self.text, word, self.columns.saturating_sub(column));
        }
        self.end(ink);
    }

    fn ink(&mut self, ink: Ink) {
        if self.color {
            self.text.push_str(match ink {
                Ink::Plain => "",
                Ink::Faint => "\x1b[2m",
                Ink::Sick => "\x1b[31m",
                Ink::Watch => "\x1b[33m",
            });
        }
    }

    fn end(&mut self, ink: Ink) {
        if self.color && ink != Ink::Plain {
            self.text.push_str("\x1b[0m");
        }
    }
}

/// Appends as much of `text` as fits into `columns`, with `…` for the middle: an address ends in the
/// port, a process in the pid. Returns the number of columns used.
fn push_middle(out: &mut String, text: &str, columns: usize) -> usize {
    if escape::width(text) <= columns || !text.is_ascii() {
        return escape::push_cut_plain(out, text, columns);
    }
    let tail = columns.saturating_sub(1) / 2;
    let head = columns.saturating_sub(1) - tail;
    out.push_str(text.get(..head).unwrap_or_default());
    out.push('…');
    out.push_str(text.get(text.len() - tail..).unwrap_or_default());
    columns
}
