//! A table of /proc/net: a line with the names of the columns, then a row a line.

use std::io::{self, BufRead};
use std::path::Path;

use super::net_tcp::Malformed;

/// Longer lines are no rows: the longest is a Unix socket's, whose name has 108 bytes, or an SCTP
/// association's with its addresses.
const LONGEST: usize = 16 * 1024;

/// Gives every row of `table` to `sink` and says how many there were. Lines that `parse` does not
/// take are noted with `path` in `malformed` and skipped; the first line is not looked at if
/// `is_header` knows it.
///
/// # Errors
/// Those of reading; the rows before have been given.
pub(super) fn read<T>(
    mut table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    is_header: impl Fn(&[u8]) -> bool,
    parse: impl Fn(&[u8]) -> Option<T>,
    mut sink: impl FnMut(T),
) -> io::Result<u64> {
    let mut line = Vec::with_capacity(256);
    let (mut number, mut rows) = (0, 0);
    while table.read_until(b'\n', &mut line)? != 0 {
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match parse(text).filter(|_| text.len() <= LONGEST) {
            Some(row) => {
                rows += 1;
                sink(row);
            }
            None if number == 1 && is_header(text.trim_ascii_start()) => {}
            None => malformed.add(path, number),
        }
        line.clear();
        line.shrink_to(LONGEST);
    }
    Ok(rows)
}
