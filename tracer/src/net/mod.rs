//! The state of a network namespace at one moment: what `tracer net` shows.
//!
//! [`collect`] takes a [`Picture`]; [`change`] compares two; [`health`] says what in them is sick.

pub mod change;
pub mod collect;
mod explanation;
pub mod health;
mod own_addresses;
pub mod port_use;
pub mod sockets;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use explanation::explanation;

use crate::netlink::{link::Link, neigh::Neighbour};
use crate::proc::net::dev::COLUMNS;
use crate::proc::net::{
    Malformed, arp, igmp, igmp6, ipv6_route, percpu, ptype, route, snmp, sockstat, softnet_stat, wireless,
};
use crate::proc::netns::Netns;
use crate::sockets::diag::listen::Listener;
use sockets::Sockets;

/// Everything about one namespace.
#[derive(Debug)]
pub struct Picture {
    /// Which one.
    pub netns: Netns,
    /// It is the one that tracer runs in.
    pub current: bool,
    /// `CLOCK_BOOTTIME` when the reading began, ns.
    pub boot_ns: u64,
    /// Devices, in the kernel's order.
    pub interfaces: Vec<Interface>,
    /// Wireless devices.
    pub wireless: Vec<wireless::Wireless>,
    /// IPv4 routes of the main table.
    pub routes: Vec<route::Route>,
    /// IPv6 routes that say where packets go, of all tables.
    pub ipv6_routes: Vec<ipv6_route::Route>,
    /// Neighbours; `None` if the kernel was not asked or did not answer.
    pub neighbours: Option<Vec<Neighbour>>,
    /// The IPv4 neighbours of the file, for where netlink gives none.
    pub arp: Vec<arp::Neighbour>,
    /// IPv4 multicast groups.
    pub igmp: Vec<igmp::Group>,
    /// IPv6 multicast groups.
    pub igmp6: Vec<igmp6::Group>,
    /// Who receives which packets.
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
    /// The receive path of each CPU: the host's.
    pub softnet: Vec<softnet_stat::Cpu>,
    /// The tables in `stat/` that are there, by name.
    pub percpu: BTreeMap<&'static str, percpu::Table>,
    /// What is allowed.
    pub limits: Limits,
    /// What could not be read, a sentence each.
    pub gaps: Vec<String>,
    /// Files that this kernel does not have.
    pub absent: Vec<&'static str>,
    /// Lines that could not be understood.
    pub malformed: Malformed,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name. Hostile bytes.
    pub name: String,
    /// In the order of [`crate::proc::net::dev::COLUMNS`].
    pub counters: [u64; 16],
    /// What netlink says of it.
    pub link: Option<Link>,
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// The counter that is called `column`; 0 if there is no such column.
    #[must_use]
    pub fn counter(&self, column: &str) -> u64 {
        COLUMNS.iter().zip(self.counters).find_map(|(name, value)| (*name == column).then_some(value)).unwrap_or(0)
    }

    /// The index; `None` if netlink did not tell.
    #[must_use]
    pub fn ifindex(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.ifindex)
    }
}

/// Connection tracking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections that are followed.
    pub count: Option<u64>,
    /// How many may be.
    pub max: Option<u64>,
    /// The rows of the file by protocol and state (empty where there is none); `None` if the file is
    /// not there or may not be read.
    pub states: Option<BTreeMap<(String, String), u64>>,
}

/// What is allowed, from /proc/sys/net. `None`: not visible here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The first and the last port that connect() chooses.
    pub port_range: Option<(u16, u16)>,
    /// Ports in that range that it leaves out.
    pub reserved_ports: u32,
    /// Pages of TCP memory: calm, pressure, most. The host's.
    pub tcp_mem: Option<[u64; 3]>,
    /// The same for UDP.
    pub udp_mem: Option<[u64; 3]>,
    /// Sockets without a process. The host's.
    pub tcp_max_orphans: Option<u64>,
    /// Sockets in `TIME_WAIT`.
    pub tcp_max_tw_buckets: Option<u64>,
    /// Neighbours, of IPv4 and IPv6. The host's.
    pub neighbours: [Option<u64>; 2],
}

impl Picture {
    /// The counter `name`; `None` if this kernel has none of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<i128> {
        self.counters.iter().find(|counter| counter.name == name).map(|counter| counter.value)
    }

    /// What the device with index `ifindex` is called.
    #[must_use]
    pub fn device(&self, ifindex: u32) -> Option<&str> {
        self.interfaces.iter().find(|interface| interface.ifindex() == Some(ifindex)).map(|i| i.name.as_str())
    }
}
