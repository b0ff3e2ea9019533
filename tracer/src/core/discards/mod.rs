//! What the kernel's counters say was thrown away, less what drop events have told, and whose it was.
//!
//! A look is told when every drop that came before it has been: two settlements later. Then a packet that both tell of
//! is counted once.

mod told;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    rc::Rc,
};

use tracer_common::{
    drops::{DROP_MIXED, Direction, DropRecord, NO_REASON},
    record::Tuple,
};

use self::told::{Drops, Told};
use super::{Core, Gate, connection::Connection};
use crate::{
    discards::{
        Look, SocketLook,
        counter::{Counter, Group, LISTEN_DROPS, OVERFLOWS, by_name},
    },
    stream::{self, ConnId, Discard, Drop, Event, Kind, Owner, OwnerSource, Role, Sink, Socket},
};

/// Looks that wait.
const MOST_WAITING: usize = 1024;
/// Ports whose last accept() is remembered.
const MOST_PORTS: usize = 16_384;
/// Clients of a listener that are named.
const MOST_CLIENTS: usize = 4;
/// Clients that gave up lately, and how long ago that may be.
const MOST_GIVEN_UP: usize = 64;
const GIVEN_UP_NS: u64 = 10_000_000_000;

/// What of the trace is known, for the sake of what counters tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counting {
    /// Drop events are told, and have reasons or call sites: they are subtracted.
    pub drops: bool,
    /// Every accept() in the namespaces concerned is told.
    pub accepts: bool,
    /// When the trace began.
    pub began_ns: u64,
}

/// See the module.
#[derive(Default)]
pub struct Discards {
    /// `None`: the counters are not watched.
    counting: Option<Counting>,
    told: Told,
    waiting: VecDeque<(u8, Look)>,
    /// By namespace and port.
    accepted: HashMap<(u32, u16), u64>,
    /// Clients whose connect() was given up: where it went, and when.
    given_up: VecDeque<(IpAddr, u16, u64, Rc<Owner>)>,
    namespaces: HashSet<u32>,
    last: u32,
    fresh: Vec<u32>,
}

impl Discards {
    /// A record is of this namespace.
    pub fn sees(&mut self, netns: u32) {
        if netns != self.last && self.counting.is_some() {
            self.last = netns;
            if self.namespaces.insert(netns) {
                self.fresh.push(netns);
            }
        }
    }

    /// A connection was accepted.
    pub fn accepts(&mut self, child: &Tuple, boot_ns: u64) {
        if self.counting.is_some_and(|counting| counting.accepts)
            && (self.accepted.len() < MOST_PORTS || self.accepted.contains_key(&(child.netns, child.lport)))
        {
            self.accepted.insert((child.netns, child.lport), boot_ns);
        }
    }

    /// Records were lost: an accept() may be among them.
    pub fn loses(&mut self, class: &str) {
        if let Some(counting) = self.counting.as_mut().filter(|_| class == "lifecycle") {
            counting.accepts = false;
        }
    }

    /// A connection has ended.
    pub fn ends(&mut self, connection: &Connection, boot_ns: u64) {
        if self.counting.is_none() || connection.role != Role::Client || connection.established_ns != 0 {
            return;
        }
        let Some(owner) = connection.owner.as_ref().filter(|_| !connection.preexisting) else { return };
        if self.given_up.len() >= MOST_GIVEN_UP {
            self.given_up.pop_front();
        }
        let tuple = &connection.tuple;
        self.given_up.push_back((stream::address(tuple.family, tuple.raddr).0, tuple.rport, boot_ns, Rc::clone(owner)));
    }

    /// A drop event was told, whether it is shown or not.
    pub fn drop_told(&mut self, record: &DropRecord, drop: &Drop, port: Option<u16>, function: &str) {
        if !self.counting.is_some_and(|counting| counting.drops) {
            return;
        }
        let mixed = record.flags & DROP_MIXED != 0;
        let flow = &record.packet.flow;
        let location = if record.reason == NO_REASON { record.location } else { 0 };
        let drops = Drops {
            netns: Some(record.netns).filter(|netns| *netns != 0 && !mixed),
            first_ns: record.first_ns.min(record.header.boot_ns),
            last_ns: record.header.boot_ns,
            count: drop.count,
            port: port.filter(|_| !mixed),
            iface: drop.iface.clone().filter(|_| drop.direction == Direction::In),
            protocol: Some((flow.protocol, flow.family)).filter(|_| flow.family != 0 && !mixed),
        };
        self.told.add((record.reason, location), drop.reason.as_deref(), function, &drops);
    }
}

/// A count that is to be told, of a socket or of a namespace.
struct Part<'l> {
    counter: &'static Counter,
    count: u64,
    socket: Option<&'l SocketLook>,
    device: Option<&'l str>,
}

impl<G: Gate> Core<G> {
    pub(super) fn count_discards(&mut self, counting: Counting) {
        self.discards.counting = Some(counting);
    }

    /// The namespaces that records have named since the last time, and never before.
    pub fn take_fresh_namespaces(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.discards.fresh)
    }

    /// Takes a look at the counters.
    pub(super) fn look_at_counters(&mut self, look: Look, sink: &mut dyn Sink) {
        if self.discards.counting.is_some_and(|counting| counting.drops) {
            if self.discards.waiting.len() >= MOST_WAITING
                && let Some((_, oldest)) = self.discards.waiting.pop_front()
            {
                self.tell_discards(&oldest, sink);
            }
            self.discards.waiting.push_back((0, look));
        } else {
            self.tell_discards(&look, sink);
        }
    }

    /// All drops were told that happened before the last settlement. `finally`: before this one.
    pub(super) fn settle_discards(&mut self, finally: bool, sink: &mut dyn Sink) {
        for (settlements, _) in &mut self.discards.waiting {
            *settlements += 1;
        }
        while let Some((_, look)) = self.discards.waiting.pop_front_if(|(settlements, _)| finally || *settlements >= 2)
        {
            self.tell_discards(&look, sink);
        }
    }

    fn tell_discards(&mut self, look: &Look, sink: &mut dyn Sink) {
        for part in self.parts(look) {
            self.tell_discard(look, &part, sink);
        }
    }

    /// What is left of a look when the drops are subtracted, by socket where that is known.
    fn parts<'l>(&mut self, look: &'l Look) -> Vec<Part<'l>> {
        let told = &mut self.discards.told;
        let mut parts = Vec::new();
        let delta = |name: &str| {
            look.moved
                .iter()
                .find(|moved| moved.counter.name == name && moved.device.is_none())
                .map_or(0, |moved| moved.now.saturating_sub(moved.before))
        };
        // What each socket has thrown away, and was not given to a counter yet.
        let mut left: Vec<(&SocketLook, u64)> =
            look.sockets.iter().map(|socket| (socket, socket.now.wrapping_sub(socket.before).into())).collect();
        // Where several have, those first whose queue is full.
        left.sort_by_key(|(socket, count)| {
            (socket.queue.is_none_or(|(waiting, most)| waiting <= most), u64::MAX - count)
        });

        let (overflows, cookies_off) = (delta(OVERFLOWS), delta("TcpExtTCPReqQFullDrop"));
        let rest = delta(LISTEN_DROPS).saturating_sub(overflows + cookies_off);
        let several = left.iter().filter(|(socket, _)| socket.listens).count() > 1;
        let listening = if several && cookies_off + rest > 0 {
            // Which listener threw away how many of each kind only their sum tells.
            vec![(LISTEN_DROPS, overflows + cookies_off + rest)]
        } else {
            vec![(OVERFLOWS, overflows), ("TcpExtTCPReqQFullDrop", cookies_off), (LISTEN_DROPS, rest)]
        };
        for (name, count) in listening {
            let Some(counter) = by_name(name).filter(|_| count > 0) else { continue };
            let subtracted = by_name(OVERFLOWS).filter(|_| name == LISTEN_DROPS && several).unwrap_or(counter);
            let whose = |socket: &SocketLook| socket.listens;
            share(told, look, counter, subtracted, count, &mut left, whose, &mut parts);
        }
        for moved in &look.moved {
            let (counter, count) = (moved.counter, moved.now.saturating_sub(moved.before));
            match counter.group {
                Group::Listener => {}
                Group::Udp | Group::Udp6 => {
                    let v6 = counter.group == Group::Udp6;
                    // A socket of IPv6 takes datagrams of IPv4, too. Nothing that was not sent is in `sk_drops`.
                    let whose = |socket: &SocketLook| {
                        !socket.listens && (socket.tuple.family == 6 || !v6) && !counter.name.contains("Sndbuf")
                    };
                    share(told, look, counter, counter, count, &mut left, whose, &mut parts);
                }
                Group::TcpExt | Group::Conntrack | Group::Softnet | Group::Device | Group::Qdisc => {
                    let device = moved.device.as_deref();
                    let count = count - told.take(look, counter, None, device, count);
                    parts.push(Part { counter, count, socket: None, device });
                }
            }
        }
        parts.retain(|part| part.count > 0);
        parts
    }

    fn tell_discard(&mut self, look: &Look, part: &Part<'_>, sink: &mut dyn Sink) {
        let listener = part.socket.filter(|socket| socket.listens);
        let mut discard = Discard {
            counter: part.counter.name,
            count: part.count,
            meaning: part.counter.meaning,
            iface: part.device.map(Rc::from),
            queue: listener.and_then(|socket| Some(socket.queue?.0)),
            backlog: listener.and_then(|socket| Some(socket.queue?.1)),
            conntrack: look.conntrack.filter(|_| part.counter.group == Group::Conntrack),
            no_accept_us: None,
            syns: false,
            clients: Vec::new(),
        };
        let Some(named) = part.socket else {
            let socket = Socket {
                proto: match part.counter.group {
                    Group::Listener | Group::TcpExt => "tcp",
                    Group::Udp | Group::Udp6 => "udp",
                    _ => "unknown",
                },
                family: 0,
                netns: look.netns,
                laddr: None,
                ..Connection::socket_of(ConnId::NONE, &NOWHERE, Role::Unknown)
            };
            if self.gate.admit_finally(&socket) {
                let socket = Some(socket).filter(|_| look.netns.is_some());
                sink.event(&Event { boot_ns: look.boot_ns, socket, kind: Kind::Discard(&discard) });
            } else {
                self.filtered += 1;
            }
            return;
        };
        let tuple = &named.tuple;
        // Who holds the very socket goes before who listens at its port.
        let holder = named.holders.iter().find_map(|pid| self.processes.holder(*pid));
        let by_tuple = || {
            let id = self.listeners.find(tuple)?;
            let at = &self.connections.get(&id)?.tuple;
            (at.laddr == tuple.laddr && at.family == tuple.family).then_some(id)
        };
        let id = self.listeners.with_inode(named.inode).or_else(by_tuple).filter(|_| named.listens);
        let connection = id.and_then(|id| self.connections.get(&id));
        let conn = connection.map_or(ConnId::NONE, |connection| connection.conn);
        let (owner, owner_source) = match (holder, connection) {
            // The listener's own account of who called listen().
            (Some(holder), Some(connection))
                if connection.owner.as_ref().is_some_and(|owner| owner.pid == holder.pid) =>
            {
                (connection.owner.clone(), connection.owner_source)
            }
            (Some(holder), _) => (Some(holder), OwnerSource::Fd),
            (None, Some(connection)) => (connection.owner.clone(), connection.owner_source),
            (None, None) => (None, OwnerSource::Unknown),
        };
        if named.listens {
            discard.no_accept_us = self.no_accept_us(connection.map(Box::as_ref), look.boot_ns);
            discard.syns = part.counter.name == OVERFLOWS
                && self.discards.counting.is_some_and(|counting| counting.drops)
                && self.packets.knows_reason("TCP_LISTEN_OVERFLOW");
            discard.clients = self.clients_of(tuple, look);
        }
        let role = if named.listens { Role::Listener } else { Role::Unknown };
        let remote = named.tuple.rport != 0;
        let mut socket = Connection::socket_of(conn, tuple, role);
        socket.proto = if named.listens { "tcp" } else { "udp" };
        socket.raddr = socket.raddr.filter(|_| remote);
        (socket.owner, socket.owner_source) = (owner.as_deref(), owner_source);
        if self.gate.admit_finally(&socket) {
            sink.event(&Event { boot_ns: look.boot_ns, socket: Some(socket), kind: Kind::Discard(&discard) });
        } else {
            self.filtered += 1;
        }
    }

    /// How long nobody has accepted a connection of a listener; `None` if that is not known.
    fn no_accept_us(&self, listener: Option<&Connection>, boot_ns: u64) -> Option<u64> {
        let counting = self.discards.counting.filter(|counting| counting.accepts && self.accept_hooked)?;
        // Of several at a port nothing tells whose an accepted connection was.
        let listener = listener?;
        let key = (listener.tuple.netns, listener.tuple.lport);
        let since = self.discards.accepted.get(&key).copied().unwrap_or(0);
        Some(boot_ns.saturating_sub(since.max(counting.began_ns).max(listener.started_ns)) / 1000)
    }

    /// Who waits for an answer from a listener, or gave up lately.
    fn clients_of(&self, listener: &Tuple, look: &Look) -> Vec<Rc<Owner>> {
        let (laddr, _) = stream::address(listener.family, listener.laddr);
        // Who listens at any address is one of many of this port.
        let mut owners: Vec<Rc<Owner>> = Vec::new();
        if laddr.is_unspecified() {
            return owners;
        }
        let mut add = |owner: &Rc<Owner>| {
            if owners.len() < MOST_CLIENTS && !owners.iter().any(|known| known.pid == owner.pid) {
                owners.push(Rc::clone(owner));
            }
        };
        let waits = |connection: &&Connection| {
            connection.role == Role::Client
                && connection.established_ns == 0
                && !connection.established_said
                && connection.tuple.rport == listener.lport
                && connection.started_ns <= look.boot_ns
                && stream::address(connection.tuple.family, connection.tuple.raddr).0 == laddr
        };
        // The order of the table is not the same twice.
        let mut waiting: Vec<&Connection> = self.connections.values().map(Box::as_ref).filter(waits).collect();
        waiting.sort_by_key(|connection| connection.conn);
        waiting.iter().filter_map(|connection| connection.owner.as_ref()).for_each(&mut add);
        for (addr, port, at, owner) in &self.discards.given_up {
            if *addr == laddr && *port == listener.lport && at.saturating_add(GIVEN_UP_NS) > look.boot_ns {
                add(owner);
            }
        }
        owners
    }
}

const NOWHERE: Tuple =
    Tuple { laddr: [0; 4], raddr: [0; 4], lport: 0, rport: 0, family: 4, reserved: [0; 3], netns: 0, ifindex: 0 };

/// Gives `count` of a counter to the sockets that have thrown something away, less what drops have told of each; what
/// no socket accounts for is the namespace's.
#[expect(clippy::too_many_arguments, reason = "all of one sum")]
fn share<'l>(
    told: &mut Told,
    look: &Look,
    counter: &'static Counter,
    subtracted: &'static Counter,
    count: u64,
    left: &mut [(&'l SocketLook, u64)],
    whose: impl Fn(&SocketLook) -> bool,
    parts: &mut Vec<Part<'l>>,
) {
    let mut rest = count;
    for (socket, thrown) in left.iter_mut().filter(|(socket, _)| whose(socket)) {
        let given = rest.min(*thrown);
        if given == 0 {
            continue;
        }
        let known = told.take(look, subtracted, Some(socket.tuple.lport), None, given);
        parts.push(Part { counter, count: given - known, socket: Some(*socket), device: None });
        *thrown -= given;
        rest -= given;
    }
    let known = told.take(look, subtracted, None, None, rest);
    parts.push(Part { counter, count: rest - known, socket: None, device: None });
}

#[cfg(test)]
mod tests;
