//! Dropped packets, in groups: the same cause, at the same place, of the same stream of packets.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    rc::Rc,
};

use tracer_common::drops::{TCP_ACK, TCP_SYN};
use tracer_stream::{ConnId, Direction, Discipline, Drop, DropClass, Event, Icmp, Nft, Party, Role, Socket};

use super::party;

/// The most groups.
const MOST_GROUPS: usize = 4096;
/// The most connections, and owners, of a group.
const MOST_CONNS: usize = 256;
const MOST_OWNERS: usize = 8;
/// The most ports of clients of a group.
const MOST_CLIENT_PORTS: usize = 64;
/// The most probers, and ports of one, that are kept.
const MOST_PROBES: usize = 1024;
const MOST_PORTS: usize = 256;

/// What the packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carried {
    /// A SYN.
    Syn,
    /// A SYN-ACK.
    SynAck,
    /// Another segment of TCP.
    Segment,
    /// A datagram of UDP.
    Datagram,
    /// A message of ICMP.
    Icmp,
    /// Anything else.
    Other,
}

impl Dropped {
    /// Whether netfilter dropped them, and not for want of room in its table of connections.
    #[must_use]
    pub fn is_by_netfilter(&self) -> bool {
        self.full_conntrack.is_none()
            && self.class == DropClass::Policy
            && (self.nft.is_some()
                || ["NETFILTER_DROP", "NOT_SPECIFIED"].contains(&&*self.reason)
                || ["nft_do_chain", "nf_hook_slow"].iter().any(|function| self.reason.starts_with(function)))
    }

    /// The rule of nftables, or the likeliest of several: of a segment of a connection that the firewall let begin, the
    /// one about its state; of all else, another.
    #[must_use]
    pub fn rule(&self) -> Option<&Nft> {
        let is_about_state = |nft: &&Nft| nft.rule.as_deref().is_some_and(|rule| rule.contains("invalid"));
        let wanted = matches!(self.carried, Carried::Segment | Carried::SynAck);
        let likely = || self.candidates.iter().find(|nft| is_about_state(nft) == wanted);
        self.nft.as_ref().or_else(likely).or_else(|| self.candidates.first())
    }

    /// Whether they are SYNs to a port that refuses or forbids them.
    #[must_use]
    pub fn is_of_probes(&self) -> bool {
        self.carried == Carried::Syn && (self.is_refused() || self.class == DropClass::Policy)
    }

    /// Whether their destination has no socket for them.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.class == DropClass::Refused
    }

    /// The server's end.
    #[must_use]
    pub const fn server(&self) -> (Option<IpAddr>, Option<u16>) {
        (if self.from_server { self.saddr } else { self.daddr }, self.port)
    }

    /// The client's address.
    #[must_use]
    pub const fn client(&self) -> Option<IpAddr> {
        if self.from_server { self.daddr } else { self.saddr }
    }
}

impl Carried {
    /// In words, for `count` of them.
    #[must_use]
    pub const fn words(self, count: u64) -> &'static str {
        match (self, count) {
            (Self::Syn, 1) => "SYN",
            (Self::Syn, _) => "SYNs",
            (Self::SynAck, 1) => "SYN-ACK",
            (Self::SynAck, _) => "SYN-ACKs",
            (Self::Segment, 1) => "segment",
            (Self::Segment, _) => "segments",
            (Self::Datagram, 1) => "datagram",
            (Self::Datagram, _) => "datagrams",
            (Self::Icmp, 1) => "ICMP message",
            (Self::Icmp, _) => "ICMP messages",
            (Self::Other, 1) => "packet",
            (Self::Other, _) => "packets",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    reason: Rc<str>,
    netns: Option<u32>,
    rule: Option<Rc<str>>,
    iface: Option<Rc<str>>,
    carried: Carried,
    saddr: Option<IpAddr>,
    daddr: Option<IpAddr>,
    /// The port of the server: of a SYN-ACK its source, else its destination.
    port: Option<u16>,
    /// Of other segments: whether the owner is a server.
    from_server: bool,
}

/// A group of dropped packets.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// The kernel's reason, or the place of the drop.
    pub reason: Rc<str>,
    /// Its class.
    pub class: DropClass,
    /// The namespace in which they were dropped.
    pub netns: Option<u32>,
    /// The device.
    pub iface: Option<Rc<str>>,
    /// Their direction there.
    pub direction: Direction,
    /// What they carry.
    pub carried: Carried,
    /// Source address.
    pub saddr: Option<IpAddr>,
    /// Destination address.
    pub daddr: Option<IpAddr>,
    /// The server's port: of SYN-ACKs and of segments from a server the source port, else the destination port.
    pub port: Option<u16>,
    /// They came from the server of their connection.
    pub from_server: bool,
    /// The detail behind the reason, in words.
    pub hint: Option<Rc<str>>,
    /// The search for the detail reached a limit, or several rules are possible.
    pub undecided: bool,
    /// The rule of nftables, if it is certain.
    pub nft: Option<Nft>,
    /// Those that it may be, if it is not.
    pub candidates: Vec<Nft>,
    /// The queueing discipline, if it is certain.
    pub qdisc: Option<Discipline>,
    /// Entries and limit of conntrack's table, if it was full.
    pub full_conntrack: Option<(u64, u64)>,
    /// The packet that the first ICMP error is about: its protocol and destination.
    pub about: Option<(&'static str, IpAddr, Option<u16>)>,
    /// The ICMP error itself.
    pub icmp: Option<Icmp>,
    /// Packets.
    pub count: u64,
    /// Their bytes, from the network header on.
    pub bytes: u64,
    /// When the first was dropped.
    pub first_ns: u64,
    /// When the last was dropped.
    pub last_ns: u64,
    /// Their connections, the first few.
    pub conns: BTreeSet<ConnId>,
    /// The owners of their connections, the first few.
    pub owners: Vec<Party>,
    /// The ports of their other end than the server's, the first few.
    pub client_ports: BTreeSet<u16>,
}

/// Packets from one address to closed or forbidden ports of another.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The prober's address.
    pub from: IpAddr,
    /// The address that it probes.
    pub to: IpAddr,
    /// The ports, the first few.
    pub ports: BTreeSet<u16>,
    /// Packets.
    pub count: u64,
    /// Its process, if it is on this host.
    pub by: Option<Party>,
}

/// All dropped packets.
#[derive(Debug, Default)]
pub struct Drops {
    index: HashMap<Key, usize>,
    groups: Vec<Dropped>,
    probes: HashMap<(IpAddr, IpAddr), Probe>,
    /// Ports of listeners.
    servers: HashSet<u16>,
    /// Packets without room.
    pub untold: u64,
}

impl Drops {
    /// The groups, in the order of their first packet.
    pub fn groups(&self) -> impl Iterator<Item = (usize, &Dropped)> {
        self.groups.iter().enumerate()
    }

    /// A group by its number ([`Conn::drops`](super::Conn::drops)).
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Dropped> {
        self.groups.get(number)
    }

    /// Those that send SYNs to ports that refuse or drop them, in the order of their addresses.
    #[must_use]
    pub fn probes(&self) -> Vec<&Probe> {
        let mut probes: Vec<_> = self.probes.values().collect();
        probes.sort_by_key(|probe| (probe.from, probe.to));
        probes
    }

    /// Learns the ports of listeners: a packet without a socket shows only by them who sent it.
    pub(super) fn learn_listeners(&mut self, ports: impl Iterator<Item = u16>) {
        self.servers = ports.collect();
    }

    fn serves(&self, port: Option<u16>) -> bool {
        port.is_some_and(|port| self.servers.contains(&port))
    }

    /// Takes a drop; returns the number of its group.
    pub(super) fn add(&mut self, event: &Event<'_>, drop: &Drop) -> Option<usize> {
        let carried = carried(drop);
        self.probe(event, drop, carried);
        let ends = drop.ends;
        let from_server = match carried {
            Carried::SynAck => true,
            Carried::Segment => {
                let by_socket = event.socket.is_some_and(|socket| is_from_server(&socket, drop));
                by_socket || ends.is_some_and(|ends| self.serves(ends.sport) && !self.serves(ends.dport))
            }
            _ => false,
        };
        let port = if from_server { ends.and_then(|ends| ends.sport) } else { ends.and_then(|ends| ends.dport) };
        let hint = drop.hint.as_deref();
        let key = Key {
            reason: drop.cause().into(),
            netns: drop.netns,
            rule: hint.map(|hint| hint.text.as_str().into()),
            iface: drop.iface.clone(),
            carried,
            saddr: ends.map(|ends| ends.saddr),
            daddr: ends.map(|ends| ends.daddr),
            port,
            from_server,
        };
        let number = match self.index.get(&key) {
            Some(number) => *number,
            None if self.groups.len() >= MOST_GROUPS => {
                self.untold += drop.count;
                return None;
            }
            None => {
                self.groups.push(first(&key, drop));
                self.index.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let group = self.groups.get_mut(number)?;
        group.count += drop.count;
        group.bytes = group.bytes.saturating_add(u64::from(drop.len).saturating_mul(drop.count));
        group.last_ns = group.last_ns.max(event.boot_ns);
        let client = ends.and_then(|ends| if from_server { ends.dport } else { ends.sport });
        if group.client_ports.len() < MOST_CLIENT_PORTS {
            group.client_ports.extend(client);
        }
        if let Some(socket) = &event.socket {
            if socket.conn != ConnId::NONE && group.conns.len() < MOST_CONNS {
                group.conns.insert(socket.conn);
            }
            if let Some(owner) = socket.owner
                && group.owners.len() < MOST_OWNERS
                && group.owners.iter().all(|known| known.pid != owner.pid)
            {
                group.owners.push(party(owner));
            }
        }
        Some(number)
    }

    fn probe(&mut self, event: &Event<'_>, drop: &Drop, carried: Carried) {
        let Some(ends) = drop.ends.filter(|_| carried == Carried::Syn) else { return };
        if !matches!(drop.class, DropClass::Refused | DropClass::Policy) {
            return;
        }
        let key = (ends.saddr, ends.daddr);
        if !self.probes.contains_key(&key) {
            if self.probes.len() >= MOST_PROBES {
                return;
            }
            let (from, to) = key;
            self.probes.insert(key, Probe { from, to, ports: BTreeSet::new(), count: 0, by: None });
        }
        let Some(probe) = self.probes.get_mut(&key) else { return };
        probe.count += drop.count;
        if probe.ports.len() < MOST_PORTS {
            probe.ports.extend(ends.dport);
        }
        let sender = event.socket.filter(|socket| socket.role != Role::Listener && socket.lport == ends.sport);
        if let Some(owner) = sender.and_then(|socket| socket.owner) {
            probe.by = Some(party(owner));
        }
    }
}

fn first(key: &Key, drop: &Drop) -> Dropped {
    let hint = drop.hint.as_deref();
    let (kind, code) = drop.icmp.unwrap_or_default();
    let from = drop.ends.map(|ends| ends.saddr);
    let icmp = drop.icmp.zip(from).map(|_| kind).zip(from);
    Dropped {
        reason: Rc::clone(&key.reason),
        class: drop.class,
        netns: key.netns,
        iface: key.iface.clone(),
        direction: drop.direction,
        carried: key.carried,
        saddr: key.saddr,
        daddr: key.daddr,
        port: key.port,
        from_server: key.from_server,
        hint: key.rule.clone(),
        undecided: hint.is_some_and(|hint| hint.undecided),
        nft: hint.and_then(|hint| hint.nft.clone()),
        candidates: hint.map(|hint| hint.candidates.clone()).unwrap_or_default(),
        qdisc: hint.and_then(|hint| hint.qdisc.clone()),
        full_conntrack: hint.and_then(|hint| hint.full_conntrack),
        about: drop.about.as_ref().map(|(protocol, ends)| (*protocol, ends.daddr, ends.dport)),
        icmp: icmp.map(|(kind, from)| Icmp { v6: from.is_ipv6(), kind, code, from }),
        count: 0,
        bytes: 0,
        first_ns: drop.first_ns,
        last_ns: drop.first_ns,
        conns: BTreeSet::new(),
        owners: Vec::new(),
        client_ports: BTreeSet::new(),
    }
}

fn carried(drop: &Drop) -> Carried {
    match (drop.protocol, drop.tcp_flags) {
        (Some("tcp"), Some(flags)) if flags & TCP_SYN != 0 && flags & TCP_ACK != 0 => Carried::SynAck,
        (Some("tcp"), Some(flags)) if flags & TCP_SYN != 0 => Carried::Syn,
        (Some("tcp"), _) => Carried::Segment,
        (Some("udp"), _) => Carried::Datagram,
        (Some("icmp" | "icmpv6"), _) => Carried::Icmp,
        _ => Carried::Other,
    }
}

/// Whether a segment came from the server of its connection, by the role of its socket.
fn is_from_server(socket: &Socket<'_>, drop: &Drop) -> bool {
    let Some(ends) = drop.ends else { return false };
    let sent_here = socket.lport == ends.sport && socket.laddr.is_none_or(|addr| addr == ends.saddr);
    match socket.role {
        Role::Server | Role::Listener => sent_here,
        Role::Client => !sent_here,
        Role::Unknown => false,
    }
}
