//! What existed before the trace.

use std::collections::HashSet;

use tracer_common::record::Tuple;

use super::{
    Core, Gate, SEED_BIT,
    connection::{Connection, TupleKey},
    namespace,
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
    /// Processes that hold its file, oldest first.
    pub holders: Vec<u32>,
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
    /// Tuples that were connected or accepted since the hooks were attached: the stream has told, or
    /// is about to tell, of those itself.
    pub opened_since: Vec<Tuple>,
}

impl<G: Gate> Core<G> {
    /// Takes the snapshot over. Records that came while it was taken are to be applied after it.
    pub(super) fn seed(&mut self, seed: Seed, sink: &mut dyn Sink) {
        self.attached_ns = seed.attached_ns;
        self.hints = seed.before.into_iter().map(|socket| (TupleKey::from(&socket.tuple), socket)).collect();
        let opened: HashSet<TupleKey> = seed.opened_since.iter().map(TupleKey::from).collect();
        // Listeners first: they tell which of the others came in, and to whom. One that was closed
        // since the hooks were attached may have had children until then.
        for (key, hint) in self.hints.iter().filter(|(_, hint)| hint.state == TcpState::Listen) {
            let owner = hint.holders.iter().find_map(|pid| self.processes.holder(*pid));
            if let (Some(owner), false) = (owner, opened.contains(key) || opened.contains(&key.anywhere())) {
                self.listeners.add(hint_id(hint), &hint.tuple, &owner);
            }
        }
        let (listeners, others): (Vec<_>, Vec<_>) =
            seed.sockets.into_iter().partition(|socket| socket.state == TcpState::Listen);
        for socket in listeners.into_iter().chain(others) {
            let key = TupleKey::from(&socket.tuple);
            // A connection that still waits for an answer has told its record no local port.
            let unbound = TupleKey { local: (key.local.0, 0), ..key };
            let told = |key: &TupleKey| opened.contains(key) || opened.contains(&key.anywhere());
            let waits = socket.state == TcpState::SynSent && told(&unbound);
            if waits || told(&key) || self.by_tuple.contains(&key) {
                continue;
            }
            self.seed_socket(socket, key, sink);
        }
    }

    fn seed_socket(&mut self, mut socket: SeedSocket, key: TupleKey, sink: &mut dyn Sink) {
        // What it was before counts: since then it may have begun to close, and have lost its file.
        if let Some(hint) = self.hints.remove(&key) {
            if hint.state == TcpState::Listen {
                self.listeners.remove(hint_id(&hint), &hint.tuple);
            }
            if socket.inode == 0 || socket.inode == hint.inode {
                socket.state = hint.state;
                socket.holders = if socket.holders.is_empty() { hint.holders } else { socket.holders };
            }
        }
        let role = match socket.state {
            TcpState::Listen => Role::Listener,
            TcpState::SynSent => Role::Client,
            _ => Role::Unknown,
        };
        let mut connection = Box::new(Connection::new(self.new_conn(), socket.tuple, role));
        connection.preexisting = true;
        connection.established_said = socket.state != TcpState::SynSent;
        connection.opened_as = Some(socket.state);
        self.last_seed += 1;
        let id = SEED_BIT | self.last_seed;
        self.hold(&mut connection, &socket);
        if let (Role::Listener, Some(owner)) = (role, &connection.owner) {
            self.listeners.add(id, &socket.tuple, owner);
        }
        self.by_tuple.insert(key, id);
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
        let key = TupleKey::from(&connection.tuple);
        let key = if key.netns == 0 { namespace::the_one(&key, self.hints.keys()) } else { Some(key) };
        let Some(hint) = key.and_then(|key| self.hints.remove(&key)) else { return };
        if inode == 0 || hint.inode == inode {
            self.hold(connection, &hint);
            connection.established_said = hint.state != TcpState::SynSent;
            connection.seen_as = Some(hint.state);
            // A record may not know it (no type information); /proc did.
            connection.tuple.netns = hint.tuple.netns;
        }
    }

    /// What was seen before the hooks were attached may be forgotten.
    pub(super) fn reconciled(&mut self) {
        for (_, hint) in self.hints.drain().filter(|(_, hint)| hint.state == TcpState::Listen) {
            self.listeners.remove(hint_id(&hint), &hint.tuple);
        }
    }
}

/// A number for a listener that is known by a hint only; apart from those of connections and seeds.
const fn hint_id(hint: &SeedSocket) -> u64 {
    SEED_BIT | SEED_BIT >> 1 | hint.inode
}
