//! Sockets for which the kernel side had no room: their records have a number that is made from the
//! address of the socket, which another socket may have next.

use tracer_common::record::{RecordKind, SocketRecord, Tuple};

use super::{Core, Gate, open_at_end};
use crate::stream::Sink;

/// As the kernel side marks such a number, in its four lowest bits.
const MADE_FROM_ADDRESS: u64 = 15;

impl<G: Gate> Core<G> {
    /// If `record` cannot mean the connection that has its number, that connection's end was lost.
    pub(super) fn end_predecessor(&mut self, record: &SocketRecord, sink: &mut dyn Sink) {
        let id = record.state.id;
        if id & MADE_FROM_ADDRESS != MADE_FROM_ADDRESS {
            return;
        }
        let Some(known) = self.connections.get(&id) else { return };
        let begins =
            matches!(RecordKind::from_number(record.header.kind), Some(RecordKind::Connect | RecordKind::Listen));
        if !begins && agree(&known.tuple, &record.tuple) {
            return;
        }
        if let Some(mut connection) = self.connections.remove(&id) {
            let boot_ns = record.header.boot_ns;
            let close = open_at_end(&connection, boot_ns, true);
            self.say_last(&mut connection, boot_ns, &close, sink);
        }
    }
}

/// Whether these can be of one connection: what is zero is not known.
fn agree(one: &Tuple, other: &Tuple) -> bool {
    let port = |a: u16, b: u16| a == 0 || b == 0 || a == b;
    let addr = |a: [u32; 4], b: [u32; 4]| a == [0; 4] || b == [0; 4] || a == b;
    one.family == 0
        || other.family == 0
        || one.family == other.family
            && port(one.lport, other.lport)
            && port(one.rport, other.rport)
            && addr(one.laddr, other.laddr)
            && addr(one.raddr, other.raddr)
}
