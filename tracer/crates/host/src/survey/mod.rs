//! What a survey of the host reads of each network namespace, beside its sockets ([`crate::sockets::collect`]) and the
//! processes that hold them ([`crate::proc::doing`]).

use std::net::IpAddr;
use std::path::Path;

use crate::netlink;
use crate::proc::enter::{self, Place, Prefer};
use crate::proc::net::{Malformed, sockstat};
use crate::proc::netns::{self, Netns, NetnsError};
use crate::proc::root::ProcRoot;

/// The most devices of a namespace, and addresses of a device, that are kept.
const MOST: usize = 1024;

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// tracer runs in it.
    pub own: bool,
    /// Its devices; empty if it cannot be entered.
    pub devices: Vec<Device>,
    /// `net.ipv4.ip_local_port_range`.
    pub ports: Option<(u16, u16)>,
    /// Entries and limit of the table of connection tracking.
    pub conntrack: Option<(u64, u64)>,
    /// `net.netfilter.nf_conntrack_tcp_timeout_established`, seconds.
    pub conntrack_timeout_s: Option<u64>,
    /// Its connections in `TIME_WAIT`.
    pub time_wait: Option<u64>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub ifindex: u32,
    /// Its name. Hostile bytes.
    pub name: String,
    /// Its MTU; 0 if the kernel does not tell.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Reads a namespace; `None` if it is gone.
///
/// # Errors
/// If it exists and can neither be entered nor read.
pub fn namespace(root: &ProcRoot, netns: &Netns) -> Result<Option<Namespace>, NetnsError> {
    let own = netns::current(root) == Some(netns.inode);
    // Netlink shows the running kernel; a made-up root has files.
    let asks = *root == ProcRoot::default();
    enter::with(root, netns, Prefer::Entering, |place| Namespace { own, ..at(place, asks) })
}

fn at(place: &Place, asks: bool) -> Namespace {
    let number = |name: &str| numbers(&place.sysctl.as_deref()?.join("netfilter").join(name))?.first().copied();
    let ports = place.sysctl.as_deref().and_then(|sysctl| numbers(&sysctl.join("ipv4/ip_local_port_range")));
    let port = |at: usize| ports.as_ref()?.get(at).and_then(|port| u16::try_from(*port).ok());
    Namespace {
        own: false,
        devices: if place.inside && asks { devices() } else { Vec::new() },
        ports: port(0).zip(port(1)),
        conntrack: number("nf_conntrack_count").zip(number("nf_conntrack_max")),
        conntrack_timeout_s: number("nf_conntrack_tcp_timeout_established"),
        time_wait: time_wait(&place.net.join("sockstat")),
    }
}

/// Reads the number in the namespace's `sockstat`: much less than all these sockets.
fn time_wait(path: &Path) -> Option<u64> {
    let file = std::fs::File::open(path).ok()?;
    let read = sockstat::read(std::io::BufReader::new(file), path, &mut Malformed::default()).ok()?;
    sockstat::find(&read, "TCP", "tw")
}

/// Asks for the devices of this thread's namespace.
fn devices() -> Vec<Device> {
    let (links, addresses) = match (netlink::links(), netlink::addresses()) {
        (Ok(links), Ok(addresses)) => (links.rows, addresses.rows),
        (Err(error), _) | (_, Err(error)) => {
            log::debug!("devices and addresses: {error}");
            return Vec::new();
        }
    };
    let of = |ifindex| addresses.iter().filter(move |address| address.ifindex == ifindex).map(|one| one.address);
    let device = |link: tracer_tables::netlink::link::Link| Device {
        addresses: of(link.ifindex).take(MOST).collect(),
        ifindex: link.ifindex,
        mtu: link.mtu.unwrap_or(0),
        name: link.name,
    };
    links.into_iter().take(MOST).map(device).collect()
}

fn numbers(path: &Path) -> Option<Vec<u64>> {
    std::fs::read_to_string(path).ok()?.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::proc::tree::Tree;

    fn netns(inode: u32) -> Netns {
        Netns { inode, name: None, pid: Some(1), path: None }
    }

    #[test]
    fn limits_are_read_from_the_files_of_the_namespace() {
        let tree = Tree::new();
        tree.link("self/ns/net", "net:[100]");
        tree.file("sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        let root = ProcRoot::new(tree.path());
        let read = namespace(&root, &netns(100)).unwrap().unwrap();
        assert_eq!((read.own, read.ports, read.conntrack), (true, Some((32768, 60999)), None));
        assert_eq!(read.time_wait, None);
        tree.file("net/sockstat", "sockets: used 9\nTCP: inuse 4 orphan 0 tw 42 alloc 7 mem 1\n");
        tree.file("sys/net/netfilter/nf_conntrack_count", "12\n");
        tree.file("sys/net/netfilter/nf_conntrack_max", "16\n");
        tree.file("sys/net/netfilter/nf_conntrack_tcp_timeout_established", "15\n");
        let read = namespace(&root, &netns(100)).unwrap().unwrap();
        assert_eq!((read.conntrack, read.conntrack_timeout_s), (Some((12, 16)), Some(15)));
        assert_eq!(read.time_wait, Some(42));
        assert!(namespace(&root, &netns(200)).unwrap().is_none());
    }

    #[test]
    fn this_namespace_has_the_loopback_device() {
        let root = ProcRoot::default();
        let own = namespace(&root, &netns(netns::current(&root).unwrap())).unwrap().unwrap();
        assert!(own.own && own.ports.is_some_and(|(first, last)| first < last));
        let lo = own.devices.iter().find(|device| device.name == "lo").unwrap();
        assert!(lo.ifindex > 0 && lo.mtu > 0);
        assert!(lo.addresses.iter().all(IpAddr::is_loopback));
    }
}
