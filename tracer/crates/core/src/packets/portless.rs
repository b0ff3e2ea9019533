//! Drops on the way to clients whose port is still unknown.
//!
//! The kernel chooses a client's port after the transition that opens its connection, and where the functions of
//! connect() cannot be hooked the port stays unknown until the handshake ends. Until then a dropped SYN-ACK (or the RST
//! instead of it) fits no connection, nor does a SYN whose socket a device detached before the drop (tun). Such a drop
//! waits while some connection to its source has an unknown port. Each of these connections learns its port with
//! `ESTABLISHED`, with a retransmitted SYN, or at the latest with its close.

use std::collections::{HashMap, VecDeque};

use tracer_common::{
    drops::{Direction, DropRecord, TCP_ACK, TCP_RST, TCP_SYN},
    packet::HAS_PORTS,
    record::Tuple,
};
use tracer_stream::Role;

use super::{
    super::{connection::Connection, identity::IdentityHasher},
    attribution::oriented,
    index::key,
};

/// The most drops that wait; above it the oldest is emitted as it is.
const MOST_WAITING: usize = 256;

const IPPROTO_TCP: u8 = 6;

/// A hash of namespace, address and port; a collision only makes a drop wait longer.
pub type Destination = u64;

/// See the module.
#[derive(Default)]
pub struct Portless {
    /// The number of connections to a destination whose port is unknown.
    clients: HashMap<Destination, u32, IdentityHasher>,
    waiting: VecDeque<Box<DropRecord>>,
    /// A waited-for connection has learnt its port, or has ended.
    due: bool,
}

impl Portless {
    /// Updates a connection that begins or whose tuple changed.
    pub fn update(&mut self, connection: &mut Connection) {
        let unknown = connection.role == Role::Client && connection.tuple.lport == 0 && connection.tuple.rport != 0;
        if !unknown {
            self.leave(connection.portless.take());
        } else if connection.portless.is_none() {
            let destination = destination(&connection.tuple);
            connection.portless = Some(destination);
            *self.clients.entry(destination).or_default() += 1;
        }
    }

    /// Removes a connection that has ended.
    pub fn end(&mut self, connection: &Connection) {
        self.leave(connection.portless);
    }

    fn leave(&mut self, destination: Option<Destination>) {
        let Some(destination) = destination else { return };
        if let Some(count) = self.clients.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&destination);
            }
        }
        self.due = !self.waiting.is_empty();
    }

    /// Whether a packet without a connection may belong to one with an unknown port.
    pub fn concerns(&self, record: &DropRecord) -> bool {
        let packet = &record.packet;
        let answers = packet.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK || packet.tcp_flags & TCP_RST != 0;
        let asks = packet.tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN;
        let fits = match Direction::from_number(record.direction) {
            Direction::In | Direction::Unknown => answers,
            Direction::Out => asks,
            Direction::Forward => false,
        };
        fits && packet.flow.protocol == IPPROTO_TCP
            && packet.flow.flags & HAS_PORTS != 0
            && self.clients.contains_key(&destination(&oriented(&packet.flow, record.netns, asks)))
    }

    /// Keeps a drop; returns the oldest if there are too many.
    pub fn wait(&mut self, record: &DropRecord) -> Option<Box<DropRecord>> {
        self.waiting.push_back(Box::new(*record));
        if self.waiting.len() > MOST_WAITING { self.waiting.pop_front() } else { None }
    }

    /// The waiting drops, if a port became known.
    pub fn due(&mut self) -> VecDeque<Box<DropRecord>> {
        if !std::mem::take(&mut self.due) {
            return VecDeque::new();
        }
        std::mem::take(&mut self.waiting)
    }

    /// The drops that still wait: no more ports will become known.
    pub fn give_up(&mut self) -> VecDeque<Box<DropRecord>> {
        self.clients.clear();
        std::mem::take(&mut self.waiting)
    }
}

fn destination(tuple: &Tuple) -> Destination {
    key(&Tuple { laddr: [0; 4], lport: 0, ..*tuple })
}
