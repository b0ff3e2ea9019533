//! /proc/net/stat/*: a heading, then the hexadecimal counters of each CPU in a line
//! (`ct_cpu_seq_show`, net/netfilter/nf_conntrack_standalone.c; `neigh_stat_seq_show`,
//! net/core/neighbour.c). Every line repeats `entries`. The tables of neighbours are host-wide, those
//! of connection tracking belong to the namespace.

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::{Fields, text};
use super::lines;

/// A file of `stat/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The heading.
    pub names: Vec<String>,
    /// A line for each CPU, as long as the heading. Counters of 32 bits that wrap.
    pub cpus: Vec<Vec<u32>>,
}

impl Table {
    /// Returns the counter `name` of all CPUs together; `None` if this kernel has none of that name.
    #[must_use]
    pub fn sum(&self, name: &str) -> Option<u64> {
        let at = self.names.iter().position(|found| found == name)?;
        Some(self.cpus.iter().filter_map(|cpu| cpu.get(at)).map(|value| u64::from(*value)).sum())
    }
}

/// Reads the whole table.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Table> {
    let mut read = Table::default();
    lines::each(table, path, malformed, |number, line| {
        let mut fields = Fields::new(line);
        if number == 1 {
            while let Some(name) = fields.word() {
                read.names.push(text(name));
            }
            return line.first().filter(|c| c.is_ascii_alphabetic()).map(|_| ());
        }
        let cpu: Vec<u32> = read.names.iter().map(|_| fields.hex()).collect::<Option<_>>()?;
        fields.end()?;
        (!cpu.is_empty()).then(|| read.cpus.push(cpu))
    })?;
    Ok(read)
}
