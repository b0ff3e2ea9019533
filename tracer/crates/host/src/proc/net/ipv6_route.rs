//! /proc/net/ipv6_route: the IPv6 routes of all tables (`ipv6_route_native_seq_show`,
//! net/ipv6/ip6_fib.c).

use std::io::{self, BufRead};
use std::net::Ipv6Addr;
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;

/// `RTF_REJECT`: unreachable, prohibited or blackhole.
pub const RTF_REJECT: u32 = 0x200;
/// `RTF_GATEWAY`.
const RTF_GATEWAY: u32 = 0x2;
/// `RTF_CACHE`: an exception to another route, such as a smaller MTU.
const RTF_CACHE: u32 = 0x0100_0000;
/// `RTF_ANYCAST` and `RTF_LOCAL`: the addresses of this host.
const RTF_ANYCAST: u32 = 0x0010_0000;
const RTF_LOCAL: u32 = 0x8000_0000;
/// The metric of the entry that stands for "no route".
const NO_ROUTE_METRIC: u32 = u32::MAX;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub destination: Ipv6Addr,
    /// Length of the prefix.
    pub prefix: u8,
    /// The source of the packets that take it; a prefix of 0 means any.
    pub source: Ipv6Addr,
    /// Length of the source's prefix.
    pub source_prefix: u8,
    /// The gateway, if it has one.
    pub gateway: Option<Ipv6Addr>,
    /// Metric.
    pub metric: u32,
    /// `RTF_*`.
    pub flags: u32,
    /// Its device. Hostile bytes.
    pub device: String,
}

impl Route {
    /// Whether it is a route as `ip -6 route` shows: not an own address, not multicast, not the entry for "no route",
    /// not a cached exception. The file does not name the table, so routes of all tables pass.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        self.flags & (RTF_CACHE | RTF_ANYCAST | RTF_LOCAL) == 0
            && !self.destination.is_multicast()
            && self.metric != NO_ROUTE_METRIC
    }
}

/// Reads every route.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Route>> {
    lines::rows(table, path, malformed, lines::no_header, parse)
}

fn parse(line: &[u8]) -> Option<Route> {
    let mut fields = Fields::new(line);
    let (destination, prefix) = (fields.ipv6()?, fields.hex().filter(|prefix| *prefix <= 128)?);
    let (source, source_prefix) = (fields.ipv6()?, fields.hex().filter(|prefix| *prefix <= 128)?);
    let gateway = fields.ipv6()?;
    let metric = fields.hex()?;
    fields.hex::<u32>()?; // references
    fields.hex::<u32>()?; // uses
    let flags: u32 = fields.hex()?;
    let device = fields.text()?;
    fields.end()?;
    let gateway = (flags & RTF_GATEWAY != 0).then_some(gateway);
    Some(Route { destination, prefix, source, source_prefix, gateway, metric, flags, device })
}
