//! A row of drops.

use std::{net::IpAddr, rc::Rc};

use tracer_stream::{ConnId, Direction, Drop, DropClass, Owner, OwnerSource, PacketEnds, Role, Socket, Stack};

/// A reason and its class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Its name; the call site where the kernel gives no reasons.
    pub name: Rc<str>,
    /// Its class.
    pub class: DropClass,
}

/// The ends of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowEnds {
    /// From its headers.
    Packet(PacketEnds),
    /// From its socket: it had no headers yet.
    Socket(SocketEnds),
    /// Unknown.
    Unknown,
}

/// The ends of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketEnds {
    /// Protocol.
    pub proto: &'static str,
    /// 4, 6, or 0 if unknown.
    pub family: u8,
    /// Whether the addresses are IPv4 ones of an IPv6 socket.
    pub v4mapped: bool,
    /// Local address.
    pub laddr: Option<IpAddr>,
    /// Local port.
    pub lport: Option<u16>,
    /// Remote address.
    pub raddr: Option<IpAddr>,
    /// Remote port.
    pub rport: Option<u16>,
    /// Interface that scopes link-local addresses.
    pub ifindex: Option<u32>,
}

impl SocketEnds {
    const fn of(socket: &Socket<'_>) -> Self {
        Self {
            proto: socket.proto,
            family: socket.family,
            v4mapped: socket.v4mapped,
            laddr: socket.laddr,
            lport: socket.lport,
            raddr: socket.raddr,
            rport: socket.rport,
            ifindex: socket.ifindex,
        }
    }
}

/// The flow of a row's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// One flow in one network namespace.
    One {
        /// `tcp` …; `None` if it is no IP packet.
        protocol: Option<&'static str>,
        /// Source and destination.
        ends: FlowEnds,
        /// Inode number of the namespace.
        netns: Option<u32>,
    },
    /// Many flows: there were too many for separate rows.
    Mixed,
}

/// The key of a row. A field that does not separate rows is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The reason.
    pub reason: Option<Reason>,
    /// Address of the call; the inner `None` where addresses are hidden.
    pub location: Option<Option<u64>>,
    /// Process id and start; the inner `None` where the owner is unknown.
    pub owner: Option<Option<(u32, Option<u64>)>>,
    /// Source and destination.
    pub flow: Option<Flow>,
}

impl Key {
    /// Returns the key of a drop.
    #[must_use]
    pub fn of(by: super::By, drop: &Drop, socket: Option<&Socket<'_>>) -> Self {
        Self {
            reason: by.reason.then(|| Reason { name: cause(drop), class: drop.class }),
            location: by.location.then_some(drop.location),
            owner: by.owner.then(|| socket.and_then(|socket| socket.owner).map(|owner| (owner.pid, owner.start_ns))),
            flow: by.flow.then(|| flow(drop, socket)),
        }
    }
}

/// Like [`Drop::cause`].
fn cause(drop: &Drop) -> Rc<str> {
    drop.reason.as_ref().or(drop.symbol.as_ref()).map_or_else(|| "unknown".into(), Rc::clone)
}

fn flow(drop: &Drop, socket: Option<&Socket<'_>>) -> Flow {
    if drop.mixed {
        return Flow::Mixed;
    }
    let ends = match (drop.ends, socket) {
        (Some(ends), _) => FlowEnds::Packet(ends),
        (None, Some(socket)) => FlowEnds::Socket(SocketEnds::of(socket)),
        (None, None) => FlowEnds::Unknown,
    };
    Flow::One { protocol: drop.protocol, ends, netns: socket.and_then(|socket| socket.netns) }
}

/// A value that all packets share; `None` if they differ, or it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Same<T>(pub Option<T>);

impl<T: PartialEq> Same<T> {
    fn meet(&mut self, value: Option<T>) {
        if self.0 != value {
            self.0 = None;
        }
    }
}

/// Packets with the same [`Key`].
#[derive(Clone, Debug)]
pub struct Row {
    /// Their key.
    pub key: Key,
    /// Whether it merges packets of several keys with one reason.
    pub is_other: bool,
    /// Their owner at the first of them; only if the owner separates rows.
    pub owner: Option<Owner>,
    /// Packets.
    pub count: u64,
    /// Packets since the last look.
    pub recent: u64,
    /// Time of the first.
    pub first_ns: u64,
    /// Time of the last.
    pub last_ns: u64,
    /// Number of the last event.
    pub(super) seen: u64,
    /// Name of the reason, where the kernel gives one.
    pub reason: Same<Rc<str>>,
    /// Number of the reason in the running kernel.
    pub reason_id: Same<u32>,
    /// The call that dropped them.
    pub symbol: Same<Rc<str>>,
    /// Name of the device. Hostile bytes.
    pub iface: Same<Rc<str>>,
    /// Their direction.
    pub direction: Same<Direction>,
    /// Bytes of each. For folded packets this and the next two fields are unknown.
    pub len: Same<u32>,
    /// Flags of TCP.
    pub tcp_flags: Same<u8>,
    /// Sequence number of TCP.
    pub seq: Same<u32>,
    /// The connection.
    pub conn: Same<ConnId>,
    /// Its ends.
    pub socket: Same<SocketEnds>,
    /// Inode number of the namespace in which they were dropped.
    pub netns: Same<u32>,
    /// Inode number of the socket's namespace.
    pub socket_netns: Same<u32>,
    /// Role of the socket.
    pub role: Same<Role>,
    /// The source of the owner.
    pub owner_source: Same<OwnerSource>,
    /// The stack of the first packet that has one.
    pub stack: Stack,
}

impl Row {
    pub(super) fn new(
        key: Key,
        owner: Option<Owner>,
        seen: u64,
        boot_ns: u64,
        drop: &Drop,
        socket: Option<&Socket<'_>>,
    ) -> Self {
        let alone = drop.count == 1;
        Self {
            key,
            is_other: false,
            owner,
            count: drop.count,
            recent: drop.count,
            first_ns: first_of(boot_ns, drop),
            last_ns: boot_ns,
            seen,
            reason: Same(drop.reason.clone()),
            reason_id: Same(drop.reason_id),
            symbol: Same(drop.symbol.clone()),
            iface: Same(drop.iface.clone()),
            direction: Same(Some(drop.direction)),
            len: Same(Some(drop.len).filter(|_| alone)),
            tcp_flags: Same(drop.tcp_flags.filter(|_| alone)),
            seq: Same(drop.seq.filter(|_| alone)),
            conn: Same(socket.map(|socket| socket.conn)),
            socket: Same(socket.map(SocketEnds::of)),
            netns: Same(socket.and_then(|socket| socket.netns)),
            socket_netns: Same(drop.socket_netns),
            role: Same(socket.map(|socket| socket.role)),
            owner_source: Same(socket.map(|socket| socket.owner_source)),
            stack: drop.stack.clone(),
        }
    }

    pub(super) fn add(&mut self, seen: u64, boot_ns: u64, drop: &Drop, socket: Option<&Socket<'_>>) {
        let alone = drop.count == 1;
        self.count += drop.count;
        self.recent += drop.count;
        self.first_ns = self.first_ns.min(first_of(boot_ns, drop));
        self.last_ns = self.last_ns.max(boot_ns);
        self.seen = seen;
        self.reason.meet(drop.reason.clone());
        self.reason_id.meet(drop.reason_id);
        self.symbol.meet(drop.symbol.clone());
        self.iface.meet(drop.iface.clone());
        self.direction.meet(Some(drop.direction));
        self.len.meet(Some(drop.len).filter(|_| alone));
        self.tcp_flags.meet(drop.tcp_flags.filter(|_| alone));
        self.seq.meet(drop.seq.filter(|_| alone));
        self.conn.meet(socket.map(|socket| socket.conn));
        self.socket.meet(socket.map(SocketEnds::of));
        self.netns.meet(socket.and_then(|socket| socket.netns));
        self.socket_netns.meet(drop.socket_netns);
        self.role.meet(socket.map(|socket| socket.role));
        self.owner_source.meet(socket.map(|socket| socket.owner_source));
        if self.stack == Stack::Missing {
            self.stack = drop.stack.clone();
        }
    }

    /// Makes the row for all merged packets with its reason.
    pub(super) fn into_other(self) -> Self {
        Self {
            key: Key { reason: self.key.reason, location: None, owner: None, flow: None },
            is_other: true,
            owner: None,
            count: self.count,
            recent: self.recent,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            seen: self.seen,
            reason: self.reason,
            reason_id: self.reason_id,
            symbol: Same(None),
            iface: Same(None),
            direction: Same(None),
            len: Same(None),
            tcp_flags: Same(None),
            seq: Same(None),
            conn: Same(None),
            socket: Same(None),
            netns: Same(None),
            socket_netns: Same(None),
            role: Same(None),
            owner_source: Same(None),
            stack: Stack::NotAsked,
        }
    }

    pub(super) fn absorb(&mut self, row: &Self) {
        self.count += row.count;
        self.recent += row.recent;
        self.first_ns = self.first_ns.min(row.first_ns);
        self.last_ns = self.last_ns.max(row.last_ns);
        self.seen = self.seen.max(row.seen);
        self.reason.meet(row.reason.0.clone());
        self.reason_id.meet(row.reason_id.0);
    }
}

/// Returns the time of the first packet of an event.
fn first_of(boot_ns: u64, drop: &Drop) -> u64 {
    if drop.count > 1 { drop.first_ns.min(boot_ns) } else { boot_ns }
}
