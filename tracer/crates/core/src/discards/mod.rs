//! Discards that the kernel's counters show, less those in drop events, with their owners.
//!
//! A look is emitted once every drop before it has been: two settlements later. So a packet in both is counted once.

mod listener;
mod shares;
mod told;

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use serde::{Deserialize, Serialize};
use tracer_common::{
    drops::{DROP_MIXED, Direction, DropRecord, NO_REASON},
    record::Tuple,
};
use tracer_stream::{ConnId, Discard, Drop, Event, Kind, OwnerSource, Role, Sink, Socket};
use tracer_tables::discards::{
    Look,
    counter::{Group, OVERFLOWS, UNSPECIFIED},
};

use self::{
    listener::{Accepts, GivenUp},
    shares::{Part, parts},
    told::{Drops, Told},
};
use super::{Correlation, Gate, connection::Connection};

/// The most looks that wait.
const MOST_WAITING: usize = 1024;

/// The facts about the trace that the judgement of counters needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// Drop events are emitted, with reasons or call sites: they are subtracted.
    pub drops: bool,
    /// The stream has every accept() in the namespaces concerned.
    pub accepts: bool,
    /// When the trace began.
    pub began_ns: u64,
}

/// The state for counters of discards.
#[derive(Default)]
pub struct Discards {
    /// `None`: the counters are not watched.
    counting: Option<Counting>,
    told: Told,
    waiting: VecDeque<(u8, Look)>,
    accepts: Accepts,
    given_up: GivenUp,
    namespaces: HashSet<u32>,
    last: u32,
    fresh: Vec<u32>,
}

impl Discards {
    /// Notes the namespace of a record.
    pub fn sees(&mut self, netns: u32) {
        if netns != self.last && self.counting.is_some() {
            self.last = netns;
            if self.namespaces.insert(netns) {
                self.fresh.push(netns);
            }
        }
    }

    /// Whether records have named namespaces for the first time since the last call of the next function.
    pub const fn has_fresh_namespaces(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The namespaces that records have named for the first time since the last call.
    pub fn take_fresh_namespaces(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// Notes that a connection was accepted, by the listener with the inode `parent`; 0 if unknown.
    pub fn accepts(&mut self, child: &Tuple, parent: u64, boot_ns: u64) {
        if self.counting.is_some_and(|counting| counting.accepts) {
            self.accepts.add(child, parent, boot_ns);
        }
    }

    /// Notes a loss of records: an accept() may be among them.
    pub fn loses(&mut self, class: &str) {
        if let Some(counting) = self.counting.as_mut().filter(|_| class == "lifecycle") {
            counting.accepts = false;
        }
    }

    /// Notes that a connection has ended.
    pub fn ends(&mut self, connection: &Connection, boot_ns: u64) {
        if self.counting.is_some() {
            self.given_up.add(connection, boot_ns);
        }
    }

    /// Notes an emitted drop event, hidden by the filter or not.
    pub fn drop_told(&mut self, record: &DropRecord, drop: &Drop, port: Option<u16>, function: &str) {
        if !self.counting.is_some_and(|counting| counting.drops) {
            return;
        }
        let mixed = record.flags & DROP_MIXED != 0;
        let flow = &record.packet.flow;
        // Without a telling reason the call site decides.
        let unspecified = record.reason == NO_REASON || drop.reason.as_deref() == Some(UNSPECIFIED);
        let location = if unspecified { record.location } else { 0 };
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

impl<G: Gate> Correlation<G> {
    pub(super) fn count_discards(&mut self, counting: Counting) {
        self.discards.counting = Some(counting);
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

    /// All drops before the last settlement have been emitted. `finally`: all before this one.
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
        for part in parts(&mut self.discards.told, look) {
            self.tell_discard(look, &part, sink);
        }
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
        // The holder of the socket goes before the listener at its port.
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
            // The listener's own record of the caller of listen().
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
            discard.no_accept_us = self.no_accept_us(connection.map(Box::as_ref), named.inode, look.boot_ns);
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
}

const NOWHERE: Tuple =
    Tuple { laddr: [0; 4], raddr: [0; 4], lport: 0, rport: 0, family: 4, reserved: [0; 3], netns: 0, ifindex: 0 };

#[cfg(test)]
mod tests;
