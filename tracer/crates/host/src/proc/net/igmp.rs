//! /proc/net/igmp: the IPv4 multicast groups of each device (`igmp_mc_seq_show`, net/ipv4/igmp.c).

use std::io::{self, BufRead};
use std::net::Ipv4Addr;
use std::path::Path;

use super::super::dir::decimal;
use super::Malformed;
use super::fields::{Fields, hex, text};
use super::lines;

/// A group of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index of the device.
    pub ifindex: u32,
    /// The device. Hostile bytes.
    pub device: String,
    /// The group.
    pub group: Ipv4Addr,
    /// Sockets (and the kernel itself) that have joined it.
    pub users: u32,
}

/// Reads every group.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Group>> {
    let mut groups = Vec::new();
    let mut device = None;
    lines::each(table, path, malformed, |number, line| {
        if line.starts_with(b"\t") {
            let (ifindex, name) = device.as_ref()?;
            let (group, users) = group(line)?;
            groups.push(Group { ifindex: *ifindex, device: String::clone(name), group, users });
            return Some(());
        }
        if number == 1 && line.starts_with(b"Idx") {
            return Some(());
        }
        // The groups below a malformed device line have no device.
        device = device_of(line);
        device.is_some().then_some(())
    })?;
    Ok(groups)
}

/// Parses `1 lo : 1 V3`, with tabs.
fn device_of(line: &[u8]) -> Option<(u32, String)> {
    let mut fields = Fields::new(line);
    let (index, name) = (fields.number()?, text(fields.label()?));
    fields.number::<u32>()?; // groups
    fields.word()?; // version of the querier
    fields.end()?;
    Some((index, name))
}

/// Parses `010000E0 1 0:00000000 0`, with tabs.
fn group(line: &[u8]) -> Option<(Ipv4Addr, u32)> {
    let mut fields = Fields::new(line);
    let (group, users) = (word(fields.word()?)?, fields.number()?);
    let timer = fields.word()?;
    let colon = timer.iter().position(|&c| c == b':')?;
    decimal(timer.get(..colon)?)?;
    hex(timer.get(colon + 1..)?)?;
    fields.number::<u32>()?; // whether we report it
    fields.end()?;
    Some((group, users))
}

/// Parses 8 digits: the packet's word, printed as a host integer.
pub(super) fn word(text: &[u8]) -> Option<Ipv4Addr> {
    let word = hex(text).filter(|_| text.len() == 8)?;
    Some(u32::try_from(word).ok()?.to_ne_bytes().into())
}
