//! The state of a network namespace at one moment, for `tracer net`.
//!
//! [`collect`] takes a [`Picture`]; [`change`] compares two; [`health`] finds trouble in them.

pub mod change;
pub mod collect;
pub mod health;
mod own_addresses;
pub mod port_use;
pub mod sockets;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::proc::net::dev::COLUMNS;
use crate::proc::net::{
    Malformed, arp, igmp, igmp6, ipv6_route, percpu, ptype, route, snmp, sockstat, softnet_stat, wireless,
};
use crate::proc::netns::Netns;
use crate::sockets::diag::listen::Listener;
use sockets::Sockets;
use tracer_tables::netlink::{link::Link, neigh::Neighbour};

/// Everything about one namespace.
#[derive(Debug)]
pub struct Picture {
    /// The namespace.
    pub netns: Netns,
    /// Whether tracer runs in it.
    pub current: bool,
    /// `CLOCK_BOOTTIME` when the reading began, ns.
    pub boot_ns: u64,
    /// Devices, in the kernel's order.
    pub interfaces: Vec<Interface>,
    /// Wireless devices.
    pub wireless: Vec<wireless::Wireless>,
    /// IPv4 routes of the main table.
    pub routes: Vec<route::Route>,
    /// IPv6 unicast routes of all tables.
    pub ipv6_routes: Vec<ipv6_route::Route>,
    /// Neighbours; `None` if the kernel was not asked or did not answer.
    pub neighbours: Option<Vec<Neighbour>>,
    /// The IPv4 neighbours in the file, used where netlink gives none.
    pub arp: Vec<arp::Neighbour>,
    /// IPv4 multicast groups.
    pub igmp: Vec<igmp::Group>,
    /// IPv6 multicast groups.
    pub igmp6: Vec<igmp6::Group>,
    /// The receivers of packets in the kernel.
    pub receivers: Vec<ptype::Receiver>,
    /// snmp, netstat and snmp6, in the order of the files.
    pub counters: Vec<snmp::Counter>,
    /// sockstat and sockstat6.
    pub sockstat: Vec<sockstat::Entry>,
    /// TCP sockets.
    pub sockets: Sockets,
    /// TCP listeners with their queues; `None` if sock_diag gave none.
    pub listeners: Option<Vec<Listener>>,
    /// Connection tracking; `None` if this kernel has none.
    pub conntrack: Option<Conntrack>,
    /// The receive path of each CPU; host-wide.
    pub softnet: Vec<softnet_stat::Cpu>,
    /// The tables in `stat/` that exist, by name.
    pub percpu: BTreeMap<&'static str, percpu::Table>,
    /// The limits.
    pub limits: Limits,
    /// A sentence for each thing that could not be read.
    pub gaps: Vec<String>,
    /// Files that this kernel does not have.
    pub absent: Vec<&'static str>,
    /// Lines that the parsers did not understand.
    pub malformed: Malformed,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name. Hostile bytes.
    pub name: String,
    /// In the order of [`crate::proc::net::dev::COLUMNS`].
    pub counters: [u64; 16],
    /// Its state by netlink.
    pub link: Option<Link>,
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// Returns the counter `column`; 0 if no column has that name.
    #[must_use]
    pub fn counter(&self, column: &str) -> u64 {
        COLUMNS.iter().zip(self.counters).find_map(|(name, value)| (*name == column).then_some(value)).unwrap_or(0)
    }

    /// Returns the index; `None` without netlink.
    #[must_use]
    pub fn ifindex(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.ifindex)
    }
}

/// Connection tracking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Tracked connections.
    pub count: Option<u64>,
    /// The most that may be tracked.
    pub max: Option<u64>,
    /// The rows of the file by protocol and state (empty for a protocol without states); `None` if the
    /// file is absent or may not be read.
    pub states: Option<BTreeMap<(String, String), u64>>,
}

/// Limits from /proc/sys/net. `None`: not visible here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The first and the last port that connect() chooses.
    pub port_range: Option<(u16, u16)>,
    /// Ports in that range that connect() leaves out.
    pub reserved_ports: u32,
    /// Pages of TCP memory: calm, pressure, most. Host-wide.
    pub tcp_mem: Option<[u64; 3]>,
    /// The same for UDP.
    pub udp_mem: Option<[u64; 3]>,
    /// Sockets without a process. Host-wide.
    pub tcp_max_orphans: Option<u64>,
    /// Sockets in `TIME_WAIT`.
    pub tcp_max_tw_buckets: Option<u64>,
    /// Neighbours, of IPv4 and IPv6. Host-wide.
    pub neighbours: [Option<u64>; 2],
}

impl Picture {
    /// Returns the counter `name`; `None` if this kernel has none of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<i128> {
        self.counters.iter().find(|counter| counter.name == name).map(|counter| counter.value)
    }

    /// Returns the name of the device with index `ifindex`.
    #[must_use]
    pub fn device(&self, ifindex: u32) -> Option<&str> {
        self.interfaces.iter().find(|interface| interface.ifindex() == Some(ifindex)).map(|i| i.name.as_str())
    }
}
