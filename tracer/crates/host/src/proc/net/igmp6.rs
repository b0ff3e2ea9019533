//! /proc/net/igmp6: the IPv6 multicast groups of each device (`igmp6_mc_seq_show`, net/ipv6/mcast.c).

use std::io::{self, BufRead};
use std::net::Ipv6Addr;
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;

/// A group of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index of the device.
    pub ifindex: u32,
    /// The device. Hostile bytes.
    pub device: String,
    /// The group.
    pub group: Ipv6Addr,
    /// Sockets (and the kernel itself) that have joined it.
    pub users: u32,
}

/// Reads every group.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Group>> {
    lines::rows(table, path, malformed, lines::no_header, parse)
}

fn parse(line: &[u8]) -> Option<Group> {
    let mut fields = Fields::new(line);
    let (ifindex, device) = (fields.number()?, fields.text()?);
    let group = Group { ifindex, device, group: fields.ipv6()?, users: fields.number()? };
    fields.hex::<u32>()?; // MAF_* flags
    fields.number::<u64>()?; // time to the next report
    fields.end()?;
    Some(group)
}
