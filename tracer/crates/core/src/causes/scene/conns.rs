//! The connections that are open, or that failed.

use std::collections::BTreeMap;

use tracer_stream::{Close, ConnId, Event, Kind, Party, Role, Segment};

use super::{Ends, party};

/// The most open connections, and failed ones, that are kept.
const MOST_OPEN: usize = 16_384;
const MOST_FAILED: usize = 8_192;
/// The most groups of drops of one connection.
const MOST_DROPS: usize = 4;
/// The most rejected connections whose moment is remembered.
const MOST_MOMENTS: usize = 64;

/// A connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Its name in the stream.
    pub id: ConnId,
    /// Its addresses.
    pub ends: Ends,
    /// How it was opened.
    pub role: Role,
    /// Its owner.
    pub owner: Option<Party>,
    /// When it was first seen.
    pub since_ns: u64,
    /// It is older than the trace.
    pub older: bool,
    /// When its handshake ended.
    pub established_ns: Option<u64>,
    /// When a process accepted it.
    pub accepted_ns: Option<u64>,
    /// The time of its handshake, µs.
    pub connect_us: Option<u64>,
    /// Retransmitted SYNs and SYN-ACKs.
    pub syn_retransmits: u64,
    /// Retransmitted data and FINs.
    pub data_retransmits: u64,
    /// When the first of them was sent.
    pub first_retransmit_ns: Option<u64>,
    /// A RST came, or was sent.
    pub reset: Option<&'static str>,
    /// The last error of its socket.
    pub errno: Option<i32>,
    /// Its groups of dropped packets ([`Drops`](super::Drops)).
    pub drops: Vec<usize>,
    /// Its end; `None` while it is open.
    pub close: Option<Close>,
    /// When it ended.
    pub closed_ns: Option<u64>,
    /// Of one that was rejected: the programs that had connections from the same address to the same end then.
    pub beside: Vec<(Option<String>, u64)>,
}

/// The connections, by their names.
#[derive(Debug, Default)]
pub struct Conns {
    open: BTreeMap<ConnId, Conn>,
    failed: BTreeMap<ConnId, Conn>,
    /// Connections without room.
    pub untold: u64,
    /// Rejected connections whose moment is remembered.
    moments: usize,
}

impl Conns {
    /// Those that are open, in the order of their beginning.
    pub fn open(&self) -> impl Iterator<Item = &Conn> {
        self.open.values()
    }

    /// Those that failed, or ended without an answer, in the order of their beginning.
    pub fn failed(&self) -> impl Iterator<Item = &Conn> {
        self.failed.values()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        self.open.get(&id).or_else(|| self.failed.get(&id))
    }

    /// Takes an event of a connection. `drop`: the group of its dropped packet.
    pub(super) fn event(&mut self, event: &Event<'_>, drop: Option<usize>) {
        let Some(conn) = self.met(event) else { return };
        match event.kind {
            Kind::Open { .. } => conn.older = true,
            Kind::Established { connect_us } => {
                conn.established_ns = Some(event.boot_ns);
                conn.connect_us = connect_us;
            }
            Kind::Accept { .. } => conn.accepted_ns = Some(event.boot_ns),
            Kind::Error { errno, accepts: None } => conn.errno = Some(errno),
            Kind::Reset { received, .. } => conn.reset = Some(if received { "received" } else { "sent" }),
            Kind::Retransmit { what: Segment::Syn | Segment::SynAck, .. } => conn.syn_retransmits += 1,
            Kind::Retransmit { what: Segment::Data | Segment::Fin, .. } => {
                conn.data_retransmits += 1;
                conn.first_retransmit_ns.get_or_insert(event.boot_ns);
            }
            _ => {}
        }
        if let Some(drop) = drop.filter(|drop| conn.drops.len() < MOST_DROPS && !conn.drops.contains(drop)) {
            conn.drops.push(drop);
        }
    }

    /// Takes the end of a connection; of those that ended well nothing is kept.
    pub(super) fn close(&mut self, event: &Event<'_>, close: &Close) {
        let Some(id) = event.socket.map(|socket| socket.conn) else { return };
        let known = self.open.remove(&id);
        if !close.is_failure() && known.as_ref().is_none_or(|conn| conn.drops.is_empty() && conn.data_retransmits == 0)
        {
            return;
        }
        if self.failed.len() >= MOST_FAILED {
            self.untold += 1;
            return;
        }
        let Some(mut conn) = known.or_else(|| begun(event)) else { return };
        if let Some(socket) = &event.socket {
            conn.ends = Ends::of(socket);
            conn.owner = socket.owner.map(party).or(conn.owner);
        }
        if close.icmp.is_some() && self.moments < MOST_MOMENTS {
            self.moments += 1;
            conn.beside = self.beside(&conn);
        }
        conn.closed_ns = Some(event.boot_ns);
        conn.close = Some(close.clone());
        self.failed.insert(id, conn);
    }

    /// The programs that have connections from the same address to the same end, and how many.
    fn beside(&self, of: &Conn) -> Vec<(Option<String>, u64)> {
        let ends = |conn: &Conn| (conn.ends.laddr, conn.ends.raddr, conn.ends.rport);
        let mut by: BTreeMap<Option<String>, u64> = BTreeMap::new();
        for conn in self.open().filter(|conn| ends(conn) == ends(of) && (conn.older || conn.established_ns.is_some())) {
            *by.entry(conn.owner.as_ref().map(|owner| owner.comm.clone())).or_default() += 1;
        }
        let mut all: Vec<_> = by.into_iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// The connection of an event, new or not; `None` if it has ended, and nothing is kept of it.
    fn met(&mut self, event: &Event<'_>) -> Option<&mut Conn> {
        let id = event.socket?.conn;
        if self.failed.contains_key(&id) {
            return self.failed.get_mut(&id);
        }
        if !self.open.contains_key(&id) {
            // A drop waits for its hint, perhaps until after the end of its connection.
            if matches!(event.kind, Kind::Drop(_)) {
                return None;
            }
            if self.open.len() >= MOST_OPEN {
                self.untold += 1;
                return None;
            }
            self.open.insert(id, begun(event)?);
        }
        let conn = self.open.get_mut(&id)?;
        if let Some(socket) = &event.socket {
            conn.ends = Ends::of(socket);
            if conn.owner.as_ref().map(|party| party.pid) != socket.owner.map(|owner| owner.pid) {
                conn.owner = socket.owner.map(party).or_else(|| conn.owner.take());
            }
        }
        Some(conn)
    }
}

fn begun(event: &Event<'_>) -> Option<Conn> {
    let socket = event.socket.as_ref()?;
    Some(Conn {
        id: socket.conn,
        ends: Ends::of(socket),
        role: socket.role,
        owner: socket.owner.map(party),
        since_ns: event.boot_ns,
        older: false,
        established_ns: None,
        accepted_ns: None,
        connect_us: None,
        syn_retransmits: 0,
        data_retransmits: 0,
        first_retransmit_ns: None,
        reset: None,
        errno: None,
        drops: Vec::new(),
        close: None,
        closed_ns: None,
        beside: Vec::new(),
    })
}
