//! The correlation core: raw records and snapshots in, the stream out.
//!
//! Deterministic, without I/O and without a clock: the same inputs in the same order give the same
//! events, whether they come from the kernel, from a test or from a recording.

mod account;
mod by_tuple;
mod calls;
pub mod causes;
mod class;
mod connection;
pub mod discards;
pub mod findings;
pub mod forms;
mod gate;
mod holders;
mod identity;
mod input;
mod limited;
mod listeners;
pub mod packets;
pub mod ports;
mod process;
pub mod question;
mod records;
mod seed;
pub mod shown;
mod subflow;
pub mod tally;
#[cfg(test)]
mod tests;
mod unanswered;
mod unbound;
mod unseen_end;
pub mod verdict;
pub mod what;
mod whole;

use std::collections::{HashMap, HashSet};

use tracer_common::{
    decode::Record,
    record::{Opener, Tuple},
};
use tracer_stream::{Close, ConnId, Event, Kind, Role, Sink, Verdict};

pub use self::{
    account::{Lost, TraceAccount},
    class::{Circumstances, class, is_always_quiet},
    gate::{Admission, Gate, NamespaceChange},
    holders::Holders,
    input::Input,
    process::ProcessSnapshot,
    seed::{Opened, Seed, SeedSocket},
    whole::Core,
};
use self::{
    by_tuple::ByTuple,
    connection::{Connection, Held},
    discards::Discards,
    identity::IdentityHasher,
    listeners::Listeners,
    packets::Packets,
    ports::Ports,
    process::ProcessTable,
    question::Question,
    seed::Seeded,
};

/// The correlation of records: which connection, which owner, which verdict.
pub struct Correlation<G> {
    gate: G,
    processes: ProcessTable,
    listeners: Listeners,
    /// Boxed: a connection is taken out and put back for every record.
    connections: HashMap<u64, Box<Connection>, IdentityHasher>,
    /// Connections that records name by their tuple only: seeded ones.
    by_tuple: ByTuple<Seeded>,
    /// Subflows of MPTCP that joined before accept(), by the number of their first subflow.
    joined: HashMap<u64, Vec<u64>, IdentityHasher>,
    /// Listeners with an unknown port, by their inode.
    unbound: HashMap<u64, u64>,
    /// `unbound` has a new entry.
    unbound_unasked: bool,
    /// accept() is hooked.
    accept_hooked: bool,
    /// Connections came in since the last look for holders, and no record will name their owner.
    unowned: bool,
    /// Sockets as they were just before the hooks were attached, for those that close before the
    /// snapshot comes to them.
    earlier: ByTuple<SeedSocket>,
    /// When the hooks were attached.
    attached_ns: u64,
    packets: Packets,
    ports: Ports,
    discards: Discards,
    /// Listeners on which accept() failed for lack of a resource, by the kernel side's number.
    listeners_without_room: HashMap<u64, ConnId>,
    last_conn: u64,
    last_seed: u64,
    filtered: u64,
    unplaced_drops: u64,
}

/// Kernel-side numbers are below this bit; seeds, which have no such number yet, are above.
const SEED_BIT: u64 = 1 << 63;

impl<G: Gate> Correlation<G> {
    /// Knows nothing.
    fn new(gate: G) -> Self {
        Self {
            gate,
            processes: ProcessTable::default(),
            listeners: Listeners::default(),
            connections: HashMap::default(),
            by_tuple: ByTuple::default(),
            joined: HashMap::default(),
            unbound: HashMap::new(),
            unbound_unasked: false,
            accept_hooked: true,
            unowned: false,
            earlier: ByTuple::default(),
            attached_ns: 0,
            packets: Packets::default(),
            ports: Ports::default(),
            discards: Discards::default(),
            listeners_without_room: HashMap::new(),
            last_conn: 0,
            last_seed: 0,
            filtered: 0,
            unplaced_drops: 0,
        }
    }

    /// Applies one input and emits the events that follow from it.
    fn apply(&mut self, input: Input<Record<'_>>, sink: &mut dyn Sink) {
        match input {
            Input::Record(Record::Socket(kind, record)) => {
                if let Some((opener, boot_ns)) = opening(&Record::Socket(kind, record)) {
                    self.processes.looked_at(opener, boot_ns);
                }
                self.socket_record(kind, record, sink);
                self.tell_portless(sink);
            }
            Input::Record(Record::Close(record)) => {
                self.close_record(record, sink);
                self.tell_portless(sink);
            }
            Input::Record(Record::Fork(record)) => {
                self.processes.fork(record);
                self.gate.fork(record.parent_pid, record.pid, record.start_ns);
            }
            Input::Record(Record::Exec(record)) => self.processes.exec(record),
            Input::Record(Record::Exit(record)) => {
                self.processes.exit(record.pid);
                self.gate.exit(record.pid);
            }
            Input::Record(Record::Drop(record)) => self.drop_record(record, sink),
            Input::Record(Record::Segment(kind, record)) => {
                self.segment_record(kind, record, sink);
                self.tell_portless(sink);
            }
            Input::Packets { reasons, drops } => self.packets.begin(reasons, drops),
            Input::Process(snapshot) => self.processes.snapshot(snapshot),
            Input::Namespace(change) => self.gate.namespace(change),
            Input::Answer(answer) => self.answer(answer, sink),
            Input::Seed(seed) => self.seed(seed, sink),
            Input::Counting(counting) => self.count_discards(counting),
            Input::Counters(look) => self.look_at_counters(look, sink),
            Input::Settled => self.settle_discards(false, sink),
            Input::Lost { boot_ns, class, count } => {
                self.discards.loses(class);
                sink.event(&Event { boot_ns, socket: None, kind: Kind::Lost { class, count } });
            }
            Input::Hooked { accept } => self.accept_hooked = accept,
            Input::Reconciled => self.reconciled(),
            Input::End { boot_ns, followed } => self.end(boot_ns, followed.as_ref(), sink),
            // Only the summary and the causes use them.
            Input::Account(_) | Input::Diagnosis { .. } => {}
        }
    }

    /// The process that a record names and that /proc may know more about.
    fn wants(&self, record: &Record<'_>) -> Option<Question> {
        let (opener, boot_ns) = opening(record)?;
        let Opener { pid, start_ns, .. } = *opener;
        let known = self.processes.is_settled(pid, start_ns);
        self.processes.lacks(opener, boot_ns).then_some(Question::Process { pid, start_ns, known })
    }

    /// Events that the filter hid here (the kernel side counts its own).
    const fn filtered(&self) -> u64 {
        self.filtered
    }

    /// Dropped packets that the filter may have wanted: they were folded across flows, so their owner is unknown.
    const fn unplaced_drops(&self) -> u64 {
        self.unplaced_drops
    }

    /// Connections that are open now, without listeners.
    fn open_connections(&self) -> usize {
        self.connections.values().filter(|connection| connection.role != Role::Listener).count()
    }

    fn new_conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }

    /// Emits the end of everything that is still open.
    fn end(&mut self, boot_ns: u64, followed: Option<&HashSet<u64>>, sink: &mut dyn Sink) {
        self.tell_all_portless(sink);
        self.explain_no_more(sink);
        self.forget_ports(sink);
        self.settle_discards(true, sink);
        let mut left: Vec<(u64, Box<Connection>)> = self.connections.drain().collect();
        left.sort_by_key(|(_, connection)| connection.conn);
        for (id, mut connection) in left {
            match connection.closed.take() {
                // Closed, but never accepted and never destroyed within the trace.
                Some(record) => self.say_close(&mut connection, &record, sink),
                None => {
                    let lost = connection.doubtful || followed.is_some_and(|followed| !followed.contains(&id));
                    let close = open_at_end(&connection, boot_ns, lost);
                    self.say_last(&mut connection, boot_ns, &close, sink);
                }
            }
        }
        // The filter's last decisions fall only in the loop above.
        self.explain_no_more(sink);
        self.by_tuple.clear();
    }

    /// Emits one event of a connection, now or when the filter can decide.
    fn say(&mut self, connection: &mut Connection, boot_ns: u64, kind: Kind<'static>, sink: &mut dyn Sink) {
        match self.admit(connection, sink) {
            Admission::Pass => emit(connection, boot_ns, kind, sink),
            Admission::Reject => self.filtered += 1,
            Admission::Undecided => connection.held.push((boot_ns, Held::Own(kind))),
        }
    }

    /// Emits the last event of a connection: now everything is decided.
    fn say_last(&mut self, connection: &mut Connection, boot_ns: u64, close: &Close, sink: &mut dyn Sink) {
        self.say_listens(connection, sink);
        if self.admit(connection, sink) == Admission::Undecided {
            let admitted = self.gate.admit_finally(&connection.socket());
            self.decide(connection, admitted, sink);
        }
        self.packets.forget(connection);
        self.discards.ends(connection, boot_ns);
        if connection.admitted == Some(true) {
            emit(connection, boot_ns, Kind::Close(close), sink);
        } else {
            self.filtered += 1;
        }
    }

    fn admit(&mut self, connection: &mut Connection, sink: &mut dyn Sink) -> Admission {
        let admission = match connection.admitted {
            Some(true) => return Admission::Pass,
            Some(false) => return Admission::Reject,
            None => self.gate.admit(&connection.socket()),
        };
        if admission != Admission::Undecided {
            self.decide(connection, admission == Admission::Pass, sink);
        }
        admission
    }

    fn decide(&mut self, connection: &mut Connection, admitted: bool, sink: &mut dyn Sink) {
        connection.admitted = Some(admitted);
        for (boot_ns, held) in std::mem::take(&mut connection.held) {
            match held {
                _ if !admitted => self.filtered += 1,
                Held::Own(kind) => emit(connection, boot_ns, kind, sink),
                Held::Packet(packet) => self.tell_packet(connection, boot_ns, *packet, sink),
            }
        }
    }

    /// Finds the connection that a record of an older socket means and renumbers it. `inode` is the record's.
    fn claim(&mut self, id: u64, tuple: &Tuple, inode: u64) -> Option<Box<Connection>> {
        let old = match self.by_tuple.take(tuple, inode) {
            Ok(old) => old?.id,
            Err(several) => {
                // The record means one of them: which of the others are still open can no longer be known.
                for seeded in several {
                    if let Some(connection) = self.connections.get_mut(&seeded.id) {
                        connection.doubtful = true;
                    }
                }
                return None;
            }
        };
        let connection = self.connections.remove(&old)?;
        if connection.role == Role::Listener {
            self.listeners.remove(old);
            self.listeners.add(id, &connection);
        }
        Some(connection)
    }
}

/// The process (pid, start) that a record names as the opener of a socket.
#[must_use]
pub fn opener(record: &Record<'_>) -> Option<(u32, u64)> {
    opening(record).map(|(opener, _)| (opener.pid, opener.start_ns))
}

/// The opener in a record, and the time.
fn opening<'r>(record: &Record<'r>) -> Option<(&'r Opener, u64)> {
    use tracer_common::record::RecordKind as K;
    let Record::Socket(K::Connect | K::ConnectFailed | K::Accept | K::Listen | K::BindFailed | K::AcceptFailed, record) =
        record
    else {
        return None;
    };
    let opener = &record.state.opener;
    (opener.pid != 0).then_some((opener, record.header.boot_ns))
}

fn emit(connection: &Connection, boot_ns: u64, kind: Kind<'_>, sink: &mut dyn Sink) {
    sink.event(&Event { boot_ns, socket: Some(connection.socket()), kind });
}

/// The end of a connection without a recorded close: it is still open, or the record was lost.
fn open_at_end(connection: &Connection, boot_ns: u64, lost: bool) -> Close {
    Close {
        duration_us: Connection::between_us(connection.started_ns, boot_ns).filter(|_| !lost),
        connect_us: records::connect_us(connection),
        accept_wait_us: Connection::between_us(connection.established_ns, connection.accepted_ns),
        verdict: if lost { Verdict::Unknown } else { Verdict::OpenAtEnd },
        preexisting: connection.preexisting,
        incomplete: connection.incomplete || lost,
        ..Close::UNKNOWN
    }
}
