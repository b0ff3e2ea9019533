//! Names the acceptor of a connection where accept() is not hooked: the holder of its file a moment later.

use serde::{Deserialize, Serialize};
use tracer_common::record::Tuple;
use tracer_stream::{OwnerSource, Role};

use super::{
    Correlation, Gate, SeedSocket,
    by_tuple::ByTuple,
    connection::{Connection, TupleKey},
};

/// The result of a look at /proc. Its processes are to be given before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holders {
    /// When the look began, `CLOCK_BOOTTIME` ns: it does not cover later connections.
    pub began_ns: u64,
    /// The requested sockets, as far as they were found; without an inode: not accepted yet.
    pub sockets: Vec<SeedSocket>,
}

const fn is_unowned(connection: &Connection) -> bool {
    matches!(connection.role, Role::Server)
        && connection.accepted_ns == 0
        && matches!(connection.owner_source, OwnerSource::Listener | OwnerSource::Unknown)
}

impl<G: Gate> Correlation<G> {
    /// The connections whose acceptor no record will name and that were not asked about yet: look for their holders.
    /// Empty wherever accept() is hooked.
    pub(super) fn unowned(&mut self) -> Vec<Tuple> {
        if !std::mem::take(&mut self.unowned) {
            return Vec::new();
        }
        self.connections
            .values()
            .filter(|connection| is_unowned(connection))
            .map(|connection| connection.tuple)
            .collect()
    }

    pub(super) fn take_holders(&mut self, holders: &Holders) {
        let mut found = ByTuple::default();
        for socket in &holders.sockets {
            found.insert(TupleKey::from(&socket.tuple), socket);
        }
        let asked = |connection: &Connection| is_unowned(connection) && connection.established_ns < holders.began_ns;
        let ids: Vec<u64> =
            self.connections.iter().filter(|(_, connection)| asked(connection)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut connection) = self.connections.remove(&id) else { continue };
            match found.take(&connection.tuple, 0) {
                Ok(Some(socket)) if socket.inode == 0 => self.unowned = true,
                Ok(Some(socket)) => self.hold(&mut connection, socket),
                Ok(None) | Err(_) => {}
            }
            self.connections.insert(id, connection);
        }
    }
}
