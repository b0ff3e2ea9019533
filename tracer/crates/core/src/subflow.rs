//! Gives further subflows of MPTCP the owner of the first: the process that connected or accepted it.

use std::rc::Rc;

use tracer_common::record::{RecordKind, SocketRecord};
use tracer_stream::OwnerSource;

use super::{Correlation, Gate, connection::Connection};

impl<G: Gate> Correlation<G> {
    /// Takes a record of a subflow that joined an existing connection.
    pub(super) fn name_joined(&mut self, connection: &mut Connection, record: &SocketRecord) {
        let tells =
            matches!(RecordKind::from_number(record.header.kind), Some(RecordKind::Connect | RecordKind::Established));
        let first = (tells && record.detail != 0).then_some(record.detail).or(connection.joined);
        connection.joined = first.or(Some(0));
        // Until the first subflow is accepted, its owner is the listener's.
        if !matches!(connection.owner_source, OwnerSource::Unknown | OwnerSource::Listener) {
            return;
        }
        let mut first = first.and_then(|id| self.connections.get(&id));
        if first.is_none() {
            // An older one, without a record so far: all subflows have the inode of the MPTCP socket.
            let seeded = self.by_tuple.with_inode(u64::from(record.state.parent)).filter(|_| record.state.parent != 0);
            first = seeded.and_then(|seeded| self.connections.get(&seeded.id));
        }
        if let Some(first) = first
            && let Some(owner) = &first.owner
        {
            connection.owner = Some(Rc::clone(owner));
            connection.owner_source = first.owner_source;
        }
        if let (Some(first), OwnerSource::Unknown | OwnerSource::Listener) =
            (connection.joined.filter(|first| *first != 0), connection.owner_source)
        {
            let joined = self.joined.entry(first).or_default();
            if !joined.contains(&record.state.id) {
                joined.push(record.state.id);
            }
        }
    }

    /// The connection with the number `id` was accepted, and with it its joined subflows.
    pub(super) fn tell_joined(&mut self, id: u64, first: &Connection) {
        for joined in self.joined.remove(&id).into_iter().flatten() {
            if let Some(connection) = self.connections.get_mut(&joined) {
                connection.owner = first.owner.clone();
                connection.owner_source = first.owner_source;
            }
        }
    }

    /// The connection with the number `id` has ended.
    pub(super) fn leave_joined(&mut self, id: u64, connection: &Connection) {
        if let Some(first) = connection.joined
            && let Some(joined) = self.joined.get_mut(&first)
        {
            joined.retain(|other| *other != id);
            if joined.is_empty() {
                self.joined.remove(&first);
            }
        }
    }
}
