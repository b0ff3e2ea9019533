//! /proc/net/route: the IPv4 routes of the main table (`fib_route_seq_show`, net/ipv4/fib_trie.c).

use std::io::{self, BufRead};
use std::net::Ipv4Addr;
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::igmp::word;
use super::lines;

/// `RTF_REJECT`: unreachable or prohibited. (Blackholes have no device either, but no mark.)
pub const RTF_REJECT: u16 = 0x200;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its device; `None` if it has none (`*`). Hostile bytes.
    pub device: Option<String>,
    /// The destination.
    pub destination: Ipv4Addr,
    /// Length of the prefix.
    pub prefix: u8,
    /// The gateway, if it has one. A route over an IPv6 gateway has none here.
    pub gateway: Option<Ipv4Addr>,
    /// `RTF_*`.
    pub flags: u16,
    /// Metric.
    pub metric: u32,
    /// MTU if the route sets one (the file has `advmss + 40`), else 0.
    pub mtu: u32,
}

/// Reads every route.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Route>> {
    lines::rows(table, path, malformed, lines::first(b"Iface\t"), parse)
}

fn parse(line: &[u8]) -> Option<Route> {
    let mut fields = Fields::new(line);
    let device = fields.text().filter(|device| !device.is_empty())?;
    let destination = word(fields.word()?)?;
    let gateway = word(fields.word()?)?;
    let flags = fields.hex()?;
    fields.signed()?; // always 0
    fields.signed()?; // always 0
    // The kernel prints it as signed.
    let metric = fields.signed()?;
    let metric = u32::try_from(metric).ok().or_else(|| i32::try_from(metric).ok().map(i32::cast_unsigned))?;
    let mask = u32::from(word(fields.word()?)?);
    let mtu = fields.number()?;
    fields.number::<u64>()?; // window
    fields.number::<u64>()?; // round trip time
    fields.end()?;
    let prefix =
        u8::try_from(mask.leading_ones()).ok().filter(|_| mask.leading_ones() + mask.trailing_zeros() >= 32)?;
    Some(Route {
        device: (device != "*").then_some(device),
        destination,
        prefix,
        gateway: (!gateway.is_unspecified()).then_some(gateway),
        flags,
        metric,
        mtu,
    })
}
