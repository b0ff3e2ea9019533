//! One connection, from its first event to its last.

use std::rc::Rc;

use tracer_common::record::{CloseRecord, Tuple};

use super::packets::{Destination, PacketEvent};
use crate::stream::{self, ConnId, Kind, Owner, OwnerSource, Role, Socket, TcpState};

/// What names a connection from outside: a tuple is unique among the live sockets of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TupleKey {
    /// Network namespace.
    pub netns: u32,
    /// 4 or 6.
    pub family: u8,
    /// Local address and port.
    pub local: ([u32; 4], u16),
    /// Remote address and port; zeros for a listener.
    pub remote: ([u32; 4], u16),
}

impl From<&Tuple> for TupleKey {
    fn from(tuple: &Tuple) -> Self {
        Self {
            netns: tuple.netns,
            family: tuple.family,
            local: (tuple.laddr, tuple.lport),
            remote: (tuple.raddr, tuple.rport),
        }
    }
}

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Its name in the stream.
    pub conn: ConnId,
    /// Addresses, ports, namespace, as last seen.
    pub tuple: Tuple,
    /// Role.
    pub role: Role,
    /// Owner.
    pub owner: Option<Rc<Owner>>,
    /// How the owner is known.
    pub owner_source: OwnerSource,
    /// Inode of its file; 0 if it has none, or if that is not known.
    pub inode: u64,
    /// That it listens is to be said when its port is known: since when, and the backlog.
    pub listen_waits: Option<(u64, Option<u32>)>,
    /// Number of the first subflow of the MPTCP connection that it has joined.
    pub joined: Option<u64>,
    /// Others that hold it.
    pub holders: Vec<u32>,
    /// First SYN, or first sight; 0 if it is older than the trace.
    pub started_ns: u64,
    /// End of the handshake; 0 if not seen.
    pub established_ns: u64,
    /// accept(); 0 if not seen.
    pub accepted_ns: u64,
    /// Last transition, for `state_us`.
    pub state_since_ns: u64,
    /// A subflow of MPTCP.
    pub mptcp: bool,
    /// Older than the trace.
    pub preexisting: bool,
    /// Nothing is remembered of it in the kernel, or a transition was missed.
    pub incomplete: bool,
    /// A record may have meant it or another one: that it is still open is not known.
    pub doubtful: bool,
    /// `established` has been said (it may come late, with the accept record).
    pub established_said: bool,
    /// The filter's final word, once there is one.
    pub admitted: Option<bool>,
    /// Events that the filter cannot decide yet.
    pub held: Vec<(u64, Held)>,
    /// The close of a connection that nobody has accepted yet: accept() may still name its owner.
    pub closed: Option<Box<CloseRecord>>,
    /// The last error that was said.
    pub last_errno: i32,
    /// The state before the hooks were attached, if it was seen.
    pub seen_as: Option<TcpState>,
    /// The state in the snapshot, for `open`.
    pub opened_as: Option<TcpState>,
    /// Packets of this connection that were dropped.
    pub drops: u64,
    /// Packets find it by its tuple, under this key.
    pub indexed: Option<u64>,
    /// Where it goes, while its own port is not known.
    pub portless: Option<Destination>,
}

/// An event that waits for the filter's decision.
#[derive(Debug)]
pub enum Held {
    /// Of the connection itself.
    Own(Kind<'static>),
    /// Of one of its packets.
    Packet(Box<PacketEvent>),
}

impl Connection {
    /// A connection of which nothing is known but its addresses.
    #[must_use]
    pub const fn new(conn: ConnId, tuple: Tuple, role: Role) -> Self {
        Self {
            conn,
            tuple,
            role,
            owner: None,
            owner_source: OwnerSource::Unknown,
            inode: 0,
            listen_waits: None,
            joined: None,
            holders: Vec::new(),
            started_ns: 0,
            established_ns: 0,
            accepted_ns: 0,
            state_since_ns: 0,
            mptcp: false,
            preexisting: false,
            incomplete: false,
            doubtful: false,
            established_said: false,
            admitted: None,
            held: Vec::new(),
            closed: None,
            last_errno: 0,
            seen_as: None,
            opened_as: None,
            drops: 0,
            indexed: None,
            portless: None,
        }
    }

    /// The keys that every one of its events has.
    #[must_use]
    pub fn socket(&self) -> Socket<'_> {
        Socket {
            owner: self.owner.as_deref(),
            owner_source: self.owner_source,
            holders: &self.holders,
            mptcp: self.mptcp,
            ..Self::socket_of(self.conn, &self.tuple, self.role)
        }
    }

    /// The same, without an owner.
    #[must_use]
    pub fn socket_of<'a>(conn: ConnId, tuple: &Tuple, role: Role) -> Socket<'a> {
        let (laddr, local_mapped) = stream::address(tuple.family, tuple.laddr);
        let (raddr, remote_mapped) = stream::address(tuple.family, tuple.raddr);
        let listener = role == Role::Listener;
        Socket {
            conn,
            proto: "tcp",
            family: tuple.family,
            v4mapped: local_mapped || remote_mapped,
            // Unspecified and without a port: not chosen yet.
            laddr: Some(laddr).filter(|addr| !addr.is_unspecified() || tuple.lport != 0),
            lport: Some(tuple.lport).filter(|port| *port != 0),
            raddr: Some(raddr).filter(|addr| !listener && (!addr.is_unspecified() || tuple.rport != 0)),
            rport: Some(tuple.rport).filter(|port| !listener && (*port != 0 || !raddr.is_unspecified())),
            ifindex: Some(tuple.ifindex).filter(|index| *index != 0),
            netns: Some(tuple.netns).filter(|inode| *inode != 0),
            home: None,
            role,
            owner: None,
            owner_source: OwnerSource::Unknown,
            holders: &[],
            v6only: None,
            mptcp: false,
        }
    }

    /// Takes over the addresses of a newer record. What was known stays known: after a failed or
    /// finished connection the kernel has cleared parts of them.
    pub fn update_tuple(&mut self, tuple: &Tuple) {
        // Nothing of it could be read.
        if tuple.family == 0 {
            return;
        }
        let old = self.tuple;
        self.tuple = *tuple;
        if tuple.lport == 0 {
            self.tuple.lport = old.lport;
        }
        if tuple.rport == 0 {
            self.tuple.rport = old.rport;
        }
        if tuple.laddr == [0; 4] {
            self.tuple.laddr = old.laddr;
        }
        if tuple.raddr == [0; 4] {
            self.tuple.raddr = old.raddr;
        }
        if tuple.netns == 0 {
            self.tuple.netns = old.netns;
        }
        if tuple.ifindex == 0 {
            self.tuple.ifindex = old.ifindex;
        }
    }

    /// The time between two marks in µs; `None` if one of them was not seen.
    #[must_use]
    pub fn between_us(from_ns: u64, to_ns: u64) -> Option<u64> {
        (from_ns != 0 && to_ns != 0).then(|| to_ns.saturating_sub(from_ns) / 1000)
    }
}
