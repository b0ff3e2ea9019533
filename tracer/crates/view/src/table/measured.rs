//! A table of which all rows are known: its columns are as wide as their cells.

use super::{Column, Layout, Side, fit};
use crate::escape;
use crate::ink::Ink;
use crate::wrap::Paragraph;

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
