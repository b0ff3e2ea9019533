//! Finds the owner of a packet.

use std::{net::IpAddr, rc::Rc};

use tracer_common::{
    decode::Record,
    drops::{
        DROP_MIXED, Direction, DropRecord, PacketSocket, SOCKET_RECEIVES, SOCKET_REQUEST, SOCKET_TUPLE, SegmentRecord,
    },
    packet::{Flow, HAS_PORTS},
    record::{FLAG_ACCEPTED, FLAG_FILTERED, Tuple},
    tcp::TcpState,
};
use tracer_stream::{self as stream, ConnId, Owner, OwnerSource, Role, Socket, protocol};

use super::{
    super::{Correlation, Gate},
    index::{Ended, is_same},
};

const IPPROTO_TCP: u8 = 6;
const AF_UNIX: u16 = 1;
const AF_NETLINK: u16 = 16;
const AF_PACKET: u16 = 17;

/// The owner of a packet.
pub enum Whose {
    /// A connection, or a listener, that is open.
    Open(u64),
    /// A connection that has ended.
    Ended(Rc<Ended>),
    /// No connection that the core follows.
    Outside(Box<Outside>),
    /// A connection that the filter hides.
    Filtered,
}

/// A packet without a connection in the core.
pub struct Outside {
    /// Local and remote end; the family is 0 if neither is known.
    tuple: Tuple,
    /// Whether the local end is known.
    oriented: bool,
    proto: &'static str,
    role: Role,
    owner: Option<Rc<Owner>>,
    source: OwnerSource,
}

impl Outside {
    /// Whether any key of a socket is known.
    pub fn is_known(&self) -> bool {
        self.tuple.family != 0 || self.tuple.netns != 0 || self.owner.is_some()
    }

    /// The keys of a socket. `for_filter`: gives the packet's ends in any order if the local one is unknown.
    pub fn socket(&self, for_filter: bool) -> Socket<'_> {
        let known = self.tuple.family != 0 && (self.oriented || for_filter);
        let side = |words, port: u16| {
            let (addr, mapped) = stream::address(self.tuple.family, words);
            (Some(addr).filter(|_| known), Some(port).filter(|port| known && *port != 0), mapped && known)
        };
        let (laddr, lport, local_mapped) = side(self.tuple.laddr, self.tuple.lport);
        let (raddr, rport, remote_mapped) = side(self.tuple.raddr, self.tuple.rport);
        let set = |addr: Option<IpAddr>| addr.filter(|addr| !addr.is_unspecified());
        Socket {
            conn: ConnId::NONE,
            proto: self.proto,
            family: self.tuple.family,
            v4mapped: local_mapped || remote_mapped,
            laddr: if lport.is_some() { laddr } else { set(laddr) },
            lport,
            raddr: set(raddr),
            rport,
            ifindex: Some(self.tuple.ifindex).filter(|index| *index != 0),
            netns: Some(self.tuple.netns).filter(|inode| *inode != 0),
            home: None,
            role: self.role,
            owner: self.owner.as_deref(),
            owner_source: self.source,
            holders: &[],
            v6only: None,
            mptcp: false,
        }
    }
}

/// The tuple of a packet whose source (or destination) is the local end.
pub const fn oriented(flow: &Flow, netns: u32, source_is_local: bool) -> Tuple {
    let (source, destination) = ((flow.src, flow.sport), (flow.dst, flow.dport));
    let (local, remote) = if source_is_local { (source, destination) } else { (destination, source) };
    Tuple {
        laddr: local.0,
        raddr: remote.0,
        lport: local.1,
        rport: remote.1,
        family: flow.family,
        reserved: [0; 3],
        netns,
        ifindex: 0,
    }
}

/// The possible tuples of a packet's connection.
fn candidates(record: &DropRecord) -> Vec<Tuple> {
    let mut tuples = Vec::with_capacity(3);
    let (packet, netns) = (&record.packet, record.netns);
    let socket = &record.socket;
    if socket.flags & SOCKET_TUPLE != 0 && socket.tuple.rport != 0 && socket.tuple.lport != 0 {
        tuples.push(socket.tuple);
    }
    let direction = Direction::from_number(record.direction);
    if packet.flow.flags & HAS_PORTS != 0 && packet.flow.protocol == IPPROTO_TCP {
        if matches!(direction, Direction::Out | Direction::Unknown) {
            tuples.push(oriented(&packet.flow, netns, true));
        }
        if matches!(direction, Direction::In | Direction::Unknown) {
            tuples.push(oriented(&packet.flow, netns, false));
        }
    }
    // An ICMP error comes back to the sender of the packet that it quotes.
    if packet.inner.flags & HAS_PORTS != 0 && packet.inner.protocol == IPPROTO_TCP {
        tuples.push(oriented(&packet.inner, netns, direction != Direction::Out));
    }
    tuples
}

impl<G: Gate> Correlation<G> {
    /// Whether only the file of its socket can identify this packet's owner.
    pub(super) fn is_nobodys(&self, record: &Record<'_>) -> bool {
        match record {
            Record::Drop(record) => {
                let kernel = self.by_kernel(&record.socket, Some(&record.packet.flow)).is_some();
                !kernel && self.by_tuple_of_packet(&candidates(record)).is_none() && record.socket.opener.pid == 0
            }
            Record::Segment(_, record) => self.by_tuple_of_packet(&[record.tuple]).is_none(),
            _ => false,
        }
    }

    /// The owner of a dropped packet. `came_to_nobody`: no socket existed for it.
    pub(super) fn whose_drop(&mut self, record: &DropRecord, came_to_nobody: bool) -> Whose {
        if record.flags & DROP_MIXED != 0 {
            return self.outside(record, None, OwnerSource::Unknown);
        }
        let socket = &record.socket;
        if socket.followed & FLAG_FILTERED != 0 {
            // The filter hides the socket, perhaps for its namespace: this packet was in another one.
            let elsewhere = record.netns != 0 && socket.tuple.netns != 0 && record.netns != socket.tuple.netns;
            return if elsewhere { self.whose_by_process(record) } else { Whose::Filtered };
        }
        if let Some(id) = self.by_kernel(socket, Some(&record.packet.flow)) {
            return Whose::Open(id);
        }
        if let Some(whose) = self.by_tuple_of_packet(&candidates(record)) {
            return whose;
        }
        if let Some(id) = self.by_listener(record, came_to_nobody) {
            return Whose::Open(id);
        }
        self.whose_by_process(record)
    }

    /// The owner by the opener or the holder of the socket.
    fn whose_by_process(&mut self, record: &DropRecord) -> Whose {
        let socket = &record.socket;
        if let Some(owner) = self.processes.owner(&socket.opener, record.header.boot_ns) {
            return self.outside(record, Some(owner), source_of(socket));
        }
        let holder = self.packets.holders.get(&socket.inode).cloned().flatten().filter(|_| socket.inode != 0);
        let source = if holder.is_some() { OwnerSource::Fd } else { OwnerSource::Unknown };
        self.outside(record, holder, source)
    }

    pub(super) fn whose_segment(&mut self, record: &SegmentRecord) -> Whose {
        if record.followed & FLAG_FILTERED != 0 {
            return Whose::Filtered;
        }
        let known = record.id != 0 && self.connections.contains_key(&record.id);
        // A listener's segment may belong to a connection that has ended: that one is preferred.
        let by_listener = record.state == TcpState::Listen as u8;
        if known && !by_listener {
            return Whose::Open(record.id);
        }
        if let Some(whose) = self.by_tuple_of_packet(&[record.tuple]) {
            return whose;
        }
        if known {
            return Whose::Open(record.id);
        }
        let wants_listener = record.socket_flags & SOCKET_REQUEST != 0 || record.state == TcpState::Listen as u8;
        if let Some(id) = self.listener(record.inode, &record.tuple).filter(|_| wants_listener)
            && self.connections.contains_key(&id)
        {
            return Whose::Open(id);
        }
        let owner = self.packets.holders.get(&record.inode).cloned().flatten().filter(|_| record.inode != 0);
        Whose::Outside(Box::new(Outside {
            tuple: record.tuple,
            oriented: true,
            proto: "tcp",
            role: Role::Unknown,
            source: if owner.is_some() { OwnerSource::Fd } else { OwnerSource::Unknown },
            owner,
        }))
    }

    /// The connection that the kernel side knows by its socket. Compares the packet, too: between the drop and our look
    /// the socket may have been given to another connection.
    fn by_kernel(&self, socket: &PacketSocket, flow: Option<&Flow>) -> Option<u64> {
        let connection = self.connections.get(&socket.id).filter(|_| socket.id != 0)?;
        let fits = connection.role == Role::Listener
            || flow.is_none_or(|flow| {
                let ports = [connection.tuple.lport, connection.tuple.rport];
                flow.flags & HAS_PORTS == 0
                    || flow.family == 0
                    || ports.contains(&0)
                    || ports == [flow.sport, flow.dport]
                    || ports == [flow.dport, flow.sport]
            });
        fits.then_some(socket.id)
    }

    fn by_tuple_of_packet(&self, tuples: &[Tuple]) -> Option<Whose> {
        for tuple in tuples {
            if let Some(id) = self.packets.index.open(tuple)
                && self.connections.get(&id).is_some_and(|connection| is_same(&connection.tuple, tuple))
            {
                return Some(Whose::Open(id));
            }
        }
        let ended = tuples.iter().find_map(|tuple| self.packets.index.ended(tuple))?;
        Some(Whose::Ended(Rc::new(ended.clone())))
    }

    /// The listener whose port a packet came to; `came_to_nobody`: none exists.
    fn by_listener(&self, record: &DropRecord, came_to_nobody: bool) -> Option<u64> {
        let (flow, socket) = (&record.packet.flow, &record.socket);
        let listens = socket.flags & SOCKET_TUPLE != 0 && socket.state == TcpState::Listen as u8;
        let tuple = if listens || socket.flags & SOCKET_REQUEST != 0 {
            let id = self.listener(socket.inode, &socket.tuple);
            return id.filter(|id| self.connections.contains_key(id));
        } else if flow.protocol == IPPROTO_TCP
            && flow.flags & HAS_PORTS != 0
            && record.direction == Direction::In as u8
            && !came_to_nobody
        {
            oriented(flow, record.netns, false)
        } else {
            return None;
        };
        self.listeners.find(&tuple).filter(|id| self.connections.contains_key(id))
    }

    /// The listener with this inode; if the inode is unknown (0), the only one that `tuple` can mean.
    fn listener(&self, inode: u64, tuple: &Tuple) -> Option<u64> {
        if inode == 0 { self.listeners.find(tuple) } else { self.listeners.with_inode(inode) }
    }

    fn outside(&self, record: &DropRecord, owner: Option<Rc<Owner>>, source: OwnerSource) -> Whose {
        let (flow, socket) = (&record.packet.flow, &record.socket);
        let direction = Direction::from_number(record.direction);
        let mixed = record.flags & DROP_MIXED != 0;
        let (mut tuple, known) = if flow.family != 0 && !mixed {
            let sent_elsewhere = record.netns != socket.tuple.netns && has_sent(socket, flow);
            let known = matches!(direction, Direction::In | Direction::Out);
            (oriented(flow, record.netns, direction != Direction::In || sent_elsewhere), known || sent_elsewhere)
        } else if socket.flags & SOCKET_TUPLE != 0 && !mixed {
            (socket.tuple, true)
        } else {
            (PacketSocket::NONE.tuple, false)
        };
        if !mixed {
            tuple.netns = record.netns;
        }
        let proto = match (flow.family, socket.family) {
            _ if mixed => "unknown",
            (4 | 6, _) => protocol(flow.protocol),
            (_, AF_UNIX) => "unix",
            (_, AF_NETLINK) => "netlink",
            (_, AF_PACKET) => "packet",
            _ if socket.protocol != 0 => protocol(u8::try_from(socket.protocol).unwrap_or(0)),
            _ => "unknown",
        };
        Whose::Outside(Box::new(Outside { tuple, oriented: known, proto, role: Role::Unknown, owner, source }))
    }
}

/// Whether the packet came from the socket that the kernel names: a packet that arrives in another namespace still
/// carries its sender's socket.
fn has_sent(socket: &PacketSocket, flow: &Flow) -> bool {
    let tuple = &socket.tuple;
    let from_there = tuple.laddr == [0; 4] || tuple.family != flow.family || tuple.laddr == flow.src;
    socket.flags & (SOCKET_TUPLE | SOCKET_RECEIVES) == SOCKET_TUPLE
        && from_there
        && (flow.flags & HAS_PORTS == 0 || tuple.lport == flow.sport)
}

/// The source of the opener in the kernel side's record.
const fn source_of(socket: &PacketSocket) -> OwnerSource {
    if socket.state == TcpState::Listen as u8 || socket.flags & SOCKET_REQUEST != 0 {
        OwnerSource::Listen
    } else if socket.followed & FLAG_ACCEPTED != 0 {
        OwnerSource::Accept
    } else {
        OwnerSource::Connect
    }
}
