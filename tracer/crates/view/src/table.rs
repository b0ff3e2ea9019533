//! One table: columns that give way in order of their worth where a line is too short for all, and that grow where it is
//! longer.
//!
//! A [`Layout`] divides a line once, for rows that are written one by one. [`measured::write`] knows all rows, and makes
//! columns as wide as their cells.

pub mod measured;

use crate::escape;
use crate::ink::Ink;

/// The side of a column at which its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    name: &'static str,
    side: Side,
    /// Columns below which its cells mean nothing.
    least: usize,
    /// Columns in a line of 100.
    usual: usize,
    /// Columns beyond which it does not grow.
    full: usize,
    /// Columns of less worth give way first, and grow last.
    worth: u8,
    /// Whether it goes away where the least columns of all do not fit.
    optional: bool,
}

impl Column {
    /// Makes a column of text: `least` columns wide, `usual`ly more, `full` at most.
    #[must_use]
    pub const fn text(name: &'static str, [least, usual, full]: [usize; 3], worth: u8) -> Self {
        Self { name, side: Side::Left, least, usual, full, worth, optional: false }
    }

    /// Makes a column of numbers.
    #[must_use]
    pub const fn number(name: &'static str, columns: usize) -> Self {
        Self { side: Side::Right, ..Self::text(name, [columns; 3], 0) }
    }

    /// Lets the column go away where there is no room; those of less worth go first, and those of
    /// the same worth together.
    #[must_use]
    pub const fn optional(self, worth: u8) -> Self {
        Self { optional: true, worth, ..self }
    }
}

/// Divides `line` among `columns`, with `gap` between two of them. `None`: the column goes away.
fn fit(columns: &[Column], gap: usize, line: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = columns.iter().map(|column| Some(column.usual)).collect();
    let used = |widths: &[Option<usize>]| {
        let shown = widths.iter().flatten();
        shown.fold(0, |used: usize, width| used.saturating_add(*width).saturating_add(gap)).saturating_sub(gap)
    };
    let least = |widths: &[Option<usize>]| {
        let least: Vec<_> = columns.iter().zip(widths).map(|(column, width)| width.map(|_| column.least)).collect();
        used(&least)
    };
    while least(&widths) > line {
        let shown = columns.iter().zip(&widths).filter(|(column, width)| column.optional && width.is_some());
        let Some(worth) = shown.map(|(column, _)| column.worth).min() else { break };
        let goes = columns.iter().zip(&mut widths).filter(|(column, _)| column.optional && column.worth == worth);
        goes.for_each(|(_, width)| *width = None);
    }
    let mut surplus = used(&widths).saturating_sub(line);
    while surplus > 0 {
        let shown = columns.iter().zip(&mut widths).filter_map(|(column, width)| Some((column, width.as_mut()?)));
        // The widest of the least worth.
        let shrinks = shown.filter(|(column, width)| **width > column.least);
        match shrinks.min_by_key(|(column, width)| (column.worth, usize::MAX - **width)) {
            Some((_, width)) => *width -= 1,
            None => break,
        }
        surplus -= 1;
    }
    loop {
        let room = line.saturating_sub(used(&widths));
        let shown = columns.iter().zip(&mut widths).filter_map(|(column, width)| Some((column, width.as_mut()?)));
        let grows: Vec<_> = shown.filter(|(column, width)| **width < column.full).collect();
        let Some(worth) = grows.iter().map(|(column, _)| column.worth).max().filter(|_| room > 0) else { break };
        let mut grows: Vec<_> = grows.into_iter().filter(|(column, _)| column.worth == worth).collect();
        let each = (room / grows.len()).max(1);
        for (column, width) in grows.iter_mut().take(room) {
            **width = width.saturating_add(each).min(column.full);
        }
    }
    widths
}

/// A line that is divided among columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    columns: Vec<Column>,
    widths: Vec<Option<usize>>,
    gap: usize,
}

impl Layout {
    /// Divides a line of `columns`, with a blank between two of them.
    #[must_use]
    pub fn new(columns: &[Column], line: usize) -> Self {
        Self { columns: columns.to_vec(), widths: fit(columns, 1, line), gap: 1 }
    }

    /// Makes columns as wide as they may become.
    #[must_use]
    pub fn full(columns: &[Column]) -> Self {
        let widths = columns.iter().map(|column| Some(column.full)).collect();
        Self { columns: columns.to_vec(), widths, gap: 1 }
    }

    /// Returns the width of a column; 0 if it is not shown.
    pub(crate) fn width(&self, at: usize) -> usize {
        self.widths.get(at).copied().flatten().unwrap_or(0)
    }

    /// Whether every column is as wide as in a line of 100.
    pub(crate) fn is_usual(&self) -> bool {
        self.columns.iter().zip(&self.widths).all(|(column, width)| *width == Some(column.usual))
    }

    /// Appends the names of the columns.
    pub fn header(&self, out: &mut String) {
        self.row(out, false, |out, at, width| {
            let name = self.columns.get(at).map_or("", |column| column.name);
            escape::push_cut_plain(out, name, width);
            Ink::Plain
        });
    }

    /// Appends a row and a newline. `cell` appends the cell in the column of this number, which has so much room, and
    /// returns its ink.
    pub fn row(&self, out: &mut String, color: bool, mut cell: impl FnMut(&mut String, usize, usize) -> Ink) {
        // Where the line is, and where the column begins: after a number that is too long they differ, until there is
        // room again.
        let (mut at, mut planned) = (0_usize, 0_usize);
        for (number, (column, width)) in self.columns.iter().zip(&self.widths).enumerate() {
            let Some(width) = *width else { continue };
            if planned > 0 {
                let blanks = planned.saturating_sub(at).max(self.gap);
                push_blanks(out, blanks);
                at += blanks;
            }
            let end = planned.saturating_add(width);
            let begin = out.len();
            let ink = cell(out, number, end.saturating_sub(at));
            let used = escape::width(out.get(begin..).unwrap_or_default());
            paint(out, begin, ink, color);
            if column.side == Side::Right && at + used < end {
                insert_blanks(out, begin, end - at - used);
                at = end;
            } else {
                at += used;
            }
            planned = end.saturating_add(self.gap);
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
}

fn push_blanks(out: &mut String, count: usize) {
    const BLANKS: &str = "                                ";
    let mut left = count;
    while left > 0 {
        let some = left.min(BLANKS.len());
        out.push_str(BLANKS.get(..some).unwrap_or_default());
        left -= some;
    }
}

fn insert_blanks(out: &mut String, at: usize, count: usize) {
    let cell = out.split_off(at);
    push_blanks(out, count);
    out.push_str(&cell);
}

/// Puts the sequences of `ink` around the text from `begin` on, unless it is empty.
fn paint(out: &mut String, begin: usize, ink: Ink, color: bool) {
    let (before, after) = ink.ends(color);
    if !before.is_empty() && out.len() > begin {
        out.insert_str(begin, before);
        out.push_str(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("NAME", [4, 10, 20], 3),
        Column::text("PLACE", [4, 10, 20], 1),
        Column::number("COUNT", 5).optional(2),
        Column::text("OWNER", [4, 10, 12], 1),
    ];

    fn widths(line: usize) -> Vec<Option<usize>> {
        Layout::new(&COLUMNS, line).widths
    }

    #[test]
    fn columns_give_way_in_order_of_worth() {
        assert!(Layout::new(&COLUMNS, 38).is_usual());
        assert_eq!(widths(38), [Some(10), Some(10), Some(5), Some(10)]);
        assert_eq!(widths(34), [Some(10), Some(8), Some(5), Some(8)], "those of least worth share it");
        assert_eq!(widths(26), [Some(10), Some(4), Some(5), Some(4)]);
        assert_eq!(widths(22), [Some(6), Some(4), Some(5), Some(4)]);
        assert_eq!(widths(20), [Some(4), Some(4), Some(5), Some(4)]);
        assert_eq!(widths(19), [Some(9), Some(4), None, Some(4)], "what goes away leaves its room to the others");
        assert_eq!(widths(1), [Some(4), Some(4), None, Some(4)]);
    }

    #[test]
    fn columns_grow_in_order_of_worth() {
        assert_eq!(widths(40), [Some(12), Some(10), Some(5), Some(10)]);
        assert_eq!(widths(52), [Some(20), Some(12), Some(5), Some(12)]);
        assert_eq!(widths(55), [Some(20), Some(15), Some(5), Some(12)]);
        assert_eq!(widths(usize::MAX), [Some(20), Some(20), Some(5), Some(12)]);
    }

    #[test]
    fn a_row_is_never_wider_than_its_line() {
        for line in 14..80 {
            let mut out = String::new();
            let layout = Layout::new(&COLUMNS, line);
            layout.header(&mut out);
            layout.row(&mut out, false, |out, _, width| {
                escape::push_cut(out, "日本語 and more \u{1b}[2J", width);
                Ink::Failure
            });
            assert!(out.lines().all(|text| escape::width(text) <= line), "{line}: {out}");
        }
    }

    #[test]
    fn sides_and_inks() {
        let mut out = String::new();
        let layout = Layout::new(&COLUMNS, 38);
        layout.header(&mut out);
        layout.row(&mut out, true, |out, at, _| {
            out.push_str(["one", "", "7", "me"][at]);
            [Ink::Good, Ink::Good, Ink::Warning, Ink::Plain][at]
        });
        let expected =
            "NAME       PLACE      COUNT OWNER\n\x1b[32mone\x1b[0m                       \x1b[33m7\x1b[0m me\n";
        assert_eq!(out, expected);
    }
}
