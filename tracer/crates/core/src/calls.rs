//! accept() that fails for lack of a resource.

use tracer_common::record::{FLAG_PREEXISTING, SocketRecord};
use tracer_stream::{ConnId, Event, Kind, OwnerSource, Role, Sink, Socket};

use super::{Correlation, Gate, connection::Connection};

/// The most listeners whose names are kept for events at their close.
const MOST_LISTENERS: usize = 4096;

impl<G: Gate> Correlation<G> {
    /// accept() failed on a listener. The event belongs to the caller, not to the listener's owner. The last events may
    /// come when the listener is closed.
    pub(super) fn accept_failed(&mut self, record: &SocketRecord, sink: &mut dyn Sink) {
        let (id, boot_ns) = (record.state.id, record.header.boot_ns);
        let known = self.connections.contains_key(&id);
        if !known && record.state.flags & FLAG_PREEXISTING != 0 && !self.listeners_without_room.contains_key(&id) {
            // Older than the trace.
            if let Some(connection) = self.claim(id, &record.tuple, record.state.parent.into()) {
                self.keep(&record.state, connection);
            }
        }
        let conn = self.connections.get(&id).map(|connection| connection.conn);
        let conn = conn.unwrap_or_else(|| self.listeners_without_room.get(&id).copied().unwrap_or(ConnId::NONE));
        if self.listeners_without_room.len() < MOST_LISTENERS {
            self.listeners_without_room.insert(id, conn);
        }
        let caller = self.processes.owner(&record.state.opener, boot_ns);
        let socket = Socket {
            owner: caller.as_deref(),
            owner_source: if caller.is_some() { OwnerSource::Accept } else { OwnerSource::Unknown },
            ..Connection::socket_of(conn, &record.tuple, Role::Listener)
        };
        if self.gate.admit_finally(&socket) {
            let kind = Kind::Error { errno: record.errno, accepts: Some(record.detail) };
            sink.event(&Event { boot_ns, socket: Some(socket), kind });
        } else {
            self.filtered += 1;
        }
    }
}
