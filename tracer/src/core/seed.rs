//! What existed before the trace.

use std::collections::HashSet;

use tracer_common::record::Tuple;

use super::{
    Core, Gate, SEED_BIT,
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
    /// Processes that hold its file, oldest first.
    pub holders: Vec<u32>,
}

/// The snapshot. Processes that it names are to be given before it.
#[derive(Clone, Debug)]
pub struct Seed {
    /// When it was taken.
    pub boot_ns: u64,
    /// Its rows.
    pub sockets: Vec<SeedSocket>,
    /// Tuples that were connected or accepted since the hooks were attached: the stream has told, or
    /// is about to tell, of those itself.
    pub opened_since: Vec<Tuple>,
}

impl<G: Gate> Core<G> {
    /// Takes the snapshot over. Records that came while it was taken are to be applied after it.
    pub(super) fn seed(&mut self, seed: Seed, sink: &mut dyn Sink) {
        let opened: HashSet<TupleKey> = seed.opened_since.iter().map(TupleKey::from).collect();
        // Listeners first: they tell which of the others came in, and to whom.
        let (listeners, others): (Vec<_>, Vec<_>) =
            seed.sockets.into_iter().partition(|socket| socket.state == TcpState::Listen);
        for socket in listeners.into_iter().chain(others) {
            let key = TupleKey::from(&socket.tuple);
            // A connection that still waits for an answer has told its record no local port.
            let unbound = TupleKey { local: (key.local.0, 0), ..key };
            let waits = socket.state == TcpState::SynSent && opened.contains(&unbound);
            if waits || opened.contains(&key) || self.by_tuple.contains_key(&key) {
                continue;
            }
            self.seed_socket(seed.boot_ns, socket, key, sink);
        }
    }

    fn seed_socket(&mut self, boot_ns: u64, socket: SeedSocket, key: TupleKey, sink: &mut dyn Sink) {
        let role = match socket.state {
            TcpState::Listen => Role::Listener,
            TcpState::SynSent => Role::Client,
            _ => Role::Unknown,
        };
        let mut connection = Connection::new(self.new_conn(), socket.tuple, role);
        connection.preexisting = true;
        connection.established_said = socket.state != TcpState::SynSent;
        connection.opened_as = Some(socket.state);
        self.last_seed += 1;
        let id = SEED_BIT | self.last_seed;
        let mut holders = socket.holders.into_iter();
        // The oldest holder: a file is opened by one process and inherited by its children.
        if let Some(owner) = holders.by_ref().find_map(|pid| self.processes.holder(pid)) {
            if role == Role::Listener {
                self.listeners.add(id, &socket.tuple, &owner);
            }
            connection.owner = Some(owner);
            connection.owner_source = OwnerSource::Fd;
        }
        connection.holders = holders.collect();
        self.by_tuple.insert(key, id);
        self.say(&mut connection, boot_ns, Kind::Open { state: socket.state }, sink);
        self.connections.insert(id, connection);
    }
}
