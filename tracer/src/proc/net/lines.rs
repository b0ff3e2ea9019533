//! What all parsers do: line by line, with a note of the lines that are none.

use std::io::{self, BufRead};
use std::path::Path;

use super::super::net_tcp::Malformed;

/// Gives every line of `table` to `line`, with its number (from 1) and without its end. A line for
/// which it answers `None` is noted with `path` in `malformed`.
///
/// # Errors
/// Those of reading.
pub(super) fn each(
    mut table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    mut line: impl FnMut(u64, &[u8]) -> Option<()>,
) -> io::Result<()> {
    let mut text = Vec::with_capacity(256);
    let mut number = 0;
    while table.read_until(b'\n', &mut text)? != 0 {
        number += 1;
        if line(number, text.strip_suffix(b"\n").unwrap_or(&text)).is_none() {
            malformed.add(path, number);
        }
        text.clear();
    }
    Ok(())
}

/// As [`each`], for tables whose rows are one line each. `header`: the line of that number is a
/// heading if it answers so.
pub(super) fn rows<T>(
    table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    header: impl Fn(u64, &[u8]) -> bool,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut rows = Vec::new();
    each(table, path, malformed, |number, line| match parse(line) {
        Some(row) => {
            rows.push(row);
            Some(())
        }
        None => header(number, line).then_some(()),
    })?;
    Ok(rows)
}
