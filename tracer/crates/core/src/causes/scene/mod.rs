//! The joined evidence: what the events and the surveys say about the same connections, packets and processes.
//! Everything in it is bounded.

mod conns;
mod drops;
mod ends;
mod flows;
mod hurt;
mod index;
mod reads;
mod waits;

use std::{cell::OnceCell, collections::HashMap};

use tracer_stream::{ConnId, Discard, Event, Kind, Owner, Party, TcpState, Verdict};

pub use self::{
    conns::{Conn, Conns},
    drops::{Carried, Dropped, Drops, Probe},
    ends::{Ended, LastEnds},
    flows::{Flow, FlowKey, Flows},
    hurt::{Hurt, ends},
    index::{Index, Tuple, tuple},
    reads::{Read, Reads},
    waits::{AllWaits, Asker, DNS, Waits},
};
use super::survey::{Survey, SurveySocket, Transport};

/// The most failed calls, and listeners with discards, that are kept.
const MOST: usize = 1024;

/// A failed bind(), listen() or accept().
#[derive(Clone, Debug)]
pub struct FailedCall {
    /// `bind`, `listen` or `accept`.
    pub call: &'static str,
    /// Positive.
    pub errno: i32,
    /// Its process.
    pub by: Option<Party>,
    /// The local end.
    pub socket: Ends,
    /// Who holds the port.
    pub held_by: Option<Party>,
    /// How often.
    pub count: u64,
    /// The last time.
    pub last_ns: u64,
}

/// Discards of one counter at one socket, or in one namespace.
#[derive(Clone, Debug)]
pub struct Discarded {
    /// The socket, if the kernel counts by socket.
    pub socket: Option<Ends>,
    /// Its namespace.
    pub netns: Option<u32>,
    /// Its owner.
    pub owner: Option<Party>,
    /// The last one.
    pub last: Discard,
    /// How many in all.
    pub count: u64,
}

/// The addresses of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Its namespace.
    pub netns: Option<u32>,
    /// Local address.
    pub laddr: Option<std::net::IpAddr>,
    /// Local port.
    pub lport: Option<u16>,
    /// Remote address.
    pub raddr: Option<std::net::IpAddr>,
    /// Remote port.
    pub rport: Option<u16>,
}

impl Ends {
    /// The addresses of the socket of an event.
    #[must_use]
    pub fn of(socket: &tracer_stream::Socket<'_>) -> Self {
        let netns = socket.home.or(socket.netns);
        Self { netns, laddr: socket.laddr, lport: socket.lport, raddr: socket.raddr, rport: socket.rport }
    }
}

/// The evidence so far.
#[derive(Debug, Default)]
pub struct Scene {
    /// When the trace began, `CLOCK_BOOTTIME` ns.
    pub began_ns: u64,
    /// The time of the newest evidence.
    pub now_ns: u64,
    /// Connections that are open, or failed.
    pub conns: Conns,
    /// All connections, by client and destination.
    pub flows: Flows,
    /// Dropped packets.
    pub drops: Drops,
    /// How connections ended after a silence.
    pub ends: LastEnds,
    /// The trace sees accept(): without one in [`Scene::accepts`] there was none.
    pub sees_accepts: bool,
    /// The last accept() of a process at a port, ns.
    pub accepts: HashMap<(u32, u16), u64>,
    /// How processes read their connections.
    pub reads: Reads,
    /// How long programs waited for name servers.
    pub waits: AllWaits,
    /// Failed calls.
    pub calls: Vec<FailedCall>,
    /// Discards without an event of their own.
    pub discards: Vec<Discarded>,
    /// The host as it was first seen.
    pub first: Option<Survey>,
    /// The host as it was last seen.
    pub last: Option<Survey>,
    /// The one before it.
    pub before: Option<Survey>,
    /// Evidence that found no room.
    pub untold: u64,
    /// Made when a rule asks for it, and again after new evidence.
    pub(super) index: OnceCell<Index>,
}

impl Scene {
    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self))
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Event<'_>) {
        self.index.take();
        self.now_ns = self.now_ns.max(event.boot_ns);
        let conn = event.socket.map_or(ConnId::NONE, |socket| socket.conn);
        match event.kind {
            Kind::Drop(drop) => {
                let number = self.drops.add(event, drop);
                if conn != ConnId::NONE {
                    self.conns.event(event, number);
                }
            }
            Kind::Discard(discard) => self.discard(event, discard),
            Kind::Bind { errno, held_by } => self.call(event, "bind", errno, held_by, 1),
            Kind::Error { errno, accepts: Some(count) } => self.call(event, "accept", errno, None, count),
            Kind::Close(close) => {
                if let (Some(errno), Some(holder)) = (close.errno, close.held_by.as_deref()) {
                    self.call(event, "listen", errno, Some(holder), 1);
                }
                self.flows.close(event, close);
                self.ends.close(event, close);
                // Others say more of a connection that is open at the end of the trace.
                if close.verdict != Verdict::OpenAtEnd {
                    self.conns.close(event, close);
                }
            }
            Kind::Accept { .. } => {
                self.accepted(event);
                self.conns.event(event, None);
            }
            _ if conn != ConnId::NONE => self.conns.event(event, None),
            _ => {}
        }
    }

    /// Takes a survey.
    pub fn survey(&mut self, survey: Survey) {
        self.index.take();
        self.now_ns = self.now_ns.max(survey.boot_ns);
        if self.first.is_none() {
            self.first = Some(survey.clone());
        }
        let listens = |socket: &&SurveySocket| (socket.transport, socket.state) == (Transport::Tcp, TcpState::Listen);
        self.drops.learn_listeners(survey.sockets.iter().filter(listens).map(|socket| socket.lport));
        self.waits.survey(&survey);
        self.reads.survey(&survey);
        self.before = self.last.replace(survey);
    }

    /// The last survey; an empty one before the first.
    #[must_use]
    pub fn host(&self) -> &Survey {
        static NOTHING: Survey = Survey {
            boot_ns: 0,
            namespaces: Vec::new(),
            sockets: Vec::new(),
            processes: Vec::new(),
            time_wait: Vec::new(),
            omitted: 0,
            gaps: Vec::new(),
        };
        self.last.as_ref().unwrap_or(&NOTHING)
    }

    /// The name of a namespace: its own, or its number.
    #[must_use]
    pub fn netns_name(&self, inode: u32) -> String {
        let name = self.host().namespace(inode).and_then(|namespace| namespace.name.clone());
        name.unwrap_or_else(|| inode.to_string())
    }

    /// ` in NAME` for another namespace than tracer's own; else nothing.
    #[must_use]
    pub fn in_netns(&self, inode: Option<u32>) -> String {
        match inode {
            Some(inode) if !self.host().namespace(inode).is_some_and(|namespace| namespace.own) => {
                format!(" in {}", self.netns_name(inode))
            }
            _ => String::new(),
        }
    }

    /// The process `pid`, by the last survey that knows it.
    #[must_use]
    pub fn party(&self, pid: u32) -> Option<Party> {
        let surveys = [&self.last, &self.before, &self.first];
        let process = surveys.into_iter().flatten().find_map(|survey| survey.process(pid))?;
        Some(Party {
            pid,
            comm: process.comm.clone(),
            container: process.container.clone(),
            unit: process.unit.clone(),
            netns: None,
        })
    }

    fn accepted(&mut self, event: &Event<'_>) {
        let Some(key) = event.socket.and_then(|socket| Some((socket.owner?.pid, socket.lport?))) else { return };
        if self.accepts.len() < MOST || self.accepts.contains_key(&key) {
            self.accepts.insert(key, event.boot_ns);
        }
    }

    fn call(&mut self, event: &Event<'_>, call: &'static str, errno: i32, held_by: Option<&Owner>, count: u64) {
        let Some(socket) = &event.socket else { return };
        let (by, ends) = (socket.owner.map(party), Ends::of(socket));
        // A service that is restarted has a new pid each time.
        let same = |known: &&mut FailedCall| {
            let comm = |party: &Option<Party>| party.as_ref().map(|party| party.comm.clone());
            (known.call, known.errno, known.socket.netns, known.socket.lport) == (call, errno, ends.netns, ends.lport)
                && comm(&known.by) == comm(&by)
        };
        if let Some(known) = self.calls.iter_mut().find(same) {
            known.count += count;
            known.last_ns = event.boot_ns;
            known.by = by;
            known.held_by = held_by.map(party).or_else(|| known.held_by.take());
        } else if self.calls.len() < MOST {
            let held_by = held_by.map(party);
            self.calls.push(FailedCall { call, errno, by, socket: ends, held_by, count, last_ns: event.boot_ns });
        } else {
            self.untold += count;
        }
    }

    fn discard(&mut self, event: &Event<'_>, discard: &Discard) {
        let socket = event.socket.as_ref().filter(|socket| socket.lport.is_some()).map(Ends::of);
        let netns = event.socket.and_then(|socket| socket.netns);
        let owner = event.socket.and_then(|socket| socket.owner).map(party);
        let same = |known: &&mut Discarded| {
            known.last.counter == discard.counter
                && known.last.iface == discard.iface
                && (known.socket, known.netns) == (socket, netns)
                && known.owner.as_ref().map(|party| party.pid) == owner.as_ref().map(|party| party.pid)
        };
        if let Some(known) = self.discards.iter_mut().find(same) {
            known.count += discard.count;
            known.last = discard.clone();
        } else if self.discards.len() < MOST {
            self.discards.push(Discarded { socket, netns, owner, last: discard.clone(), count: discard.count });
        } else {
            self.untold += discard.count;
        }
    }
}

/// The owner of an event as a party.
#[must_use]
pub fn party(owner: &Owner) -> Party {
    Party {
        pid: owner.pid,
        comm: owner.comm.clone(),
        container: owner.facts.container.as_ref().map(|container| container.id.clone()),
        unit: owner.facts.unit.clone(),
        netns: None,
    }
}
