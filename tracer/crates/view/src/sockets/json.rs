//! Sockets as objects, one a socket.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Shown, first_owner, stream_socket};
use crate::clock::{Rfc3339, WallClock};
use crate::json::{self, members, name};
use crate::number::append as number;
use crate::owners::Owners;
use tracer_host::sockets::proto::{Proto, State};
use tracer_host::sockets::row::{Kind, Row, Tcp, netlink_protocol, socket_type};
use tracer_stream::Limited;

/// The keys of a socket beside those that it shares with events.
#[derive(Serialize, JsonSchema)]
pub struct SocketRow<'a> {
    /// The name of its network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    netns_name: Option<&'a str>,
    /// The name of the device that scopes its addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    /// Its state.
    state: &'static str,
    /// Inode of its file; `null` if it has none.
    inode: Option<u64>,
    /// The kernel's cookie of the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<u64>,
    /// Uid of its file's owner.
    uid: Option<u32>,
    /// Bytes that wait to be read; of a listener, connections that wait for accept().
    recv_q: u32,
    /// Bytes that are not acknowledged; of a listener, how many connections may wait.
    send_q: u32,
    #[serde(flatten)]
    more: More<'a>,
}

/// The keys that only sockets of one family have.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum More<'a> {
    Inet(Inet<'a>),
    Unix {
        /// `stream`, `dgram`, `seqpacket` …
        #[serde(rename = "type")]
        kind: &'static str,
        /// Its path; an abstract one begins with `@`.
        path: Option<&'a str>,
        /// Inode of its peer.
        peer_inode: Option<u64>,
    },
    Packet {
        /// `raw`, `dgram` …
        #[serde(rename = "type")]
        kind: &'static str,
        /// Protocol of the frames that it receives.
        ethertype: u16,
        /// The device that it is bound to.
        ifindex: Option<u32>,
    },
    Netlink {
        /// `route`, `generic` …, or the number.
        netlink_protocol: Netlink,
        /// Its port.
        portid: u32,
        /// The groups that it listens to, as bits.
        groups: u32,
    },
}

#[derive(Serialize, JsonSchema)]
struct Inet<'a> {
    #[serde(flatten)]
    listener: Option<Listener>,
    #[serde(flatten)]
    tcp: Option<&'a Tcp>,
    /// What has limited its sending.
    #[serde(skip_serializing_if = "Option::is_none")]
    limited: Option<Limited>,
}

#[derive(Serialize, JsonSchema)]
struct Listener {
    /// Connections that wait for accept().
    backlog: u32,
    /// How many may wait; `null` if unknown.
    backlog_limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Netlink {
    Named(&'static str),
    Numbered(u64),
}

impl<'a> SocketRow<'a> {
    fn new(shown: &Shown<'a>) -> Self {
        let row = shown.row;
        Self {
            netns_name: shown.picture.namespaces.get(&row.netns).and_then(|netns| netns.name.as_deref()),
            device: shown.picture.device(row),
            state: row.state.name(),
            inode: Some(row.inode).filter(|inode| *inode != 0),
            cookie: row.cookie,
            uid: row.uid,
            recv_q: row.recv_q,
            send_q: row.send_q,
            more: More::new(row),
        }
    }
}

impl<'a> More<'a> {
    fn new(row: &'a Row) -> Self {
        match &row.kind {
            Kind::Inet(inet) => {
                let listens = row.proto == Proto::Tcp && row.state == State::Listen;
                // /proc lacks the limit: `send_q` is 0 then.
                let limit = row.cookie.map(|_| row.send_q);
                let listener = listens.then_some(Listener { backlog: row.recv_q, backlog_limit: limit });
                let tcp = inet.tcp.as_deref();
                Self::Inet(Inet { listener, tcp, limited: tcp.and_then(Tcp::limited) })
            }
            Kind::Unix(unix) => {
                Self::Unix { kind: socket_type(unix.kind), path: unix.path.as_deref(), peer_inode: unix.peer }
            }
            Kind::Packet(packet) => Self::Packet {
                kind: socket_type(packet.kind),
                ethertype: packet.protocol,
                ifindex: Some(packet.ifindex).filter(|index| *index != 0),
            },
            Kind::Netlink(netlink) => Self::Netlink {
                netlink_protocol: netlink_protocol(netlink.protocol)
                    .map_or_else(|| Netlink::Numbered(netlink.protocol.into()), Netlink::Named),
                portid: netlink.portid,
                groups: netlink.groups,
            },
        }
    }
}

/// Writes sockets as JSON.
#[derive(Debug, Default)]
pub struct JsonRows {
    clock: WallClock,
    time: Rfc3339,
    owners: Owners<Vec<u8>>,
}

impl JsonRows {
    /// Makes a writer with times by `clock`.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Appends the line of a socket, as of `boot_ns`.
    pub fn write(&mut self, out: &mut Vec<u8>, boot_ns: u64, shown: &Shown<'_>) {
        let row = shown.row;
        json::head(out, &mut self.time, self.clock, "socket", boot_ns);
        if let Some(change) = shown.change {
            name(out, b",\"change\":\"", change.name());
        }
        let owner = first_owner(shown.picture, row);
        let socket = stream_socket(shown.picture, row, shown.number, owner);
        if row.inet().is_some() {
            json::socket(out, &socket, &mut self.owners);
        } else {
            out.extend_from_slice(b",\"conn\":\"");
            number(out, shown.number);
            name(out, b"\",\"proto\":\"", row.proto.name());
            json::ownership(out, &socket, &mut self.owners);
        }
        members(out, &SocketRow::new(shown));
        out.extend_from_slice(b"}\n");
    }
}
