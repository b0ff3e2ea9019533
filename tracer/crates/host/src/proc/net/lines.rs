//! Reads a table line by line for all parsers, and notes malformed lines.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

/// The number of malformed lines whose places are kept.
pub(super) const PLACES: usize = 8;
/// Longer lines are malformed: the longest lines of real kernels are TcpExt in netstat, an SCTP
/// association with its addresses, and a Unix socket, whose name has 108 bytes.
const LONGEST: usize = 16 * 1024;

/// The malformed lines of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Malformed {
    /// How many.
    pub count: u64,
    /// The places of the first ones: file and line, counted from 1.
    pub places: Vec<(PathBuf, u64)>,
}

impl Malformed {
    pub(super) fn add(&mut self, path: &Path, line: u64) {
        self.count += 1;
        if self.places.len() < PLACES {
            self.places.push((path.to_owned(), line));
        }
    }
}

/// Passes every line of `table` to `line`, with its number (from 1) and without its end. A line for
/// which it returns `None` is noted with `path` in `malformed`.
///
/// # Errors
/// Errors of reading; `line` has got the lines before.
pub(super) fn each(
    mut table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    mut line: impl FnMut(u64, &[u8]) -> Option<()>,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(256);
    let mut number = 0;
    while table.read_until(b'\n', &mut bytes)? != 0 {
        number += 1;
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if text.len() > LONGEST || line(number, text).is_none() {
            malformed.add(path, number);
        }
        bytes.clear();
        bytes.shrink_to(LONGEST);
    }
    Ok(())
}

/// Like [`each`], for tables with one row a line: passes every row to `sink` and returns their number.
/// `header`: whether the line with that number is a heading.
pub(super) fn each_row<T>(
    table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    header: impl Fn(u64, &[u8]) -> bool,
    parse: impl Fn(&[u8]) -> Option<T>,
    mut sink: impl FnMut(T),
) -> io::Result<u64> {
    let mut rows = 0;
    each(table, path, malformed, |number, line| match parse(line) {
        Some(row) => {
            rows += 1;
            sink(row);
            Some(())
        }
        None => header(number, line).then_some(()),
    })?;
    Ok(rows)
}

/// A line of a table of sockets.
pub trait SocketLine: Sized {
    /// The beginning of the heading.
    const HEADING: &'static [u8];

    /// Parses a line, with or without its end; `None` if it is not a row.
    fn parse(line: &[u8]) -> Option<Self>;
}

/// Passes every socket of `table` to `sink` and returns their number. Malformed lines are noted with
/// `path` in `malformed` and skipped.
///
/// # Errors
/// Errors of reading; `sink` has got the rows before.
pub fn read_sockets<R: SocketLine>(
    table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    sink: impl FnMut(R),
) -> io::Result<u64> {
    each_row(table, path, malformed, first(R::HEADING), R::parse, sink)
}

/// Like [`each_row`], but returns the rows.
pub(super) fn rows<T>(
    table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    header: impl Fn(u64, &[u8]) -> bool,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut rows = Vec::new();
    each_row(table, path, malformed, header, parse, |row| rows.push(row))?;
    Ok(rows)
}

/// Recognizes a heading in the first line by its beginning, after blanks.
pub(super) fn first(start: &'static [u8]) -> impl Fn(u64, &[u8]) -> bool {
    move |number, line| number == 1 && line.trim_ascii_start().starts_with(start)
}

/// Recognizes no heading.
pub(super) fn no_header(_: u64, _: &[u8]) -> bool {
    false
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_none_and_the_next_one_is_read() {
        let long = [vec![b'1'; LONGEST + 1], b"\n".to_vec()].concat();
        let table = [b" name\n".to_vec(), long.clone(), b"2\n".to_vec(), long, b"3".to_vec()].concat();
        let mut malformed = Malformed::default();
        let parse = |line: &[u8]| line.first().filter(|c| c.is_ascii_digit()).copied();
        let found = rows(&table[..], Path::new("t"), &mut malformed, first(b"name"), parse).unwrap();
        assert_eq!(found, b"23");
        assert_eq!(malformed, Malformed { count: 2, places: vec![("t".into(), 2), ("t".into(), 4)] });
    }
}
