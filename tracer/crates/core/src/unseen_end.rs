//! Ends without a record. A socket is gone once its memory is reused by another.
//!
//! The kernel side finds the old entry where the next socket begins. For sockets without room in its map it has no
//! entry: their records have a number made from the address, which the next socket at that address shares.

use tracer_common::{
    identity::is_of_address,
    record::{RecordKind, SocketRecord, Tuple},
};
use tracer_stream::{Role, Sink};

use super::{Correlation, Gate, connection::Connection, open_at_end};

impl<G: Gate> Correlation<G> {
    /// If `record` cannot mean the connection that has its number, that connection's end was lost.
    pub(super) fn end_predecessor(&mut self, record: &SocketRecord, sink: &mut dyn Sink) {
        let id = record.state.id;
        if !is_of_address(id) {
            return;
        }
        let Some(known) = self.connections.get(&id) else { return };
        let begins =
            matches!(RecordKind::from_number(record.header.kind), Some(RecordKind::Connect | RecordKind::Listen));
        if !begins && agree(&known.tuple, &record.tuple) {
            return;
        }
        if let Some(mut connection) = self.connections.remove(&id) {
            self.say_unseen_end(&mut connection, record, sink);
        }
    }

    /// Ends a socket whose memory was reused: its close waited for an accept, or its end has no record.
    pub(super) fn destroyed(&mut self, connection: &mut Connection, record: &SocketRecord, sink: &mut dyn Sink) {
        if let Some(closed) = connection.closed.take() {
            return self.say_close(connection, &closed, sink);
        }
        self.say_unseen_end(connection, record, sink);
    }

    /// Emits the end of the connection with the number of `record`: it ended before that record.
    fn say_unseen_end(&mut self, connection: &mut Connection, record: &SocketRecord, sink: &mut dyn Sink) {
        if connection.role == Role::Listener {
            self.listeners.remove(record.state.id);
        }
        let boot_ns = record.header.boot_ns;
        let close = open_at_end(connection, boot_ns, true);
        self.say_last(connection, boot_ns, &close, sink);
    }
}

/// Whether the tuples can belong to one connection; zero means unknown.
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

#[cfg(test)]
mod tests {
    use tracer_common::{
        record::{FLAG_PREEXISTING, FLAG_UNTRACKED, RecordKind as K, RecordRole as R, Tuple},
        tcp::TcpState,
    };

    use super::super::tests::{Only, Step, close, play, record, tuple};

    /// A number that the kernel side makes from an address.
    const AT_ADDRESS: u64 = tracer_common::identity::of_address(0xffff_8880_1234_5640);

    #[test]
    fn a_socket_without_room_in_the_kernel_is_one_connection() {
        let (begun, near) = (tuple(0, 80), tuple(5000, 80));
        let older = FLAG_PREEXISTING;
        let steps = [
            Step::Socket(K::Connect, record(K::Connect, 20, AT_ADDRESS, R::Client, FLAG_UNTRACKED, 5, begun)),
            Step::Socket(
                K::Established,
                record(K::Established, 30, AT_ADDRESS, R::Client, older | FLAG_UNTRACKED, 0, near),
            ),
            Step::Close(close(record(K::Close, 50, AT_ADDRESS, R::Unknown, older, 0, near), TcpState::LastAck, 0)),
        ];
        assert_eq!(
            play(Only(None), None, &steps),
            ["20 connect 1 5 connect", "30 established 1 5 connect", "50 close closed_remote? 1 5 connect"]
        );
    }

    #[test]
    fn the_next_socket_at_an_address_is_another_connection() {
        let untracked = |at, pid, tuple| record(K::Connect, at, AT_ADDRESS, R::Client, FLAG_UNTRACKED, pid, tuple);
        let steps = [
            Step::Socket(K::Connect, untracked(20, 5, tuple(0, 80))),
            // The end of that connection was lost.
            Step::Socket(K::Connect, untracked(30, 6, tuple(0, 80))),
            // The end of this one was lost, and so was the beginning of the next.
            Step::Close(close(
                record(K::Close, 50, AT_ADDRESS, R::Unknown, FLAG_PREEXISTING, 0, tuple(7000, 81)),
                TcpState::LastAck,
                0,
            )),
        ];
        assert_eq!(
            play(Only(None), None, &steps),
            [
                "20 connect 1 5 connect",
                "30 close unknown? 1 5 connect",
                "30 connect 2 6 connect",
                "50 close unknown? 2 6 connect",
                "50 open 3 nobody unknown",
                "50 close closed_remote 3 nobody unknown",
            ]
        );
    }

    #[test]
    fn a_listener_without_room_whose_end_was_lost_lends_its_owner_to_nobody() {
        let steps = [
            Step::Socket(K::Listen, record(K::Listen, 10, AT_ADDRESS, R::Listener, FLAG_UNTRACKED, 7, tuple(80, 0))),
            Step::Socket(K::Connect, record(K::Connect, 20, AT_ADDRESS, R::Client, FLAG_UNTRACKED, 5, tuple(0, 81))),
            Step::Socket(K::Established, record(K::Established, 30, 3, R::Server, 0, 0, tuple(80, 5000))),
        ];
        assert_eq!(
            play(Only(None), None, &steps),
            [
                "10 listen 1 7 listen",
                "20 close unknown? 1 7 listen",
                "20 connect 2 5 connect",
                "30 established 3 nobody unknown",
                "1000 close open_at_end? 2 5 connect",
                "1000 close open_at_end 3 nobody unknown",
            ]
        );
    }

    const NOTHING: Tuple =
        Tuple { laddr: [0; 4], raddr: [0; 4], lport: 0, rport: 0, family: 0, reserved: [0; 3], netns: 0, ifindex: 0 };

    #[test]
    fn an_end_that_was_seen_by_nobody_is_told_where_the_next_one_begins() {
        let (near, far) = (tuple(5000, 80), tuple(80, 5000));
        let gone = |at, id, role| Step::Socket(K::Destroyed, record(K::Destroyed, at, id, role, 0, 5, NOTHING));
        let steps = [
            Step::Socket(K::Listen, record(K::Listen, 10, 1, R::Listener, 0, 7, tuple(80, 0))),
            Step::Socket(K::Connect, record(K::Connect, 20, 2, R::Client, 0, 5, near)),
            gone(30, 2, R::Client),
            Step::Socket(K::Established, record(K::Established, 31, 3, R::Server, 0, 0, far)),
            gone(40, 1, R::Listener),
            // The next one has no owner: its listener is gone.
            Step::Socket(K::Established, record(K::Established, 41, 4, R::Server, 0, 0, far)),
            // This one has no other record.
            gone(50, 5, R::Client),
        ];
        assert_eq!(
            play(Only(None), None, &steps),
            [
                "10 listen 1 7 listen",
                "20 connect 2 5 connect",
                "30 close unknown? 2 5 connect",
                "31 established 3 7 listener",
                "40 close unknown? 1 7 listen",
                "41 established 4 nobody unknown",
                "1000 close open_at_end 3 7 listener",
                "1000 close open_at_end 4 nobody unknown",
            ]
        );
    }
}
