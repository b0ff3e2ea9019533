//! Applies each kernel record to its connection.

use std::rc::Rc;

use tracer_common::record::{
    COUNTERS_HAS_SOCKET, COUNTERS_KNOWN, CloseRecord, FLAG_ACCEPTED, FLAG_CALL_FAILED, FLAG_ESTABLISHED_HELD,
    FLAG_JOINED, FLAG_KERNEL, FLAG_MPTCP, FLAG_PREEXISTING, FLAG_RECOVERED, FLAG_SOCKMAP, FLAG_TAKES_V4,
    FLAG_UNTRACKED, FLAG_V6ONLY, RecordKind, RecordRole, SocketRecord, SocketState, TcpCounters,
};
use tracer_stream::{Close, Kind, OwnerSource, Role, Sink, TcpState, Verdict};

use super::{Correlation, Gate, connection::Connection, unanswered, verdict};

const fn role(number: u8) -> Role {
    match RecordRole::from_number(number) {
        RecordRole::Client => Role::Client,
        RecordRole::Server => Role::Server,
        RecordRole::Listener => Role::Listener,
        RecordRole::Unknown => Role::Unknown,
    }
}

/// The inode in a record of an older socket.
fn older_inode(record: &SocketRecord) -> u64 {
    if record.state.flags & FLAG_JOINED != 0 { u64::from(record.state.parent) } else { record.detail }
}

/// Whether a listener of IPv6 takes no IPv4, as its records have it.
const fn v6only(flags: u16) -> Option<bool> {
    match flags & (FLAG_V6ONLY | FLAG_TAKES_V4) {
        FLAG_V6ONLY => Some(true),
        FLAG_TAKES_V4 => Some(false),
        _ => None,
    }
}

/// The time from SYN to ESTABLISHED, of clients only, where both were seen.
pub fn connect_us(connection: &Connection) -> Option<u64> {
    if connection.role != Role::Client || connection.preexisting {
        return None;
    }
    Connection::between_us(connection.started_ns, connection.established_ns)
}

impl<G: Gate> Correlation<G> {
    pub(super) fn socket_record(&mut self, kind: RecordKind, record: &SocketRecord, sink: &mut dyn Sink) {
        let boot_ns = record.header.boot_ns;
        self.discards.sees(record.tuple.netns);
        self.end_predecessor(record, sink);
        if kind == RecordKind::Destroyed && !self.connections.contains_key(&record.state.id) {
            // It had no earlier record, or that record was lost and is counted.
            return;
        }
        match kind {
            RecordKind::BindFailed => return self.bind_failed(record, sink),
            RecordKind::AcceptFailed => return self.accept_failed(record, sink),
            _ => {}
        }
        self.port_of_parent(record, sink);
        let mut connection = self.connection_of(&record.state, record);
        match kind {
            RecordKind::Connect => {
                self.say(&mut connection, boot_ns, Kind::Connect { errno: None }, sink);
            }
            RecordKind::ConnectFailed => {
                self.say(&mut connection, boot_ns, Kind::Connect { errno: Some(record.errno) }, sink);
                let close = failed_at_once(record.errno);
                self.say_last(&mut connection, boot_ns, &close, sink);
                return;
            }
            RecordKind::Listen => {
                self.listens(&mut connection, record, sink);
            }
            RecordKind::Established => self.established(&mut connection, boot_ns, sink),
            RecordKind::Accept => {
                self.discards.accepts(&connection.tuple, u64::from(record.state.parent), boot_ns);
                self.accepted(&mut connection, record, sink);
                self.tell_joined(record.state.id, &connection);
                if let Some(closed) = connection.closed.take() {
                    self.say_close(&mut connection, &closed, sink);
                    return;
                }
            }
            RecordKind::State => {
                if let (Some(old), Some(new)) = (TcpState::from_number(record.old), TcpState::from_number(record.new)) {
                    let state_us = Connection::between_us(connection.state_since_ns, boot_ns);
                    connection.state_since_ns = boot_ns;
                    self.say(&mut connection, boot_ns, Kind::State { old, new, state_us }, sink);
                }
            }
            RecordKind::Error => {
                connection.last_errno = record.errno;
                self.say(&mut connection, boot_ns, Kind::Error { errno: record.errno, accepts: None }, sink);
            }
            RecordKind::Destroyed => return self.destroyed(&mut connection, record, sink),
            RecordKind::Close
            | RecordKind::BindFailed
            | RecordKind::AcceptFailed
            | RecordKind::Fork
            | RecordKind::Exec
            | RecordKind::Exit
            | RecordKind::Drop
            | RecordKind::Retransmit
            | RecordKind::Reset => {}
        }
        self.keep(&record.state, connection);
    }

    pub(super) fn close_record(&mut self, record: &CloseRecord, sink: &mut dyn Sink) {
        let state = &record.socket.state;
        self.end_predecessor(&record.socket, sink);
        let mut connection = self.connection_of(state, &record.socket);
        self.leave_joined(state.id, &connection);
        if connection.role == Role::Listener {
            self.listeners.remove(state.id);
        }
        // Reset while it waits to be accepted: accept() may still return it and name its owner. The next event (accept
        // or destruction) settles it.
        let waits = self.accept_hooked
            && connection.role == Role::Server
            && state.flags & (FLAG_ACCEPTED | FLAG_RECOVERED | FLAG_PREEXISTING) == 0
            && connection.joined.is_none()
            && connection.accepted_ns == 0;
        if waits {
            connection.closed = Some(Box::new(*record));
            self.keep(state, connection);
            return;
        }
        self.say_close(&mut connection, record, sink);
    }

    /// Takes the connection of a record out of the table and updates it.
    fn connection_of(&mut self, state: &SocketState, record: &SocketRecord) -> Box<Connection> {
        let tuple = &record.tuple;
        let older = state.flags & FLAG_PREEXISTING != 0;
        let known = self.connections.remove(&state.id);
        let known = if known.is_none() && older { self.claim(state.id, tuple, older_inode(record)) } else { known };
        let mut connection = match known {
            Some(connection) => connection,
            None => {
                let mut connection = Box::new(Connection::new(self.new_conn(), *tuple, role(state.role)));
                connection.preexisting = older;
                if connection.preexisting {
                    self.remember(&mut connection, older_inode(record));
                } else {
                    connection.started_ns = state.started_ns;
                }
                connection
            }
        };
        connection.update_tuple(tuple);
        if connection.role == Role::Unknown {
            connection.role = role(state.role);
        }
        connection.mptcp |= state.flags & FLAG_MPTCP != 0;
        connection.v6only = connection.v6only.or_else(|| v6only(state.flags));
        connection.incomplete |= state.flags & (FLAG_UNTRACKED | FLAG_RECOVERED) != 0;
        if connection.state_since_ns == 0 {
            connection.state_since_ns = state.started_ns;
        }
        if state.established_ns != 0 {
            connection.established_ns = state.established_ns;
        }
        if state.flags & FLAG_JOINED != 0 {
            self.name_joined(&mut connection, record);
        } else {
            self.name_owner(&mut connection, state, record.header.boot_ns);
        }
        connection
    }

    fn name_owner(&mut self, connection: &mut Connection, state: &SocketState, boot_ns: u64) {
        if state.flags & FLAG_KERNEL != 0 {
            connection.owner = None;
            connection.owner_source = OwnerSource::Kernel;
            return;
        }
        let source = match connection.role {
            Role::Client => OwnerSource::Connect,
            Role::Listener => OwnerSource::Listen,
            Role::Server if state.flags & FLAG_ACCEPTED != 0 => OwnerSource::Accept,
            Role::Server if connection.owner.is_none() => {
                // The listener's owner, until accept().
                if let Some(owner) = self.listeners.owner(&connection.tuple, u64::from(state.parent)) {
                    connection.owner = Some(Rc::clone(owner));
                    connection.owner_source = OwnerSource::Listener;
                }
                return;
            }
            _ => return,
        };
        if connection.owner_source == source {
            return;
        }
        if let Some(owner) = self.processes.owner(&state.opener, boot_ns) {
            connection.owner = Some(owner);
            connection.owner_source = source;
        }
    }

    fn established(&mut self, connection: &mut Connection, boot_ns: u64, sink: &mut dyn Sink) {
        if connection.established_said || connection.preexisting && connection.opened_as.is_none() {
            // An older one that the snapshot lacks: its first event is `open`.
            if connection.established_said {
                return;
            }
            connection.opened_as = Some(TcpState::SynSent);
            self.say(connection, self.attached_or(boot_ns), Kind::Open { state: TcpState::SynSent }, sink);
        }
        connection.established_said = true;
        self.unowned |= !self.accept_hooked && connection.role == Role::Server;
        let connect_us = connect_us(connection);
        self.say(connection, boot_ns, Kind::Established { connect_us }, sink);
    }

    fn accepted(&mut self, connection: &mut Connection, record: &SocketRecord, sink: &mut dyn Sink) {
        let boot_ns = record.header.boot_ns;
        connection.accepted_ns = boot_ns;
        if connection.preexisting && connection.opened_as.is_none() {
            connection.opened_as = Some(TcpState::Established);
            self.say(connection, self.attached_or(boot_ns), Kind::Open { state: TcpState::Established }, sink);
        }
        self.say_held_back(connection, record.state.flags, sink);
        let accept_wait_us = Connection::between_us(connection.established_ns, boot_ns);
        self.say(connection, boot_ns, Kind::Accept { accept_wait_us }, sink);
    }

    /// Emits the close in `record`, and the events that had to come before it.
    pub(super) fn say_close(&mut self, connection: &mut Connection, record: &CloseRecord, sink: &mut dyn Sink) {
        let boot_ns = record.socket.header.boot_ns;
        if connection.preexisting && connection.opened_as.is_none() {
            // It closed before the snapshot reached it.
            let last = TcpState::from_number(record.socket.old);
            let state = connection.seen_as.or(last).unwrap_or(TcpState::Established);
            connection.opened_as = Some(state);
            self.say(connection, self.attached_or(boot_ns), Kind::Open { state }, sink);
        }
        self.say_held_back(connection, record.socket.state.flags, sink);
        let mut close = Close { drops: self.packets.drops_of(connection), ..close_of(connection, record) };
        if connection.role == Role::Listener && close.errno == Some(libc::EADDRINUSE) {
            close.held_by = self.listeners.holder(&connection.tuple).cloned();
        }
        // Since 6.10 the kernel sets the error, moves to CLOSE and only then reports the error (tcp_done_with_error,
        // commit 5ce4645c23cf); before, it reported first. Either way the error is emitted once, before the close. An
        // orphan has no process to report to.
        let reported = record.tcp.flags & COUNTERS_HAS_SOCKET != 0
            && record.socket.state.flags & FLAG_CALL_FAILED == 0
            && !matches!(record.socket.errno, 0)
            && record.socket.errno != connection.last_errno;
        if reported {
            self.say(connection, boot_ns, Kind::Error { errno: record.socket.errno, accepts: None }, sink);
        }
        self.say_last(connection, boot_ns, &close, sink);
    }

    /// Emits `established`, which the kernel side holds back under a process filter until it knows the owner.
    fn say_held_back(&mut self, connection: &mut Connection, flags: u16, sink: &mut dyn Sink) {
        if flags & FLAG_ESTABLISHED_HELD != 0 && !connection.established_said && connection.established_ns != 0 {
            connection.established_said = true;
            self.say(connection, connection.established_ns, Kind::Established { connect_us: None }, sink);
        }
    }

    /// The earliest time at which an older connection is known to have existed.
    const fn attached_or(&self, boot_ns: u64) -> u64 {
        if self.attached_ns == 0 { boot_ns } else { self.attached_ns }
    }

    /// Puts a connection back.
    pub(super) fn keep(&mut self, state: &SocketState, mut connection: Box<Connection>) {
        self.packets.index(state.id, &mut connection);
        self.connections.insert(state.id, connection);
    }
}

fn failed_at_once(errno: i32) -> Close {
    Close {
        duration_us: Some(0),
        tx_bytes: Some(0),
        rx_bytes: Some(0),
        retransmits: Some(0),
        verdict: Verdict::FailedLocal,
        errno: Some(errno),
        unanswered: Some(false),
        ..Close::UNKNOWN
    }
}

fn close_of(connection: &Connection, record: &CloseRecord) -> Close {
    let boot_ns = record.socket.header.boot_ns;
    // accept() returns the first subflow only.
    let accepted =
        connection.joined.is_some() || connection.accepted_ns != 0 || record.socket.state.flags & FLAG_ACCEPTED != 0;
    let errno = verdict::errno(record, connection.last_errno);
    let verdict = verdict::verdict(record, errno, connection.role, accepted);
    // The kernel reported no failure: connect() was under way, and EINPROGRESS is its answer for such a socket.
    let errno = if errno == 0 && verdict == Verdict::NoAnswer { libc::EINPROGRESS } else { errno };
    let listener = connection.role == Role::Listener;
    let TcpCounters { total_retrans, srtt_us, min_rtt_us, flags, .. } = record.tcp;
    let known = flags & COUNTERS_KNOWN != 0 && !listener;
    let sockmap = record.socket.state.flags & FLAG_SOCKMAP != 0 && !listener;
    let payload = if listener || sockmap { None } else { verdict::payload(record, connection.role) };
    let failed = record.socket.state.flags & FLAG_CALL_FAILED != 0;
    let way = super::limited::way(connection, record, known && !failed && !sockmap);
    let duration_us =
        if connection.preexisting { None } else { Connection::between_us(connection.started_ns, boot_ns) };
    Close {
        duration_us,
        connect_us: connect_us(connection),
        accept_wait_us: Connection::between_us(connection.established_ns, connection.accepted_ns),
        tx_bytes: payload.map(|(sent, _)| sent),
        rx_bytes: payload.map(|(_, received)| received),
        retransmits: known.then_some(total_retrans),
        drops: None,
        srtt_us: Some(srtt_us / 8).filter(|_| known && srtt_us != 0 && !failed),
        min_rtt_us: Some(min_rtt_us).filter(|rtt| known && *rtt != u32::MAX && !failed && srtt_us != 0),
        verdict,
        errno: Some(errno).filter(|errno| *errno != 0),
        held_by: None,
        icmp: verdict::icmp(record, errno),
        syns: unanswered::syns(record, connection.role),
        unanswered: unanswered::unanswered(record, connection.role, verdict, connection.mptcp).filter(|_| !sockmap),
        unacked_bytes: unanswered::unacked_bytes(record, connection.role),
        // Ticks are coarse.
        idle_us: unanswered::idle_us(record, connection.role).map(|idle| duration_us.map_or(idle, |all| idle.min(all))),
        limited: way.limited,
        delivery_rate: way.delivery_rate,
        retransmitted_bytes: way.retransmitted_bytes,
        out_of_order: way.out_of_order,
        reordering: way.reordering,
        dsack: way.dsack,
        preexisting: connection.preexisting,
        incomplete: connection.incomplete || sockmap,
        sockmap,
    }
}
