//! One table: columns that give way in order of their worth where a line is too short for all, and that grow where it is
//! longer.
//!
//! A [`Layout`] divides a line once, for rows that are written one by one. [`write`] knows all rows, and makes columns as
//! wide as their cells.

use crate::escape;
use crate::ink::Ink;
use crate::wrap::Paragraph;

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

/// What happens to a cell that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TooLong {
    /// It loses its middle: an address ends in the port, a process in the pid.
    Middle,
    /// It is whole nevertheless.
    Whole,
    /// It goes on to the end of the line, and is cut there.
    Cut,
    /// It goes on to the end of the line, and in the next lines.
    Wrapped,
}

/// A column that is as wide as its cells.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    name: &'static str,
    too_long: TooLong,
    least: usize,
    most: usize,
    optional: Option<u8>,
}

impl Measured {
    /// The least columns of prose; more if that keeps words whole, up to an address of IPv6.
    const PROSE: usize = 24;
    const LONGEST_WORD: usize = 39;
    /// The least columns of a cut cell.
    const LEAST: usize = 8;

    const fn new(name: &'static str, too_long: TooLong, most: usize) -> Self {
        Self { name, too_long, least: 0, most, optional: None }
    }

    /// Makes a column of text; cells of more than `most` columns lose their middle, if somebody else needs the room.
    #[must_use]
    pub const fn left(name: &'static str, most: usize) -> Self {
        Self::new(name, TooLong::Middle, most)
    }

    /// Makes a column of numbers, which are never cut.
    #[must_use]
    pub const fn right(name: &'static str) -> Self {
        Self::new(name, TooLong::Whole, usize::MAX)
    }

    /// Makes a last column that is cut at the end of the line.
    #[must_use]
    pub const fn rest(name: &'static str) -> Self {
        Self::new(name, TooLong::Cut, Self::LEAST)
    }

    /// Makes a last column that is wrapped.
    #[must_use]
    pub const fn prose(name: &'static str) -> Self {
        Self::new(name, TooLong::Wrapped, usize::MAX)
    }

    /// Lets the column go away where there is no room; those of less worth go first.
    #[must_use]
    pub const fn optional(self, worth: u8) -> Self {
        Self { optional: Some(worth), ..self }
    }

    /// Makes the column at least so wide.
    #[must_use]
    pub const fn at_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// Makes a column for cells of at most `natural` columns, with words of at most `word`.
    fn column(self, natural: usize, word: usize) -> Column {
        let natural = natural.max(self.least);
        let most = match self.too_long {
            TooLong::Wrapped => word.clamp(Self::PROSE, Self::LONGEST_WORD),
            _ => self.most,
        };
        let usual = natural.min(most);
        let (sizes, worth) = match self.too_long {
            TooLong::Middle => ([usual.min(Self::LEAST), usual, natural], 1),
            TooLong::Whole => ([natural; 3], 1),
            TooLong::Cut | TooLong::Wrapped => ([usual, usual, natural], 2),
        };
        let column = match self.too_long {
            TooLong::Whole => Column { side: Side::Right, ..Column::text(self.name, sizes, worth) },
            _ => Column::text(self.name, sizes, worth),
        };
        match self.optional {
            Some(worth) => Column { worth, optional: true, ..column },
            None => column,
        }
    }
}

/// A cell: text of any origin.
#[derive(Clone, Debug)]
pub struct Cell(pub String, pub Ink);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into(), Ink::Plain)
    }
}

/// How a measured table looks.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The columns of a line.
    pub line: usize,
    /// Blanks between two columns.
    pub gap: usize,
    /// Whether the names of the columns stand above.
    pub heading: bool,
    /// Whether to use colours.
    pub color: bool,
}

/// Appends a table whose columns are as wide as their cells, as far as the line allows.
pub fn write(out: &mut String, columns: &[Measured], rows: &[Vec<Cell>], shape: Shape) {
    let mut shown: Vec<Vec<(String, Ink)>> = Vec::with_capacity(rows.len() + 1);
    if shape.heading {
        shown.push(columns.iter().map(|column| (column.name.to_owned(), Ink::Heading)).collect());
    }
    for row in rows {
        let escaped = |cell: &Cell| {
            let mut text = String::new();
            escape::push(&mut text, &cell.0);
            (text, cell.1)
        };
        shown.push(row.iter().map(escaped).collect());
    }
    let cells = |at: usize| shown.iter().filter_map(move |row| Some(row.get(at)?.0.as_str()));
    let sized: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let natural = cells(at).map(escape::width).max();
            let word = cells(at).flat_map(|text| text.split(' ')).map(escape::width).max();
            column.column(natural.unwrap_or(0), word.unwrap_or(0))
        })
        .collect();
    let layout = Layout { widths: fit(&sized, shape.gap, shape.line), columns: sized, gap: shape.gap };
    let begins: Vec<usize> = layout
        .widths
        .iter()
        .scan(0, |at: &mut usize, width| {
            let begin = *at;
            *at = at.saturating_add(width.map_or(0, |width| width.saturating_add(shape.gap)));
            Some(begin)
        })
        .collect();
    for (number, row) in shown.iter().enumerate() {
        let is_heading = shape.heading && number == 0;
        layout.row(out, shape.color, |out, at, width| {
            let (Some(column), Some((text, ink)), Some(begin)) = (columns.get(at), row.get(at), begins.get(at)) else {
                return Ink::Plain;
            };
            match column.too_long {
                TooLong::Middle if is_heading => {
                    escape::push_cut_plain(out, text, width);
                }
                TooLong::Middle => push_middle(out, text, width),
                TooLong::Whole => out.push_str(text),
                TooLong::Cut => {
                    escape::push_cut_plain(out, text, shape.line.saturating_sub(*begin));
                }
                TooLong::Wrapped => {
                    Paragraph { first: *begin, rest: *begin, columns: shape.line }.push(out, text);
                }
            }
            *ink
        });
    }
}

/// Appends as much of `text` as fits into `columns`, with `…` for the middle.
fn push_middle(out: &mut String, text: &str, columns: usize) {
    if escape::width(text) <= columns {
        return out.push_str(text);
    }
    let Some(kept) = columns.checked_sub(1) else { return };
    let tail = taken(escape::units(text).rev(), kept / 2);
    let head = taken(escape::units(text), kept - kept / 2);
    out.push_str(text.get(..head).unwrap_or_default());
    out.push('…');
    out.push_str(text.get(text.len() - tail..).unwrap_or_default());
}

/// Returns the bytes of the first of `units` that fit into `columns`.
fn taken<'a>(units: impl Iterator<Item = &'a str>, columns: usize) -> usize {
    let mut used = 0;
    let fitting = units.take_while(|unit| {
        used += escape::width(unit);
        used <= columns
    });
    fitting.map(str::len).sum()
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

    fn table(columns: &[Measured], rows: &[&[&str]], line: usize) -> String {
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(|text| (*text).into()).collect()).collect();
        let mut out = String::new();
        write(&mut out, columns, &rows, Shape { line, gap: 2, heading: true, color: false });
        out
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let columns = [Measured::left("to", 12), Measured::right("n"), Measured::prose("means")];
        let rows: [&[&str]; 2] = [&["10.0.0.1:80", "12", "one two"], &["[2001:db8::1]:443", "1", "three four five"]];
        let expected = "\
to         n  means
10.0…:80  12  one two
[200…443   1  three four
              five
";
        assert_eq!(table(&columns, &rows, 24), expected);
        let expected = "\
to                  n  means
10.0.0.1:80        12  one two
[2001:db8::1]:443   1  three four five
";
        assert_eq!(table(&columns, &rows, 60), expected, "where there is room, nothing is cut");
    }

    #[test]
    fn a_cut_cell_has_whole_escapes() {
        let rows: [&[&str]; 1] = [&["evil\u{1b}[2J\n\u{202e}[4711]", "1"]];
        for line in 12..40 {
            let text = table(&[Measured::left("process", 32), Measured::right("n")], &rows, line);
            let row = text.lines().nth(1).unwrap_or_default();
            assert!(escape::width(row) <= line, "{row}");
            let escapes = [r"\x1b", r"\n", r"\u{202e}"];
            let plain = escapes.iter().fold(row.to_owned(), |text, escape| text.replace(escape, ""));
            assert!(!plain.contains('\\') && !plain.contains('{'), "{row}");
        }
    }
}
