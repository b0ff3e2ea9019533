//! Sockets as objects, one a socket.

use super::{Shown, first_owner, stream_socket};
use crate::present::clock::{Rfc3339, WallClock};
use crate::present::json::{self, name, optional, optional_string, string};
use crate::present::number::append as number;
use crate::present::owners::Owners;
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::{Kind, Row, Tcp, netlink_protocol, socket_type};

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
            json::write_socket(out, &socket, &mut self.owners);
        } else {
            out.extend_from_slice(b",\"conn\":\"");
            number(out, shown.number);
            name(out, b"\",\"proto\":\"", row.proto.name());
            json::write_ownership(out, &socket, &mut self.owners);
        }
        if let Some(netns) = shown.picture.namespaces.get(&row.netns).and_then(|netns| netns.name.as_deref()) {
            out.extend_from_slice(b",\"netns_name\":");
            string(out, netns);
        }
        if let Some(device) = shown.picture.device(row) {
            out.extend_from_slice(b",\"device\":");
            string(out, device);
        }
        name(out, b",\"state\":\"", row.state.name());
        optional(out, b",\"inode\":", Some(row.inode).filter(|inode| *inode != 0));
        if row.cookie.is_some() {
            optional(out, b",\"cookie\":", row.cookie);
        }
        optional(out, b",\"uid\":", row.uid);
        optional(out, b",\"recv_q\":", Some(row.recv_q));
        optional(out, b",\"send_q\":", Some(row.send_q));
        write_kind(out, row);
        out.extend_from_slice(b"}\n");
    }
}

fn write_kind(out: &mut Vec<u8>, row: &Row) {
    match &row.kind {
        Kind::Inet(inet) => {
            if row.proto == Proto::Tcp && row.state == State::Listen {
                optional(out, b",\"backlog\":", Some(row.recv_q));
                // /proc lacks the limit: `send_q` is 0 then.
                optional(out, b",\"backlog_limit\":", row.cookie.map(|_| row.send_q));
            }
            if let Some(tcp) = inet.tcp.as_deref() {
                write_tcp(out, tcp);
            }
        }
        Kind::Unix(unix) => {
            name(out, b",\"type\":\"", socket_type(unix.kind));
            out.extend_from_slice(b",\"path\":");
            optional_string(out, unix.path.as_deref());
            optional(out, b",\"peer_inode\":", unix.peer);
        }
        Kind::Packet(packet) => {
            name(out, b",\"type\":\"", socket_type(packet.kind));
            optional(out, b",\"ethertype\":", Some(packet.protocol));
            optional(out, b",\"ifindex\":", Some(packet.ifindex).filter(|index| *index != 0));
        }
        Kind::Netlink(netlink) => {
            out.extend_from_slice(b",\"netlink_protocol\":");
            match netlink_protocol(netlink.protocol) {
                Some(protocol) => string(out, protocol),
                None => number(out, netlink.protocol.into()),
            }
            optional(out, b",\"portid\":", Some(netlink.portid));
            optional(out, b",\"groups\":", Some(netlink.groups));
        }
    }
}

fn write_tcp(out: &mut Vec<u8>, tcp: &Tcp) {
    optional(out, b",\"srtt_us\":", tcp.srtt_us);
    optional(out, b",\"rttvar_us\":", tcp.rttvar_us);
    optional(out, b",\"min_rtt_us\":", tcp.min_rtt_us);
    optional(out, b",\"rto_us\":", tcp.rto_us);
    optional(out, b",\"cwnd\":", tcp.cwnd);
    optional(out, b",\"ssthresh\":", tcp.ssthresh);
    optional(out, b",\"mss\":", tcp.mss);
    optional(out, b",\"retransmits\":", tcp.retransmits);
    optional(out, b",\"unacked\":", tcp.unacked);
    optional(out, b",\"tx_bytes\":", tcp.tx_bytes);
    optional(out, b",\"rx_bytes\":", tcp.rx_bytes);
    out.extend_from_slice(b",\"congestion\":");
    optional_string(out, tcp.congestion.as_deref());
    out.extend_from_slice(b",\"timer\":");
    match tcp.timer {
        Some(timer) => {
            name(out, b"{\"name\":\"", timer.name);
            optional(out, b",\"expires_ms\":", Some(timer.expires_ms));
            optional(out, b",\"retries\":", Some(u32::from(timer.retries)));
            out.push(b'}');
        }
        None => out.extend_from_slice(b"null"),
    }
    optional(out, b",\"cgroup_id\":", tcp.cgroup_id);
}
