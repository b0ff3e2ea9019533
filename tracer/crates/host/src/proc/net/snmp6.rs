//! /proc/net/snmp6: a name and a value in each line (`snmp6_seq_show`, net/ipv6/proc.c).

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;
use super::snmp::Counter;

/// Reads every counter (such as `Ip6InReceives`), in the order of the file.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Counter>> {
    lines::rows(table, path, malformed, lines::no_header, |line| {
        let mut fields = Fields::new(line);
        let name = fields.text().filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))?;
        let value = i128::from(fields.number::<u64>()?);
        fields.end()?;
        Some(Counter { name, value })
    })
}
