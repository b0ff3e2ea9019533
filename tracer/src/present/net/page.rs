//! Lines of a page: columns, colours, and nothing beyond the right margin.

use std::fmt::Write as _;

use crate::net::health::Severity;
use crate::present::escape;

/// Nothing is longer, unless lines may be wide.
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
    pub(super) name: &'static str,
    /// Cells are cut to this many columns, unless the page is wide.
    pub(super) most: usize,
    /// Numbers stand at the right.
    pub(super) right: bool,
}

impl Column {
    pub(super) const fn left(name: &'static str, most: usize) -> Self {
        Self { name, most, right: false }
    }

    pub(super) const fn right(name: &'static str) -> Self {
        Self { name, most: 40, right: true }
    }
}

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

    /// A line of text, escaped; what does not fit goes on below, set in by `indent`.
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

    /// A table; columns are as wide as what is in them. The last one goes on below where it does not
    /// fit. `heading`: whether the names of the columns are shown.
    pub(super) fn table(&mut self, columns: &[Column], rows: &[Vec<Cell>], heading: bool) {
        let wide = self.columns == usize::MAX;
        let shown: Vec<Vec<(String, Ink)>> = rows
            .iter()
            .map(|row| {
                let cell = |(column, cell): (&Column, &Cell)| {
                    let mut text = String::new();
                    let most = if wide { usize::MAX } else { column.most };
                    escape::push_cut(&mut text, &cell.0, most);
                    (text, cell.1)
                };
                columns.iter().zip(row).map(cell).collect()
            })
            .collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let head = if heading { escape::width(column.name) } else { 0 };
                shown
                    .iter()
                    .filter_map(|row| row.get(at))
                    .map(|cell| escape::width(&cell.0))
                    .max()
                    .unwrap_or(0)
                    .max(head)
            })
            .collect();
        if heading {
            let names: Vec<(String, Ink)> = columns.iter().map(|column| (column.name.to_owned(), Ink::Faint)).collect();
            self.row(columns, &widths, &names);
        }
        for row in &shown {
            self.row(columns, &widths, row);
        }
    }

    fn row(&mut self, columns: &[Column], widths: &[usize], cells: &[(String, Ink)]) {
        let mut at = 0;
        let last = cells.len().saturating_sub(1);
        for (n, ((column, width), (text, ink))) in columns.iter().zip(widths).zip(cells).enumerate() {
            if n > 0 {
                self.text.push_str("  ");
                at += 2;
            }
            if n == last && !column.right {
                self.last(text, at, *ink);
                break;
            }
            let blanks = width.saturating_sub(escape::width(text));
            let (before, after) = if column.right { (blanks, 0) } else { (0, blanks) };
            let _ = write!(self.text, "{:before$}", "");
            self.ink(*ink);
            self.text.push_str(text);
            self.end(*ink);
            let _ = write!(self.text, "{:after$}", "");
            at += width;
        }
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }

    /// The last cell of a row that begins at column `at`.
    fn last(&mut self, text: &str, at: usize, ink: Ink) {
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
