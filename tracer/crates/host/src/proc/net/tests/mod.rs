//! Tests of the parsers: files of real kernels, tables of any content, and garbage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixtures;
mod format;
mod fuzz;
mod kernels;
mod socket_lines;
mod tables;

use std::io;
use std::path::Path;

use super::Malformed;

/// Returns the result of `read` for `text`, and the malformed lines.
fn parsed<T>(text: &[u8], read: impl Fn(&[u8], &Path, &mut Malformed) -> io::Result<T>) -> (T, Vec<u64>) {
    let mut malformed = Malformed::default();
    let table = read(text, Path::new("table"), &mut malformed).unwrap();
    let lines: Vec<u64> = malformed.places.iter().map(|(_, line)| *line).collect();
    assert_eq!(lines.len(), usize::try_from(malformed.count).unwrap().min(8));
    (table, lines)
}
