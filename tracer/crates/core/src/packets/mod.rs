//! Packets that were dropped, retransmitted, or reset a connection: their owners and their meaning.
//!
//! The best evidence counts: the socket that the kernel named, then the packet's addresses, then the listener of the
//! port, then the holder of the socket's file. Without any of them the owner stays unknown.

mod answered;
mod attribution;
mod describe;
mod hints;
mod index;
mod portless;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use tracer_common::{
    decode::Record,
    drops::{
        DROP_MIXED, Direction, DropRecord, NO_REASON, SEGMENT_DATA, SEGMENT_PROBE, SEGMENT_RECEIVED, SEGMENT_SEQ,
        SOCKET_REQUEST, SOCKET_TUPLE, SegmentRecord, TCP_ACK, TCP_FIN, TCP_SYN,
    },
    record::{RecordKind, Tuple},
    tcp::TcpState,
};
use tracer_stream::{Drop, DropClass, Event, Kind, Owner, Role, Segment, Sink, Socket, Stack};
use tracer_tables::reasons::Reasons;

use self::{
    answered::Answered,
    attribution::Whose,
    hints::{Hints, Wish},
    index::{Ended, Index},
    portless::Portless,
};
pub use self::{
    hints::{Asked, Explained},
    portless::Destination,
};
use super::{Admission, Correlation, Gate, connection::Connection};

/// The most remembered holders; a host may open and close many sockets.
const MOST_HOLDERS: usize = 4096;

/// The state for packet events.
#[derive(Default)]
pub struct Packets {
    /// Packet events are enabled.
    active: bool,
    /// Drops are hooked.
    drops: bool,
    reasons: Reasons,
    drop_names: HashMap<u32, (Rc<str>, DropClass)>,
    reset_names: HashMap<u32, Option<Rc<str>>>,
    symbols: HashMap<u64, Option<Rc<str>>>,
    /// By number and location.
    stacks: HashMap<(u16, u64), Stack>,
    /// Each frame in `stacks`, once.
    frames: HashSet<Rc<str>>,
    /// By inode number of a socket.
    holders: HashMap<u64, Option<Rc<Owner>>>,
    index: Index,
    hints: Hints,
    answered: Answered,
    portless: Portless,
}

/// A packet's event with its own data.
#[derive(Clone, Debug)]
pub enum PacketEvent {
    /// See [`Kind::Drop`], and its question to be answered before the event.
    Drop(Box<Drop>, Option<Box<Wish>>),
    /// See [`Kind::Reset`].
    Reset {
        /// Received, not sent.
        received: bool,
        /// The reason.
        reason: Option<Rc<str>>,
        /// Its ends, where they differ from its socket's: a listener's.
        ends: Option<Tuple>,
    },
    /// See [`Kind::Retransmit`].
    Retransmit {
        /// State of the socket.
        state: Option<TcpState>,
        /// Kind of segment.
        what: Segment,
        /// Sequence number.
        seq: Option<u32>,
        /// As above.
        ends: Option<Tuple>,
    },
}

impl PacketEvent {
    /// The event in the stream.
    #[must_use]
    pub fn kind(&self) -> Kind<'_> {
        match self {
            Self::Drop(drop, _) => Kind::Drop(drop),
            Self::Reset { received, reason, .. } => Kind::Reset { received: *received, reason: reason.as_deref() },
            Self::Retransmit { state, what, seq, .. } => Kind::Retransmit { state: *state, what: *what, seq: *seq },
        }
    }

    /// The socket's keys as this event shows them.
    #[must_use]
    pub fn socket<'s>(&self, socket: Socket<'s>) -> Socket<'s> {
        if let Self::Drop(drop, _) = self {
            return Socket { netns: drop.netns, home: drop.socket_netns.filter(|_| self.is_elsewhere()), ..socket };
        }
        match self.ends() {
            Some(tuple) => {
                // Like those of a connection: a listener's own tuple has no remote end.
                let ends = Connection::socket_of(socket.conn, tuple, Role::Server);
                Socket {
                    family: ends.family,
                    v4mapped: ends.v4mapped,
                    laddr: ends.laddr,
                    lport: ends.lport,
                    raddr: ends.raddr,
                    rport: ends.rport,
                    ..socket
                }
            }
            None => socket,
        }
    }

    /// Whether it happened in another network namespace than the socket's.
    fn is_elsewhere(&self) -> bool {
        let Self::Drop(drop, _) = self else { return false };
        drop.netns.zip(drop.socket_netns).is_some_and(|(of_packet, of_socket)| of_packet != of_socket)
    }

    const fn ends(&self) -> Option<&Tuple> {
        match self {
            Self::Reset { ends, .. } | Self::Retransmit { ends, .. } => ends.as_ref(),
            Self::Drop(..) => None,
        }
    }
}

impl Packets {
    /// Enables packet events.
    pub fn begin(&mut self, reasons: Reasons, drops: bool) {
        self.active = true;
        self.drops = drops;
        self.reasons = reasons;
    }

    /// Takes the name of a call site.
    pub fn learn_symbol(&mut self, address: u64, name: Option<&str>) {
        self.symbols.insert(address, name.map(Rc::from));
    }

    /// Takes the frames of a kernel stack.
    pub fn learn_stack(&mut self, number: u16, location: u64, frames: Option<Vec<String>>) {
        let stack = frames
            .map_or(Stack::Missing, |frames| Stack::Known(frames.iter().map(|frame| self.frame(frame)).collect()));
        self.stacks.insert((number, location), stack);
    }

    fn frame(&mut self, name: &str) -> Rc<str> {
        if let Some(known) = self.frames.get(name) {
            return Rc::clone(known);
        }
        let name: Rc<str> = name.into();
        self.frames.insert(Rc::clone(&name));
        name
    }

    /// Indexes a connection, so that packets find it by their addresses.
    pub fn index(&mut self, id: u64, connection: &mut Connection) {
        if self.active {
            self.portless.update(connection);
            self.index.add(id, connection);
        }
    }

    /// Removes an ended connection. The index remembers it for a while: its last packets are still under way.
    pub fn forget(&mut self, connection: &Connection) {
        if self.active {
            self.portless.end(connection);
            self.index.end(connection);
        }
    }

    /// How many packets of a connection were dropped, if known.
    #[must_use]
    pub fn drops_of(&self, connection: &Connection) -> Option<u64> {
        self.drops.then_some(connection.drops)
    }

    /// The name of a drop reason, and its usual meaning.
    fn drop_name(&mut self, reason: u32) -> Option<(Rc<str>, DropClass)> {
        if reason == NO_REASON {
            return None;
        }
        let reasons = &self.reasons;
        let (name, class) = self.drop_names.entry(reason).or_insert_with(|| {
            let name = reasons.drop(reason);
            (name.as_ref().into(), tracer_explain::class::of_reason(&name))
        });
        Some((Rc::clone(name), *class))
    }

    /// Whether this kernel has a drop reason of this name.
    pub fn knows_reason(&self, name: &str) -> bool {
        self.drops && self.reasons.drop_names().contains(&name)
    }

    /// Whether the kernel answered a packet with a reset before it dropped it.
    fn is_answered(&self, record: &DropRecord) -> bool {
        self.answered.has(record, self.function(record.location))
    }

    /// The function of a call site; empty if unknown.
    fn function(&self, location: u64) -> &str {
        let symbol = self.symbols.get(&location).and_then(Option::as_deref).unwrap_or_default();
        symbol.split_once('+').map_or(symbol, |(function, _)| function)
    }

    /// The record with the direction that its function implies, where the kernel side did not know it. A device's
    /// transmit function may have detached the socket from the packet before (`tun_net_xmit`), and a packet from no
    /// device (a device would give the direction) was made here. An XDP program in a veth device's driver sees packets
    /// on their way in, before the kernel side can know that.
    fn direction_by_function(&self, record: &DropRecord) -> Option<DropRecord> {
        let function = self.function(record.location);
        let sends = function.ends_with("_xmit") || function == "tun_queue_purge";
        let direction = match function {
            "veth_xdp_rcv_skb" | "veth_poll" => Direction::In,
            _ if sends => Direction::Out,
            _ => return None,
        };
        let unknown = record.direction == Direction::Unknown as u8 && record.flags & DROP_MIXED == 0;
        (unknown && record.ifindex != 0).then_some(DropRecord { direction: direction as u8, ..*record })
    }

    fn reset_name(&mut self, reason: u32) -> Option<Rc<str>> {
        let reasons = &self.reasons;
        self.reset_names.entry(reason).or_insert_with(|| reasons.reset(reason).map(Rc::from)).clone()
    }
}

/// Look-ups that a record needs before it is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The name of this call site.
    pub symbol: Option<u64>,
    /// The kernel stack of this number, from this call outwards.
    pub stack: Option<(u16, u64)>,
    /// The holders of the socket with this inode number.
    pub holders: Option<u64>,
}

impl<G: Gate> Correlation<G> {
    /// The look-ups that this record of a packet needs before it is applied.
    pub(super) fn wants_of_packet(&self, record: &Record<'_>) -> Wanted {
        let (location, stack, inode, followed) = match record {
            Record::Drop(record) => (record.location, record.stack, record.socket.inode, record.socket.id),
            Record::Segment(_, record) => (0, 0, record.inode, record.id),
            _ => return Wanted::default(),
        };
        let known = followed != 0 && self.connections.contains_key(&followed);
        Wanted {
            symbol: Some(location).filter(|at| *at != 0 && !self.packets.symbols.contains_key(at)),
            stack: Some((stack, location)).filter(|stack| stack.0 != 0 && !self.packets.stacks.contains_key(stack)),
            holders: Some(inode).filter(|inode| {
                *inode != 0 && !known && !self.packets.holders.contains_key(inode) && self.is_nobodys(record)
            }),
        }
    }

    /// Takes the holders of a socket.
    pub(super) fn learn_holders(&mut self, inode: u64, pids: &[u32]) {
        if self.packets.holders.len() >= MOST_HOLDERS {
            self.packets.holders.clear();
        }
        let owner = pids.iter().find_map(|pid| self.processes.holder(*pid));
        self.packets.holders.insert(inode, owner);
    }

    pub(super) fn drop_record(&mut self, record: &DropRecord, sink: &mut dyn Sink) {
        let known = self.packets.direction_by_function(record);
        let record = known.as_ref().unwrap_or(record);
        if self.packets.portless.concerns(record) && matches!(self.whose_drop(record, true), Whose::Outside(_)) {
            if let Some(oldest) = self.packets.portless.wait(record) {
                self.tell_drop(&oldest, sink);
            }
        } else {
            self.tell_drop(record, sink);
        }
    }

    /// How many drops of a connection were emitted so far.
    #[must_use]
    pub fn drops_of(&self, id: u64) -> u64 {
        self.connections.get(&id).map_or(0, |connection| connection.drops)
    }

    /// Emits the drops that waited for a port, if one became known.
    pub(super) fn tell_portless(&mut self, sink: &mut dyn Sink) {
        for record in self.packets.portless.due() {
            self.drop_record(&record, sink);
        }
    }

    /// Emits the drops that still wait for a port.
    pub(super) fn tell_all_portless(&mut self, sink: &mut dyn Sink) {
        for record in self.packets.portless.give_up() {
            self.tell_drop(&record, sink);
        }
    }

    fn tell_drop(&mut self, record: &DropRecord, sink: &mut dyn Sink) {
        let answered = record.reason == NO_REASON && self.packets.is_answered(record);
        let mut drop = self.describe(record, answered);
        let count = drop.count;
        let whose = self.whose_drop(record, answered || drop.reason.as_deref() == Some("NO_SOCKET"));
        if record.socket.flags & (SOCKET_TUPLE | SOCKET_REQUEST) == SOCKET_TUPLE {
            self.learn_port(&whose, &record.socket.tuple);
        }
        let port = match &whose {
            Whose::Open(id) => self.connections.get(id).map(|connection| connection.tuple.lport),
            _ => drop.ends.and_then(|ends| ends.dport),
        };
        self.discards.drop_told(record, &drop, port, self.packets.function(record.location));
        drop.socket_netns = self.netns_of_socket(&whose, record);
        let wish = Wish::of(&drop, record);
        let event = PacketEvent::Drop(Box::new(drop), wish);
        self.say_of_packet(record.header.boot_ns, whose, count, event, sink);
    }

    /// The namespace of the socket whose packet was dropped.
    fn netns_of_socket(&self, whose: &Whose, record: &DropRecord) -> Option<u32> {
        let known = match whose {
            Whose::Open(id) => self.connections.get(id).map(|connection| connection.tuple.netns),
            Whose::Ended(ended) => Some(ended.tuple.netns),
            Whose::Outside(_) | Whose::Filtered => None,
        };
        let by_kernel = record.socket.tuple.netns;
        let told = record.flags & DROP_MIXED == 0;
        known.or(Some(by_kernel).filter(|_| told)).filter(|netns| *netns != 0)
    }

    pub(super) fn segment_record(&mut self, kind: RecordKind, record: &SegmentRecord, sink: &mut dyn Sink) {
        let whose = self.whose_segment(record);
        // A listener's segment has a remote end.
        let ends = Some(record.tuple).filter(|tuple| tuple.rport != 0 && self.is_listeners(&whose));
        let event = if kind == RecordKind::Reset {
            self.packets.answered.add(record);
            let reason = if record.reason == NO_REASON { None } else { self.packets.reset_name(record.reason) };
            PacketEvent::Reset { received: record.flags & SEGMENT_RECEIVED != 0, reason, ends }
        } else {
            PacketEvent::Retransmit {
                state: TcpState::from_number(record.state),
                what: what(record),
                seq: Some(record.seq).filter(|_| record.flags & SEGMENT_SEQ != 0),
                ends,
            }
        };
        if record.socket_flags & SOCKET_REQUEST == 0 {
            self.learn_port(&whose, &record.tuple);
        }
        self.say_of_packet(record.header.boot_ns, whose, 0, event, sink);
    }

    fn is_listeners(&self, whose: &Whose) -> bool {
        let Whose::Open(id) = whose else { return false };
        self.connections.get(id).is_some_and(|connection| connection.role == Role::Listener)
    }

    /// Takes a client's port from its packet: the kernel chooses it only after the transition that opens the
    /// connection.
    fn learn_port(&mut self, whose: &Whose, tuple: &Tuple) {
        if let Whose::Open(id) = whose
            && let Some(connection) = self.connections.get_mut(id)
            && connection.role == Role::Client
            && connection.tuple.lport == 0
            && connection.tuple.rport == tuple.rport
        {
            connection.update_tuple(tuple);
            self.packets.index(*id, connection);
        }
    }

    /// Emits a connection's packet event, now or when its hint comes.
    pub(super) fn tell_packet(
        &mut self,
        connection: &Connection,
        boot_ns: u64,
        event: PacketEvent,
        sink: &mut dyn Sink,
    ) {
        if let PacketEvent::Drop(_, Some(_)) = event {
            let whose = hints::Whose::Connection(Rc::new(Ended::of(connection)));
            self.packets.hints.tell(boot_ns, whose, event, sink);
        } else {
            sink.event(&Event { boot_ns, socket: Some(event.socket(connection.socket())), kind: event.kind() });
        }
    }

    /// Takes the hints that drops waited for.
    pub(super) fn learn_hints(&mut self, answers: Vec<Explained>, sink: &mut dyn Sink) {
        self.packets.hints.learn(answers, sink);
    }

    /// Emits the drops that still wait for a hint.
    pub(super) fn explain_no_more(&mut self, sink: &mut dyn Sink) {
        self.packets.hints.give_up(sink);
    }

    fn say_of_packet(&mut self, boot_ns: u64, whose: Whose, drops: u64, event: PacketEvent, sink: &mut dyn Sink) {
        match whose {
            Whose::Filtered => self.filtered += 1,
            Whose::Open(id) => {
                let Some(mut connection) = self.connections.remove(&id) else { return };
                connection.drops += drops;
                if event.ends().is_some() || event.is_elsewhere() {
                    // The filter may ask for the other end, which the listener lacks, or for the other namespace.
                    if self.gate.admit_finally(&event.socket(connection.socket())) {
                        self.tell_packet(&connection, boot_ns, event, sink);
                    } else {
                        self.filtered += 1;
                    }
                    self.connections.insert(id, connection);
                    return;
                }
                match self.admit(&mut connection, sink) {
                    Admission::Pass => self.tell_packet(&connection, boot_ns, event, sink),
                    Admission::Reject => self.filtered += 1,
                    Admission::Undecided => {
                        connection.held.push((boot_ns, super::connection::Held::Packet(Box::new(event))));
                    }
                }
                self.connections.insert(id, connection);
            }
            Whose::Ended(ended) => {
                let admitted = if event.is_elsewhere() {
                    self.gate.admit_finally(&event.socket(ended.socket()))
                } else {
                    ended.admitted
                };
                if admitted {
                    self.packets.hints.tell(boot_ns, hints::Whose::Connection(ended), event, sink);
                } else {
                    self.filtered += 1;
                }
            }
            Whose::Outside(outside) => {
                if self.gate.admit_finally(&event.socket(outside.socket(true))) {
                    self.packets.hints.tell(boot_ns, hints::Whose::Outside(outside), event, sink);
                } else if matches!(&event, PacketEvent::Drop(drop, _) if drop.mixed) && self.gate.shows(&event.kind()) {
                    self.unplaced_drops += drops;
                } else {
                    self.filtered += 1;
                }
            }
        }
    }
}

/// The kind of segment that was retransmitted.
const fn what(record: &SegmentRecord) -> Segment {
    let (flags, data) = (record.tcp_flags, record.flags & SEGMENT_DATA != 0);
    if flags & TCP_SYN != 0 {
        return if flags & TCP_ACK != 0 { Segment::SynAck } else { Segment::Syn };
    }
    if flags & TCP_FIN != 0 && !data {
        Segment::Fin
    } else if record.flags & SEGMENT_PROBE != 0 {
        Segment::Probe
    } else {
        Segment::Data
    }
}
