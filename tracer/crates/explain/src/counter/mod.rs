//! The kernel's counters: /proc/net/netstat, /proc/net/snmp, /proc/net/snmp6. Names as `nstat`
//! writes them: the group, then the name in the file; and those of conntrack, devices and queueing disciplines.

mod host;
mod icmp;
mod ip;
mod mptcp;
mod tcp;
mod tcp_ext;
mod udp;

use super::{Entry, Family};

/// The tables.
pub(super) const TABLES: &[&[Entry]] =
    &[tcp_ext::TABLE, tcp::TABLE, ip::TABLE, udp::TABLE, icmp::TABLE, mptcp::TABLE, host::TABLE];

/// The groups; of two with the same beginning, the longer first.
pub(super) const GROUPS: &[&str] = &[
    "MPTcpExt", "TcpExt", "IpExt", "UdpLite6", "UdpLite", "IcmpMsg", "Icmp6", "Icmp", "Udp6", "Udp", "Ip6", "Ip", "Tcp",
];

const fn counter(
    name: &'static str,
    also: &'static [&'static str],
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Counter, name, also, class: None, meaning, causes, look }
}
