//! /proc/net/softnet_stat: the receive path of each CPU (`softnet_seq_show`, net/core/net-procfs.c).
//!
//! Host-wide. 13 columns up to Linux 5.x, 15 from 6.x on.

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;

/// A CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number; `None` where the kernel does not print it.
    pub cpu: Option<u32>,
    /// The raw columns, each a 32-bit counter that wraps.
    pub columns: Vec<u32>,
}

impl Cpu {
    /// Returns the packets processed.
    #[must_use]
    pub fn processed(&self) -> u32 {
        self.column(0)
    }

    /// Returns the packets dropped because the CPU's backlog was full (`net.core.netdev_max_backlog`).
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.column(1)
    }

    /// Returns how often work was left when the budget ended (`net.core.netdev_budget`).
    #[must_use]
    pub fn time_squeeze(&self) -> u32 {
        self.column(2)
    }

    /// Returns the packets dropped by the flow limit.
    #[must_use]
    pub fn flow_limit(&self) -> u32 {
        self.column(10)
    }

    fn column(&self, n: usize) -> u32 {
        self.columns.get(n).copied().unwrap_or(0)
    }
}

/// Reads every online CPU.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Cpu>> {
    lines::rows(table, path, malformed, lines::no_header, |line| {
        let mut fields = Fields::new(line);
        let mut columns = Vec::with_capacity(15);
        while fields.end().is_none() {
            columns.push(fields.hex()?);
        }
        // The first three columns are as old as the file.
        (columns.len() >= 3).then(|| Cpu { cpu: columns.get(12).copied(), columns })
    })
}
