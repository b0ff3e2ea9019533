//! /proc/net/arp: the IPv4 neighbours (`arp_format_neigh_entry`, net/ipv4/arp.c).
//!
//! It shows no states and no IPv6: see [`crate::netlink::neighbours`].

use std::io::{self, BufRead};
use std::net::Ipv4Addr;
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;

/// `ATF_COM`: the hardware address is known.
pub const ATF_COM: u32 = 0x2;

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// `ARPHRD_*` of the device.
    pub hardware: u16,
    /// `ATF_*`.
    pub flags: u32,
    /// Hardware address as text; empty on devices that have none.
    pub lladdr: String,
    /// The device. Hostile bytes.
    pub device: String,
}

/// Reads every neighbour.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Neighbour>> {
    lines::rows(table, path, malformed, lines::first(b"IP address"), parse)
}

fn parse(line: &[u8]) -> Option<Neighbour> {
    let mut fields = Fields::new(line);
    let address = str::from_utf8(fields.word()?).ok()?.parse().ok()?;
    let (hardware, flags) = (fields.prefixed_hex()?, fields.prefixed_hex()?);
    let lladdr = if fields.left() == 2 { String::new() } else { fields.text()? };
    // The mask: always `*` by now.
    if fields.word()? != b"*" {
        return None;
    }
    let device = fields.text()?;
    fields.end()?;
    Some(Neighbour { address, hardware, flags, lladdr, device })
}
