//! /proc/net/ptype: the receivers of each packet type (`ptype_seq_show`, net/core/net-procfs.c).
//!
//! A packet socket (`tcpdump`, a DHCP client) shows up here as `packet_rcv`.

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::{hex, text};
use super::lines;

/// Widths of the type, and of a device's name unless it is longer.
const TYPE: usize = 4;
const DEVICE: usize = 8;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// `ETH_P_*`; `None` is everything (`ETH_P_ALL`).
    pub protocol: Option<u16>,
    /// The device, if the receiver is bound to one. Hostile bytes.
    pub device: Option<String>,
    /// The kernel function, with its module in brackets.
    pub function: String,
}

/// Reads every receiver.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Receiver>> {
    lines::rows(table, path, malformed, lines::first(b"Type "), parse)
}

fn parse(line: &[u8]) -> Option<Receiver> {
    let (kind, rest) = line.split_at_checked(TYPE)?;
    let protocol = match kind {
        b"ALL " => None,
        kind => Some(u16::try_from(hex(kind)?).ok()?),
    };
    let rest = rest.strip_prefix(b" ")?;
    let (device, function) = match rest.first()? {
        // No device: its columns are blank.
        b' ' => (None, rest.get(DEVICE..)?.strip_prefix(b" ")?),
        _ => {
            let end = rest.iter().position(|&c| c == b' ')?;
            (Some(text(rest.get(..end)?)), rest.get(end.max(DEVICE)..)?.strip_prefix(b" ")?)
        }
    };
    let function = text(function.trim_ascii_end());
    (!function.is_empty() && !function.starts_with(' ')).then_some(Receiver { protocol, device, function })
}
