//! The sockets that existed before the trace.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tracer_common::record::Tuple;
use tracer_stream::{Kind, OwnerSource, Role, Sink, TcpState};

use super::{
    Correlation, Gate, SEED_BIT,
    by_tuple::Filed,
    connection::{Connection, TupleKey},
    forms::{self, TupleForm},
};

/// One socket of the snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedSocket {
    /// Addresses, ports, namespace.
    #[serde(with = "TupleForm")]
    pub tuple: Tuple,
    /// State.
    #[serde(with = "forms::state")]
    pub state: TcpState,
    /// Of a listener of IPv6: it takes no IPv4; `None` where nothing tells.
    pub v6only: Option<bool>,
    /// Inode number; 0 if it has no file.
    pub inode: u64,
    /// Processes that hold its file, oldest first; before accept(), those that listen.
    pub holders: Vec<u32>,
}

impl SeedSocket {
    /// Whether it waits in its listener's queue: without a file before its end.
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
    /// Its number until then.
    pub id: u64,
    inode: u64,
}

impl Filed for Seeded {
    fn inode(&self) -> u64 {
        self.inode
    }
}

/// A socket whose beginning is in a record.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Addresses, ports, namespace.
    #[serde(with = "TupleForm")]
    pub tuple: Tuple,
    /// A listener's inode, if known: others may have the same tuple.
    pub listener: Option<u64>,
}

/// The snapshot. Its processes are to be given before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seed {
    /// When the hooks were attached: sockets of that time existed before the trace.
    pub attached_ns: u64,
    /// Sockets before that moment, to name the owners of those that have gone since. Emits nothing by itself.
    pub before: Vec<SeedSocket>,
    /// Sockets after that moment.
    pub sockets: Vec<SeedSocket>,
    /// Sockets that were connected, accepted or made to listen since the hooks were attached: the stream has, or will
    /// have, their own records.
    pub opened_since: Vec<Opened>,
}

impl<G: Gate> Correlation<G> {
    /// Takes the snapshot. Records that came in the meantime are to be applied after it.
    pub(super) fn seed(&mut self, seed: Seed, sink: &mut dyn Sink) {
        self.attached_ns = seed.attached_ns;
        self.processes.begin();
        let (listeners, others): (Vec<_>, Vec<_>) =
            seed.before.into_iter().partition(|socket| socket.state == TcpState::Listen);
        for socket in listeners {
            self.earlier.insert(TupleKey::from(&socket.tuple), socket);
        }
        let opened = OpenedSince::new(&seed.opened_since);
        // Listeners first: they show which connections came in, and to which owner. A listener that closed since the
        // hooks were attached may have had children until then.
        for (_, older) in
            self.earlier.iter().filter(|(_, older)| older.state == TcpState::Listen && !opened.tells(older))
        {
            let owner = older.holders.iter().find_map(|pid| self.processes.holder(*pid));
            self.listeners.add_known(listener_id(older), &older.tuple, older.v6only, older.inode, owner.as_ref());
        }
        for socket in others {
            let socket = self.with_listener(socket);
            self.earlier.insert(TupleKey::from(&socket.tuple), socket);
        }
        let (listeners, others): (Vec<_>, Vec<_>) =
            seed.sockets.into_iter().partition(|socket| socket.state == TcpState::Listen);
        let mut seen = HashSet::new();
        for socket in listeners {
            // A table may show a socket twice.
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

    /// Adds the listener's owner to a socket that waits for accept().
    fn with_listener(&self, socket: SeedSocket) -> SeedSocket {
        let listens = if socket.waits_for_accept() { self.listeners.owner(&socket.tuple, 0) } else { None };
        match listens {
            Some(owner) => SeedSocket { holders: vec![owner.pid], ..socket },
            None => socket,
        }
    }

    fn seed_socket(&mut self, mut socket: SeedSocket, sink: &mut dyn Sink) {
        let mut waits = socket.waits_for_accept();
        // Its earlier state counts: since then it may have begun to close, and have lost its file.
        if let Ok(Some(older)) = self.earlier.take(&socket.tuple, socket.inode) {
            if older.state == TcpState::Listen {
                self.listeners.remove(listener_id(&older));
            }
            socket.state = older.state;
            waits = older.waits_for_accept() && socket.inode == 0;
            if socket.holders.is_empty() && waits == older.waits_for_accept() {
                socket.holders = older.holders;
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
        connection.v6only = socket.v6only;
        if role == Role::Listener {
            self.listeners.add(id, &connection);
        }
        self.by_tuple.insert(TupleKey::from(&socket.tuple), Seeded { id, inode: socket.inode });
        self.say(&mut connection, self.attached_ns, Kind::Open { state: socket.state }, sink);
        self.packets.index(id, &mut connection);
        self.connections.insert(id, connection);
    }

    /// Names the owner by the holders of the file: the oldest process, since one process opens a file and its children
    /// inherit it.
    pub(super) fn hold(&self, connection: &mut Connection, socket: &SeedSocket) {
        let mut holders = socket.holders.iter().copied();
        if let Some(owner) = holders.by_ref().find_map(|pid| self.processes.holder(pid)) {
            connection.owner = Some(owner);
            connection.owner_source = OwnerSource::Fd;
        }
        connection.holders = holders.collect();
    }

    /// Completes an older connection that the snapshot lacks with its state before the hooks were attached. `inode` is
    /// the record's; 0 if it had no file by then.
    pub(super) fn remember(&mut self, connection: &mut Connection, inode: u64) {
        if let Ok(Some(older)) = self.earlier.take(&connection.tuple, inode) {
            self.hold(connection, &older);
            if older.waits_for_accept() && connection.role == Role::Unknown {
                connection.role = Role::Server;
                connection.owner_source =
                    if connection.owner.is_some() { OwnerSource::Listener } else { OwnerSource::Unknown };
            }
            connection.inode = older.inode;
            connection.established_said = older.state != TcpState::SynSent;
            connection.seen_as = Some(older.state);
            // A record may lack it (no type information); /proc had it.
            connection.tuple.netns = older.tuple.netns;
        }
    }

    /// Forgets the sockets seen before the hooks were attached.
    pub(super) fn reconciled(&mut self) {
        let earlier = std::mem::take(&mut self.earlier);
        for (_, older) in earlier.iter().filter(|(_, older)| older.state == TcpState::Listen) {
            self.listeners.remove(listener_id(older));
        }
    }
}

/// Sockets that began since the hooks were attached.
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

    /// Whether a record shows the beginning of `socket`.
    fn tells(&self, socket: &SeedSocket) -> bool {
        let key = TupleKey::from(&socket.tuple);
        let told = |key: &TupleKey| self.tuples.contains(key) || self.tuples.contains(&key.anywhere());
        // The record of a connection that still waits for an answer has no local port.
        let unbound = TupleKey { local: (key.local.0, 0), ..key };
        self.listeners.contains(&socket.inode) || told(&key) || socket.state == TcpState::SynSent && told(&unbound)
    }
}

/// A number for a listener that is known by a older only, distinct from those of connections and seeds.
const fn listener_id(older: &SeedSocket) -> u64 {
    SEED_BIT | SEED_BIT >> 1 | older.inode
}
