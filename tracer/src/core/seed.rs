//! What existed before the trace.

use std::collections::HashSet;

use tracer_common::record::Tuple;

use super::{
    Core, Gate, SEED_BIT,
    by_tuple::Filed,
    connection::{Connection, TupleKey},
};
use crate::stream::{Kind, OwnerSource, Role, Sink, TcpState};

/// One socket of the snapshot.
#[derive(Clone, Debug)]
pub struct SeedSocket {
    /// Addresses, ports, namespace.
    pub tuple: Tuple,
    /// State.
    pub state: TcpState,
    /// Inode number; 0 if it has no file.
    pub inode: u64,
    /// Processes that hold its file, oldest first. Of one that waits for accept(): who listens.
    pub holders: Vec<u32>,
}

impl SeedSocket {
    /// Without a file before its end it waits in the queue of its listener.
    const fn waits_for_accept(&self) -> bool {
        self.inode == 0 && matches!(self.state, TcpState::Established | TcpState::CloseWait)
    }
}

impl Filed for SeedSocket {
    fn inode(&self) -> u64 {
        self.inode
    }
}

/// A connection of the snapshot, until a record names it.
#[derive(Debug)]
pub struct Seeded {
    /// Its number meanwhile.
    pub id: u64,
    inode: u64,
}

impl Filed for Seeded {
    fn inode(&self) -> u64 {
        self.inode
    }
}

/// A socket that a record of its beginning tells of.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Addresses, ports, namespace.
    pub tuple: Tuple,
    /// Of one that listens its inode, if that is known: others may have the same tuple.
    pub listener: Option<u64>,
}

/// The snapshot. Processes that it names are to be given before it.
#[derive(Clone, Debug)]
pub struct Seed {
    /// When the hooks were attached: what existed then existed before the trace.
    pub attached_ns: u64,
    /// What existed before that, to name the owners of what is gone since. Says nothing by itself.
    pub before: Vec<SeedSocket>,
    /// What existed after that.
    pub sockets: Vec<SeedSocket>,
    /// What was connected, accepted or made to listen since the hooks were attached: the stream has told,
    /// or is about to tell, of those itself.
    pub opened_since: Vec<Opened>,
}

impl<G: Gate> Core<G> {
    /// Takes the snapshot over. Records that came while it was taken are to be applied after it.
    pub(super) fn seed(&mut self, seed: Seed, sink: &mut dyn Sink) {
        self.attached_ns = seed.attached_ns;
        self.processes.begin();
        let (listeners, others): (Vec<_>, Vec<_>) =
            seed.before.into_iter().partition(|socket| socket.state == TcpState::Listen);
        for socket in listeners {
            self.hints.insert(TupleKey::from(&socket.tuple), socket);
        }
        let opened = OpenedSince::new(&seed.opened_since);
        // Listeners first: they tell which of the others came in, and to whom. One that was closed
        // since the hooks were attached may have had children until then.
        for (_, hint) in self.hints.iter().filter(|(_, hint)| hint.state == TcpState::Listen && !opened.tells(hint)) {
            let owner = hint.holders.iter().find_map(|pid| self.processes.holder(*pid));
            self.listeners.add(hint_id(hint), &hint.tuple, hint.inode, owner.as_ref());
        }
        for socket in others {
            let socket = self.with_listener(socket);
            self.hints.insert(TupleKey::from(&socket.tuple), socket);
        }
        let (listeners, others): (Vec<_>, Vec<_>) =
            seed.sockets.into_iter().partition(|socket| socket.state == TcpState::Listen);
        let mut seen = HashSet::new();
        for socket in listeners {
            // A table may show one twice.
            if !opened.tells(&socket) && seen.insert((socket.tuple.netns, socket.inode)) {
                self.seed_socket(socket, sink);
            }
        }
        for socket in others {
            let same = self.by_tuple.same(&TupleKey::from(&socket.tuple));
            let is_there =
                same.iter().any(|other| other.inode == socket.inode || other.inode == 0 || socket.inode == 0);
            if !opened.tells(&socket) && !is_there {
                let socket = self.with_listener(socket);
                self.seed_socket(socket, sink);
            }
        }
    }

    /// Of one that waits for accept() with who listens.
    fn with_listener(&self, socket: SeedSocket) -> SeedSocket {
        let listens = if socket.waits_for_accept() { self.listeners.owner(&socket.tuple, 0) } else { None };
        match listens {
            Some(owner) => SeedSocket { holders: vec![owner.pid], ..socket },
            None => socket,
        }
    }

    fn seed_socket(&mut self, mut socket: SeedSocket, sink: &mut dyn Sink) {
        let mut waits = socket.waits_for_accept();
        // What it was before counts: since then it may have begun to close, and have lost its file.
        if let Ok(Some(hint)) = self.hints.take(&socket.tuple, socket.inode) {
            if hint.state == TcpState::Listen {
                self.listeners.remove(hint_id(&hint));
            }
            socket.state = hint.state;
            waits = hint.waits_for_accept() && socket.inode == 0;
            if socket.holders.is_empty() && waits == hint.waits_for_accept() {
                socket.holders = hint.holders;
            }
        }
        let role = match socket.state {
            TcpState::Listen => Role::Listener,
            TcpState::SynSent => Role::Client,
            _ if waits => Role::Server,
            _ => Role::Unknown,
        };
        let mut connection = Box::new(Connection::new(self.new_conn(), socket.tuple, role));
        connection.preexisting = true;
        connection.established_said = socket.state != TcpState::SynSent;
        connection.opened_as = Some(socket.state);
        self.last_seed += 1;
        let id = SEED_BIT | self.last_seed;
        self.hold(&mut connection, &socket);
        if connection.owner.is_some() && waits {
            connection.owner_source = OwnerSource::Listener;
        }
        connection.inode = socket.inode;
        if role == Role::Listener {
            self.listeners.add(id, &socket.tuple, socket.inode, connection.owner.as_ref());
        }
        self.by_tuple.insert(TupleKey::from(&socket.tuple), Seeded { id, inode: socket.inode });
        self.say(&mut connection, self.attached_ns, Kind::Open { state: socket.state }, sink);
        self.packets.index(id, &mut connection);
        self.connections.insert(id, connection);
    }

    /// Names the owner by who holds the file: the oldest process, since a file is opened by one
    /// process and inherited by its children.
    pub(super) fn hold(&self, connection: &mut Connection, socket: &SeedSocket) {
        let mut holders = socket.holders.iter().copied();
        if let Some(owner) = holders.by_ref().find_map(|pid| self.processes.holder(pid)) {
            connection.owner = Some(owner);
            connection.owner_source = OwnerSource::Fd;
        }
        connection.holders = holders.collect();
    }

    /// An older connection that the snapshot did not show any more: what was seen of it before the
    /// hooks were attached. `inode`: as the record has it, 0 if it had no file by then.
    pub(super) fn remember(&mut self, connection: &mut Connection, inode: u64) {
        if let Ok(Some(hint)) = self.hints.take(&connection.tuple, inode) {
            self.hold(connection, &hint);
            if hint.waits_for_accept() && connection.role == Role::Unknown {
                connection.role = Role::Server;
                connection.owner_source =
                    if connection.owner.is_some() { OwnerSource::Listener } else { OwnerSource::Unknown };
            }
            connection.inode = hint.inode;
            connection.established_said = hint.state != TcpState::SynSent;
            connection.seen_as = Some(hint.state);
            // A record may not know it (no type information); /proc did.
            connection.tuple.netns = hint.tuple.netns;
        }
    }

    /// What was seen before the hooks were attached may be forgotten.
    pub(super) fn reconciled(&mut self) {
        let hints = std::mem::take(&mut self.hints);
        for (_, hint) in hints.iter().filter(|(_, hint)| hint.state == TcpState::Listen) {
            self.listeners.remove(hint_id(hint));
        }
    }
}

/// What began since the hooks were attached.
struct OpenedSince {
    tuples: HashSet<TupleKey>,
    listeners: HashSet<u64>,
}

impl OpenedSince {
    fn new(opened: &[Opened]) -> Self {
        let tuples = opened.iter().filter(|opened| opened.listener.is_none());
        Self {
            tuples: tuples.map(|opened| TupleKey::from(&opened.tuple)).collect(),
            listeners: opened.iter().filter_map(|opened| opened.listener).collect(),
        }
    }

    /// Whether a record tells the beginning of `socket`.
    fn tells(&self, socket: &SeedSocket) -> bool {
        let key = TupleKey::from(&socket.tuple);
        let told = |key: &TupleKey| self.tuples.contains(key) || self.tuples.contains(&key.anywhere());
        // A connection that still waits for an answer has told its record no local port.
        let unbound = TupleKey { local: (key.local.0, 0), ..key };
        self.listeners.contains(&socket.inode) || told(&key) || socket.state == TcpState::SynSent && told(&unbound)
    }
}

/// A number for a listener that is known by a hint only; apart from those of connections and seeds.
const fn hint_id(hint: &SeedSocket) -> u64 {
    SEED_BIT | SEED_BIT >> 1 | hint.inode
}
