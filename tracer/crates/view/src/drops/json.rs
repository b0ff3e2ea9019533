//! Rows as objects: kind `drop`, with the keys of the stream that all packets of the row share.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::{
    clock::{Rfc3339, WallClock},
    json::{head, members},
    summary::Summary,
};
use super::aggregate::{Discarded, Flow, FlowEnds, Row, SocketEnds};
use tracer_stream::{
    ConnId, Direction, Discard, DropClass, Location, Owner, OwnerSource, PacketEnds, Role, Stack, TcpFlags, Way,
};

/// A row of `tracer drops`: packets that the kernel dropped, with what all of them share.
#[derive(Serialize, JsonSchema)]
pub struct DropRow<'a> {
    /// Number of packets.
    count: u64,
    #[serde(flatten)]
    span: Span,
    /// `CLOCK_BOOTTIME` of the first, ns.
    first_boot_ns: u64,
    /// Packets of several keys with one reason: there were too many for rows of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<bool>,
    #[serde(flatten)]
    reason: Option<Reason<'a>>,
    #[serde(flatten)]
    location: Option<Place<'a>>,
    /// Name of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    iface: Option<&'a str>,
    /// Direction of the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Way>,
    /// Bytes of each, from the network header on.
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u32>,
    /// TCP flags of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_flags: Option<TcpFlags>,
    /// TCP sequence number of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    #[serde(flatten)]
    flow: Option<Packets>,
    /// The flows could not be told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    mixed: Option<bool>,
    #[serde(flatten)]
    socket: Option<SocketKeys>,
    /// Inode number of the network namespace in which they were dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    /// Inode number of their socket's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_netns: Option<u32>,
    /// Role of their socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(flatten)]
    owner: Option<Owned<'a>>,
    /// The kernel's stack at one of the drops; missing if it was not asked for.
    #[serde(skip_serializing_if = "Stack::is_not_asked")]
    stack: &'a Stack,
}

/// The times of the first and the last packet: wall clock, RFC 3339, UTC.
#[derive(Serialize, JsonSchema)]
struct Span {
    /// Time of the first packet.
    first: String,
    /// Time of the last packet.
    last: String,
}

#[derive(Serialize, JsonSchema)]
struct Reason<'a> {
    /// Name of the reason; `null` if this kernel gives none.
    reason: Option<&'a str>,
    /// Its number in the running kernel.
    reason_id: Option<u32>,
    /// Its meaning.
    class: DropClass,
}

#[derive(Serialize, JsonSchema)]
struct Place<'a> {
    /// Address of the call that dropped them; `null` where addresses are hidden.
    location: Option<Location>,
    /// The same as `function+0xoffset`.
    symbol: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
struct Packets {
    /// `tcp`, `udp`, `icmp` …; `null` if they are no IP packets.
    protocol: Option<&'static str>,
    #[serde(flatten)]
    ends: Option<PacketEnds>,
}

#[derive(Serialize, JsonSchema)]
struct SocketKeys {
    /// Their connection.
    conn: ConnId,
    /// Protocol of their socket.
    proto: &'static str,
    /// 4 or 6.
    family: Option<u8>,
    /// An IPv6 socket that talks IPv4: the addresses are IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    v4mapped: Option<bool>,
    /// Local address.
    laddr: Option<IpAddr>,
    /// Local port.
    lport: Option<u16>,
    /// Remote address.
    raddr: Option<IpAddr>,
    /// Remote port.
    rport: Option<u16>,
    /// Interface that scopes link-local addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Owned<'a> {
    /// Owner of their socket.
    owner: Option<&'a Owner>,
    /// Source of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_source: Option<OwnerSource>,
}

impl Span {
    fn new(time: &mut Rfc3339, clock: WallClock, first_ns: u64, last_ns: u64) -> Self {
        let mut text = |boot_ns| time.text(clock.wall_ns(boot_ns));
        Self { first: text(first_ns), last: text(last_ns) }
    }
}

impl SocketKeys {
    fn new(conn: Option<ConnId>, socket: &SocketEnds) -> Self {
        Self {
            conn: conn.unwrap_or(ConnId::NONE),
            proto: socket.proto,
            family: Some(socket.family).filter(|family| *family != 0),
            v4mapped: socket.v4mapped.then_some(true),
            laddr: socket.laddr,
            lport: socket.lport,
            raddr: socket.raddr,
            rport: socket.rport,
            ifindex: socket.ifindex,
        }
    }
}

impl<'a> DropRow<'a> {
    fn new(row: &'a Row, span: Span) -> Self {
        let key = &row.key;
        let flow = match &key.flow {
            Some(Flow::One { protocol, ends, .. }) => {
                let ends = if let FlowEnds::Packet(ends) = ends { Some(*ends) } else { None };
                Some(Packets { protocol: *protocol, ends })
            }
            _ => None,
        };
        Self {
            count: row.count,
            span,
            first_boot_ns: row.first_ns,
            other: row.is_other.then_some(true),
            reason: key.reason.as_ref().map(|reason| Reason {
                reason: row.reason.0.as_deref(),
                reason_id: row.reason_id.0,
                class: reason.class,
            }),
            location: key
                .location
                .map(|location| Place { location: location.map(Location), symbol: row.symbol.0.as_deref() }),
            iface: row.iface.0.as_deref(),
            direction: row.direction.0.filter(|direction| *direction != Direction::Unknown).map(Way),
            len: row.len.0,
            tcp_flags: row.tcp_flags.0.map(TcpFlags),
            seq: row.seq.0,
            flow,
            mixed: matches!(key.flow, Some(Flow::Mixed)).then_some(true),
            socket: row.socket.0.as_ref().filter(|_| key.flow.is_some()).map(|ends| SocketKeys::new(row.conn.0, ends)),
            netns: row.netns.0,
            socket_netns: row.socket_netns.0,
            role: row.role.0,
            owner: key.owner.map(|_| Owned { owner: row.owner.as_ref(), owner_source: row.owner_source.0 }),
            stack: &row.stack,
        }
    }
}

/// A counter of `tracer drops`: packets that the kernel discarded without a tracepoint event.
#[derive(Serialize, JsonSchema)]
pub struct DiscardRow<'a> {
    #[serde(flatten)]
    discard: &'a Discard,
    #[serde(flatten)]
    span: Span,
    /// `tcp`, `udp`, `unknown`.
    proto: &'static str,
    /// The socket's own address.
    laddr: Option<IpAddr>,
    /// The socket's own port.
    lport: Option<u16>,
    /// Inode number of the network namespace.
    netns: Option<u32>,
    /// Owner of the socket.
    owner: Option<&'a Owner>,
}

/// Appends an object for each row. Its time is that of the last packet.
pub(super) fn write(out: &mut Vec<u8>, clock: WallClock, rows: &[&Row]) {
    let mut time = Rfc3339::default();
    for row in rows {
        let span = Span::new(&mut time, clock, row.first_ns, row.last_ns);
        head(out, &mut time, clock, "drop", row.last_ns);
        members(out, &DropRow::new(row, span));
        out.extend_from_slice(b"}\n");
    }
}

/// Appends an object for each counter and socket. Its time is that of the last look.
pub(super) fn write_discards(out: &mut Vec<u8>, clock: WallClock, rows: &[&Discarded]) {
    let mut time = Rfc3339::default();
    for row in rows {
        let span = Span::new(&mut time, clock, row.first_ns, row.last_ns);
        head(out, &mut time, clock, "discard", row.last_ns);
        let discard = DiscardRow {
            discard: &row.discard,
            span,
            proto: row.proto,
            laddr: row.local.map(|local| local.0),
            lport: row.local.map(|local| local.1),
            netns: row.netns,
            owner: row.owner.as_ref(),
        };
        members(out, &discard);
        out.extend_from_slice(b"}\n");
    }
}

/// Appends the last line.
pub(super) fn summary(out: &mut Vec<u8>, clock: WallClock, boot_ns: u64, summary: &Summary) {
    head(out, &mut Rfc3339::default(), clock, "summary", boot_ns);
    members(out, summary);
    out.extend_from_slice(b"}\n");
}
