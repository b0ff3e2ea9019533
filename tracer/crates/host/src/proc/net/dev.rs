//! /proc/net/dev: the traffic of each device (`dev_seq_printf_stats`, net/core/net-procfs.c).

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::{Fields, text};
use super::lines;

/// The columns, from left to right. `drop` of the receiving side adds up the kernel's `rx_dropped`
/// and `rx_missed_errors`; `frame` and `carrier` add up several kinds of errors each.
pub const COLUMNS: [&str; 16] = [
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "rx_fifo",
    "rx_frame",
    "rx_compressed",
    "multicast",
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
    "tx_fifo",
    "collisions",
    "tx_carrier",
    "tx_compressed",
];

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name. Hostile bytes.
    pub name: String,
    /// The counts since the device exists, in the order of [`COLUMNS`].
    pub counters: [u64; 16],
}

/// Reads every device.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Device>> {
    lines::rows(table, path, malformed, |number, line| number <= 2 && line.contains(&b'|'), parse)
}

fn parse(line: &[u8]) -> Option<Device> {
    let mut fields = Fields::new(line);
    let name = text(fields.label()?);
    let mut counters = [0; 16];
    for counter in &mut counters {
        *counter = fields.number()?;
    }
    fields.end()?;
    Some(Device { name, counters })
}
