//! Takes the picture of a namespace.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use super::own_addresses::{self, Own};
use super::sockets::Sockets;
use super::{Conntrack, Interface, Limits, Picture};
use crate::clock;
use crate::netlink;
use crate::proc::enter::{self, Place, Prefer};
use crate::proc::fd::SocketHolders;
use crate::proc::net::{
    Malformed, arp, dev, fib_trie, if_inet6, igmp, igmp6, ipv6_route, nf_conntrack, percpu, ptype, read_sockets, route,
    snmp, snmp6, sockstat, softnet_stat, tcp, wireless,
};
use crate::proc::netns::{self, Netns, NetnsError};
use crate::proc::root::ProcRoot;
use crate::sockets::diag::listen;

/// The tables below `stat/` that are worth showing.
const PERCPU: [&str; 3] = ["nf_conntrack", "arp_cache", "ndisc_cache"];

/// The result of [`pictures`].
#[derive(Debug, Default)]
pub struct Taken {
    /// A picture of each namespace that still exists.
    pub pictures: Vec<Picture>,
    /// Namespaces that could not be read.
    pub unreadable: Vec<(u32, NetnsError)>,
}

/// Takes a picture of each of `namespaces`, and looks for the owners of their sockets once.
/// `netlink`: whether this host's kernel may be asked (not where a test injects the root).
#[must_use]
pub fn pictures(root: &ProcRoot, namespaces: &[Netns], netlink: bool) -> Taken {
    let mut taken = unowned(root, namespaces, netlink);
    let wanted: HashSet<u64> = taken.pictures.iter().flat_map(|picture| picture.sockets.inodes()).collect();
    let (holders, report) = SocketHolders::scan(root, Some(&wanted));
    for picture in &mut taken.pictures {
        picture.sockets.finish(root, &holders, report.denied);
    }
    taken
}

/// Like [`pictures`], without the owners and the destinations of the sockets.
#[must_use]
pub fn unowned(root: &ProcRoot, namespaces: &[Netns], netlink: bool) -> Taken {
    let mut taken = Taken::default();
    let host = Limits::read(&root.path().join("sys/net"));
    let current = netns::current(root);
    for netns in namespaces {
        let here = current == Some(netns.inode);
        let work = |place: &Place| {
            let mut place = place.clone();
            place.inside &= netlink;
            let mut picture = picture(&place, netns.clone());
            picture.current = here;
            picture.limits.or_of_host(&host);
            picture
        };
        match enter::with(root, netns, Prefer::Entering, work) {
            Ok(picture) => taken.pictures.extend(picture),
            Err(error) => taken.unreadable.push((netns.inode, error)),
        }
    }
    taken
}

/// Takes the picture of the namespace at `place`, without the owners of its sockets.
#[must_use]
pub fn picture(place: &Place, netns: Netns) -> Picture {
    let boot_ns = clock::boot_ns();
    let mut files = Files { net: &place.net, gaps: Vec::new(), absent: Vec::new(), malformed: Malformed::default() };
    let limits = place.sysctl.as_deref().map(Limits::read).unwrap_or_default();
    // Queues first: they change fastest.
    let listeners = files.ask(place, "the limits of listen queues", listen::read);
    let neighbours = files.ask(place, "the states of neighbours", netlink::neighbours);
    let links = files.ask(place, "the states of devices", netlink::links).unwrap_or_default();
    let addresses = files.ask(place, "addresses", netlink::addresses);

    let mut sockets = Sockets::default();
    for table in ["tcp", "tcp6"] {
        files.read(table, |reader, path, malformed| {
            read_sockets(reader, path, malformed, |row: tcp::Row| sockets.add(&row, limits.port_range))
        });
    }
    let mut counters = files.read("snmp", snmp::read).unwrap_or_default();
    counters.extend(files.read("netstat", snmp::read).unwrap_or_default());
    counters.extend(files.read("snmp6", snmp6::read).unwrap_or_default());
    let mut sockstat = files.read("sockstat", sockstat::read).unwrap_or_default();
    sockstat.extend(files.read("sockstat6", sockstat::read).unwrap_or_default());

    let mut interfaces: Vec<Interface> = files
        .read("dev", dev::read)
        .unwrap_or_default()
        .into_iter()
        .map(|device| Interface {
            link: links.iter().find(|link| link.name == device.name).cloned(),
            name: device.name,
            counters: device.counters,
            addresses: Vec::new(),
        })
        .collect();
    let inet6 = files.read("if_inet6", if_inet6::read).unwrap_or_default();
    let routes = files.read("route", route::read).unwrap_or_default();
    let inet = if addresses.is_none() { files.own_addresses(&routes) } else { Vec::new() };
    for interface in &mut interfaces {
        interface.addresses = match &addresses {
            Some(addresses) => addresses
                .iter()
                .filter(|address| Some(address.ifindex) == interface.ifindex())
                .map(|address| (address.address, address.prefix))
                .collect(),
            None => {
                let here = |own: &Own| {
                    let (_, prefix) = own.place.as_ref().filter(|(device, _)| *device == interface.name)?;
                    Some((own.address.into(), *prefix))
                };
                inet.iter()
                    .filter_map(here)
                    .chain(
                        inet6
                            .iter()
                            .filter(|address| address.device == interface.name)
                            .map(|address| (address.address.into(), address.prefix)),
                    )
                    .collect()
            }
        };
    }

    let mut ipv6_routes = files.read("ipv6_route", ipv6_route::read).unwrap_or_default();
    ipv6_routes.retain(ipv6_route::Route::is_unicast);
    let percpu =
        PERCPU.into_iter().filter_map(|name| Some((name, files.read(percpu_path(name), percpu::read)?))).collect();
    let conntrack = conntrack(&mut files, place);
    Picture {
        netns,
        current: false,
        boot_ns,
        interfaces,
        wireless: files.read("wireless", wireless::read).unwrap_or_default(),
        routes,
        ipv6_routes,
        neighbours,
        arp: files.read("arp", arp::read).unwrap_or_default(),
        igmp: files.read("igmp", igmp::read).unwrap_or_default(),
        igmp6: files.read("igmp6", igmp6::read).unwrap_or_default(),
        receivers: files.read("ptype", ptype::read).unwrap_or_default(),
        counters,
        sockstat,
        sockets,
        listeners,
        conntrack,
        softnet: files.read("softnet_stat", softnet_stat::read).unwrap_or_default(),
        percpu,
        limits,
        gaps: files.gaps,
        absent: files.absent,
        malformed: files.malformed,
    }
}

fn percpu_path(name: &str) -> &'static str {
    match name {
        "nf_conntrack" => "stat/nf_conntrack",
        "arp_cache" => "stat/arp_cache",
        _ => "stat/ndisc_cache",
    }
}

/// Reads the state of connection tracking; `None` if the kernel tracks no connections.
fn conntrack(files: &mut Files<'_>, place: &Place) -> Option<Conntrack> {
    let mut states = std::collections::BTreeMap::new();
    let listed = files.read("nf_conntrack", |reader, path, malformed| {
        nf_conntrack::read(reader, path, malformed, |entry| {
            let key = (entry.protocol.to_owned(), entry.state.unwrap_or_default().to_owned());
            *states.entry(key).or_default() += 1;
        })
    });
    let sysctl = |name| first_number(&place.sysctl.as_deref()?.join("netfilter").join(name));
    let conntrack = Conntrack {
        count: sysctl("nf_conntrack_count"),
        max: sysctl("nf_conntrack_max"),
        states: listed.map(|()| states),
    };
    (conntrack.count.is_some() || conntrack.states.is_some()).then_some(conntrack)
}

/// Reads the files of one namespace and keeps what went wrong.
struct Files<'a> {
    net: &'a Path,
    gaps: Vec<String>,
    absent: Vec<&'static str>,
    malformed: Malformed,
}

impl Files<'_> {
    /// Reads `name`; `None` if it is absent or unreadable. The rows before an error are dropped: half a
    /// table looks like a whole one.
    fn read<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(BufReader<File>, &Path, &mut Malformed) -> io::Result<T>,
    ) -> Option<T> {
        let path = self.net.join(name);
        let read = File::open(&path)
            .and_then(|file| parse(BufReader::with_capacity(1 << 16, file), &path, &mut self.malformed));
        match read {
            Ok(table) => Some(table),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
                self.absent.push(name);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.gaps.push(format!("{name}: only root may read it"));
                None
            }
            Err(error) => {
                self.gaps.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Reads the IPv4 addresses, where netlink does not report them.
    fn own_addresses(&mut self, routes: &[route::Route]) -> Vec<Own> {
        let own = own_addresses::of(&self.read("fib_trie", fib_trie::read).unwrap_or_default(), routes);
        let alone: Vec<String> =
            own.iter().filter(|own| own.place.is_none()).map(|own| own.address.to_string()).collect();
        if !alone.is_empty() {
            self.gaps.push(format!("the devices of {}: no file names them", alone.join(", ")));
        }
        own
    }

    /// Asks the kernel by netlink.
    fn ask<T>(
        &mut self,
        place: &Place,
        what: &str,
        ask: impl FnOnce() -> io::Result<netlink::Table<T>>,
    ) -> Option<Vec<T>> {
        if !place.inside {
            self.gaps.push(format!("{what}: the namespace cannot be entered; root may"));
            return None;
        }
        let table = ask().map_err(|error| self.gaps.push(format!("{what}: netlink says {error}"))).ok()?;
        if table.changed {
            self.gaps.push(format!("{what}: they changed while they were read, and may not be complete"));
        }
        Some(table.rows)
    }
}

impl Limits {
    /// Reads `sysctl`, a `sys/net` directory.
    fn read(sysctl: &Path) -> Self {
        let ipv4 = sysctl.join("ipv4");
        let one = |name: &str| first_number(&ipv4.join(name));
        let three = |name: &str| <[u64; 3]>::try_from(numbers(&ipv4.join(name))?).ok();
        let port_range = numbers(&ipv4.join("ip_local_port_range")).and_then(|range| match range[..] {
            [first, last] => Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?)),
            _ => None,
        });
        let reserved = std::fs::read_to_string(ipv4.join("ip_local_reserved_ports")).unwrap_or_default();
        Self {
            port_range,
            reserved_ports: port_range.map_or(0, |range| reserved_in(&reserved, range)),
            tcp_mem: three("tcp_mem"),
            udp_mem: three("udp_mem"),
            tcp_max_orphans: one("tcp_max_orphans"),
            tcp_max_tw_buckets: one("tcp_max_tw_buckets"),
            neighbours: ["ipv4", "ipv6"]
                .map(|family| first_number(&sysctl.join(family).join("neigh/default/gc_thresh3"))),
        }
    }

    /// Fills in the host-wide limits, which only the initial namespace shows.
    fn or_of_host(&mut self, host: &Self) {
        self.tcp_mem = self.tcp_mem.or(host.tcp_mem);
        self.udp_mem = self.udp_mem.or(host.udp_mem);
        self.tcp_max_orphans = self.tcp_max_orphans.or(host.tcp_max_orphans);
        for (limit, host) in self.neighbours.iter_mut().zip(host.neighbours) {
            *limit = limit.or(host);
        }
    }

    /// Returns how many ports connect() can choose from.
    #[must_use]
    pub fn ports(&self) -> Option<u32> {
        let (first, last) = self.port_range?;
        let ports = u32::from(last).checked_sub(u32::from(first))? + 1;
        Some(ports.saturating_sub(self.reserved_ports)).filter(|ports| *ports > 0)
    }
}

/// Counts the ports of `text` (`1-3,8080`) that are in `range`.
fn reserved_in(text: &str, (first, last): (u16, u16)) -> u32 {
    let each = text.trim().split(',').filter_map(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (low.parse::<u16>().ok()?.max(first), high.parse::<u16>().ok()?.min(last));
        Some((u32::from(high) + 1).saturating_sub(u32::from(low)))
    });
    each.sum()
}

fn numbers(path: &Path) -> Option<Vec<u64>> {
    std::fs::read_to_string(path).ok()?.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

fn first_number(path: &Path) -> Option<u64> {
    numbers(path)?.first().copied()
}

/// Makes the picture of an empty namespace.
#[cfg(any(test, feature = "sample"))]
#[must_use]
pub fn empty(inode: u32) -> Picture {
    let nowhere = Place { net: "/nonexistent".into(), sysctl: None, inside: false };
    let mut picture = picture(&nowhere, Netns { inode, name: None, pid: None, path: None });
    picture.gaps.clear();
    picture
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
