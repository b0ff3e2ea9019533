//! /proc/net/if_inet6: the IPv6 addresses of this namespace (`if6_seq_show`, net/ipv6/addrconf.c).

use std::io::{self, BufRead};
use std::net::Ipv6Addr;
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// Index of its device.
    pub ifindex: u32,
    /// Length of its prefix.
    pub prefix: u8,
    /// Scope: `IPV6_ADDR_LOOPBACK` 0x10, `IPV6_ADDR_LINKLOCAL` 0x20, 0 for global ones.
    pub scope: u8,
    /// `IFA_F_*`, the low eight bits: 0x08 duplicate found, 0x40 tentative, 0x80 permanent.
    pub flags: u8,
    /// Its device. Hostile bytes.
    pub device: String,
}

/// Reads every address.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Address>> {
    lines::rows(table, path, malformed, lines::no_header, parse)
}

fn parse(line: &[u8]) -> Option<Address> {
    let mut fields = Fields::new(line);
    let address = Address {
        address: fields.ipv6()?,
        ifindex: fields.hex()?,
        prefix: fields.hex().filter(|prefix| *prefix <= 128)?,
        scope: fields.hex()?,
        flags: fields.hex()?,
        device: fields.text()?,
    };
    fields.end()?;
    Some(address)
}
