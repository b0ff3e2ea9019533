//! One connection, from its first event to its last.

use std::rc::Rc;

use tracer_common::record::{CloseRecord, Tuple};
use tracer_stream::{self as stream, ConnId, Kind, Owner, OwnerSource, Role, Socket, TcpState};

use super::packets::{Destination, PacketEvent};

/// Identifies a connection from outside: a tuple is unique among the live sockets of a namespace.
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

/// The state of a connection in the core.
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
    /// Source of the owner.
    pub owner_source: OwnerSource,
    /// Inode of its file; 0 if it has none or the inode is unknown.
    pub inode: u64,
    /// A `listen` event that waits for the port: its time and the backlog.
    pub listen_waits: Option<(u64, Option<u32>)>,
    /// Number of the first subflow of the MPTCP connection that it joined.
    pub joined: Option<u64>,
    /// Of a listener of IPv6: it takes no IPv4.
    pub v6only: Option<bool>,
    /// Other processes that hold it.
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
    /// The kernel side has no entry for it, or a transition was missed.
    pub incomplete: bool,
    /// A record may have meant it or another connection: whether it is still open is unknown.
    pub doubtful: bool,
    /// `established` was emitted (it may come late, with the accept record).
    pub established_said: bool,
    /// The filter's final decision, once there is one.
    pub admitted: Option<bool>,
    /// Events that the filter cannot decide yet.
    pub held: Vec<(u64, Held)>,
    /// The close of a connection that was not accepted yet: accept() may still name its owner.
    pub closed: Option<Box<CloseRecord>>,
    /// The last error that was emitted.
    pub last_errno: i32,
    /// The state before the hooks were attached, if seen.
    pub seen_as: Option<TcpState>,
    /// The state in the snapshot, for `open`.
    pub opened_as: Option<TcpState>,
    /// Dropped packets of this connection.
    pub drops: u64,
    /// Key in the index by which packets find the connection.
    pub indexed: Option<u64>,
    /// Its destination, while its own port is unknown.
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
    /// A connection with known addresses and nothing else.
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
            v6only: None,
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

    /// The keys that all its events share.
    #[must_use]
    pub fn socket(&self) -> Socket<'_> {
        Socket {
            owner: self.owner.as_deref(),
            owner_source: self.owner_source,
            holders: &self.holders,
            mptcp: self.mptcp,
            v6only: self.v6only,
            ..Self::socket_of(self.conn, &self.tuple, self.role)
        }
    }

    /// The same keys, without an owner.
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

    /// Takes over the addresses of a newer record. Known values stay: after a failed or finished connection the kernel
    /// has cleared parts of them.
    pub fn update_tuple(&mut self, tuple: &Tuple) {
        // The kernel side could read nothing.
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

    /// The time between two marks in µs; `None` if either was not seen.
    #[must_use]
    pub fn between_us(from_ns: u64, to_ns: u64) -> Option<u64> {
        (from_ns != 0 && to_ns != 0).then(|| to_ns.saturating_sub(from_ns) / 1000)
    }
}
