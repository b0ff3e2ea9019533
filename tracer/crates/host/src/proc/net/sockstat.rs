//! /proc/net/sockstat and sockstat6: how many sockets, and their memory (`sockstat_seq_show`,
//! net/ipv4/proc.c; `sockstat6_seq_show`, net/ipv6/proc.c).
//!
//! `orphan`, `alloc` and `mem` of TCP and `mem` of UDP are host-wide.

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::{Fields, text};
use super::lines;

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `TCP`, `UDP6`, `sockets`.
    pub group: String,
    /// `inuse`, `orphan`, `tw`, `alloc`, `used`: sockets; `mem`: pages; `memory`: bytes.
    pub key: String,
    /// Its value.
    pub value: u64,
}

/// Reads every number, in the order of the file.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Entry>> {
    let groups = lines::rows(table, path, malformed, lines::no_header, |line| {
        let mut fields = Fields::new(line);
        let group = text(fields.label()?);
        let mut entries = Vec::new();
        while let Some(key) = fields.text() {
            entries.push(Entry { group: group.clone(), key, value: fields.signed_count()? });
        }
        (!entries.is_empty()).then_some(entries)
    })?;
    Ok(groups.into_iter().flatten().collect())
}

/// Returns the number `key` of `group`.
#[must_use]
pub fn find(entries: &[Entry], group: &str, key: &str) -> Option<u64> {
    entries.iter().find(|entry| entry.group == group && entry.key == key).map(|entry| entry.value)
}

impl Fields<'_> {
    /// Takes a count printed with `%d` or `%ld`. The sum of the CPUs' counters may be below zero for a
    /// moment: that becomes 0.
    fn signed_count(&mut self) -> Option<u64> {
        self.signed().map(|value| u64::try_from(value).unwrap_or(0))
    }
}
