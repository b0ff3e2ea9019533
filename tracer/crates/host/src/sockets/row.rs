//! One socket of the table.

use super::proto::{Proto, State};

/// A socket in the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Protocol.
    pub proto: Proto,
    /// State.
    pub state: State,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Inode of the socket's file; 0 where it has none (TIME_WAIT, not accepted, closed by its
    /// process, the kernel's own).
    pub inode: u64,
    /// The kernel's number of the socket, never used twice; `None` where the source lacks it.
    pub cookie: Option<u64>,
    /// The user that made it; `None` where the kernel does not keep it.
    pub uid: Option<u32>,
    /// Bytes not yet read; for a listener, connections that wait for accept().
    pub recv_q: u32,
    /// Bytes not yet sent or acknowledged; for a listener, how many connections may wait.
    pub send_q: u32,
    /// The fields of its family.
    pub kind: Kind,
}

/// The fields of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP, UDP, raw, ICMP, SCTP.
    Inet(Inet),
    /// Unix.
    Unix(Box<Unix>),
    /// Packet.
    Packet(Packet),
    /// Netlink.
    Netlink(Netlink),
}

/// An internet socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inet {
    /// 4 or 6.
    pub family: u8,
    /// Local address: words as they lie in memory, IPv4 in the first one.
    pub laddr: [u32; 4],
    /// Local port; for a raw socket the protocol.
    pub lport: u16,
    /// Remote address.
    pub raddr: [u32; 4],
    /// Remote port.
    pub rport: u16,
    /// The interface that the socket is bound to or that scopes its addresses; 0 for none.
    pub ifindex: u32,
    /// Whether an unconnected IPv6 socket refuses IPv4 (`IPV6_V6ONLY`); `None` where the source lacks it.
    pub v6only: Option<bool>,
    /// The other addresses of an SCTP association, or the details of a TCP connection.
    pub tcp: Option<Box<Tcp>>,
}

/// The kernel's figures of a TCP connection; `None` where this kernel lacks them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Tcp {
    /// Smoothed round-trip time, µs; `None` before the first measurement.
    pub srtt_us: Option<u32>,
    /// Its variation, µs.
    pub rttvar_us: Option<u32>,
    /// Least round-trip time, µs.
    pub min_rtt_us: Option<u32>,
    /// Retransmission timeout, µs.
    pub rto_us: Option<u32>,
    /// Congestion window, segments.
    pub cwnd: Option<u32>,
    /// Slow-start threshold, segments; `None` while there is none.
    pub ssthresh: Option<u32>,
    /// Largest segment sent, bytes.
    pub mss: Option<u32>,
    /// Segments sent again since the connection began.
    pub retransmits: Option<u32>,
    /// Segments sent and not yet acknowledged.
    pub unacked: Option<u32>,
    /// Payload bytes that the peer acknowledged.
    pub tx_bytes: Option<u64>,
    /// Payload bytes received in order.
    pub rx_bytes: Option<u64>,
    /// Time since data was last sent, ms; since the handshake if there was none.
    pub last_sent_ms: Option<u32>,
    /// Time since data was last received, ms; since the handshake if there was none.
    pub last_received_ms: Option<u32>,
    /// Time since an ACK was last received, ms.
    pub last_ack_ms: Option<u32>,
    /// Time with data to send or unacknowledged, µs, in whole ticks.
    pub busy_us: Option<u64>,
    /// Of it, time for which the peer's window allowed no more, µs.
    pub rwnd_limited_us: Option<u64>,
    /// Of it, time for which the send buffer had no room for more, µs.
    pub sndbuf_limited_us: Option<u64>,
    /// How often the retransmission timeout has doubled for the same data.
    pub backoff: Option<u32>,
    /// The peer's receive window, bytes.
    pub snd_wnd: Option<u32>,
    /// The rate at which the network delivered data of late, bytes/s; `None` before the first measurement.
    pub delivery_rate: Option<u64>,
    /// Whether that rate was measured while the program had too little to send.
    pub app_limited: Option<bool>,
    /// Bytes written and not yet sent.
    pub notsent_bytes: Option<u32>,
    /// Bytes sent again since the connection began.
    pub retransmitted_bytes: Option<u64>,
    /// How many segments may arrive out of order before TCP takes one for lost.
    pub reordering: Option<u32>,
    /// Segments that the peer received twice, it says.
    pub dsack: Option<u32>,
    /// Segments received out of order.
    pub out_of_order: Option<u32>,
    /// Congestion control.
    pub congestion: Option<String>,
    /// The running timer.
    pub timer: Option<Timer>,
    /// Id of the cgroup (v2) that the socket was made in.
    pub cgroup_id: Option<u64>,
}

/// A running timer of a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Timer {
    /// `on` (retransmission), `keepalive`, `timewait`, `persist` or `unknown`, as `ss` calls them.
    pub name: &'static str,
    /// When it fires, ms from now.
    pub expires_ms: u32,
    /// How often it has fired for the same data.
    pub retries: u8,
}

/// A Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unix {
    /// `SOCK_STREAM` 1, `SOCK_DGRAM` 2, `SOCK_SEQPACKET` 5.
    pub kind: u16,
    /// The name it is bound to; an abstract one begins with `@`. Hostile bytes.
    pub path: Option<String>,
    /// Inode of the socket that it is connected to.
    pub peer: Option<u64>,
}

/// A packet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// `SOCK_DGRAM` 2, `SOCK_RAW` 3, `SOCK_PACKET` 10.
    pub kind: u16,
    /// The Ethernet protocol; 3 is all of them.
    pub protocol: u16,
    /// The interface that it is bound to; 0 is all of them.
    pub ifindex: u32,
}

/// A netlink socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Netlink {
    /// `NETLINK_ROUTE` 0 and so on.
    pub protocol: u8,
    /// Its address.
    pub portid: u32,
    /// The first 32 multicast groups that it has joined.
    pub groups: u32,
}

impl Row {
    /// Whether the socket has no file because no process has accepted it yet, or because its handshake is not done: a
    /// process that closes a socket takes it out of these states.
    #[must_use]
    pub const fn waits_for_accept(&self) -> bool {
        matches!((self.proto, self.inode), (Proto::Tcp, 0))
            && matches!(self.state, State::Established | State::SynRecv | State::CloseWait)
    }

    /// Returns the internet part, if it is such a socket.
    #[must_use]
    pub const fn inet(&self) -> Option<&Inet> {
        match &self.kind {
            Kind::Inet(inet) => Some(inet),
            _ => None,
        }
    }

    /// Returns the index of the device that it is bound to, or that scopes its addresses; 0 for none.
    #[must_use]
    pub const fn device(&self) -> u32 {
        match &self.kind {
            Kind::Inet(inet) => inet.ifindex,
            Kind::Packet(packet) => packet.ifindex,
            Kind::Unix(_) | Kind::Netlink(_) => 0,
        }
    }

    /// Returns the details of a TCP connection, if they were requested and the kernel gave them.
    #[must_use]
    pub fn tcp(&self) -> Option<&Tcp> {
        self.inet()?.tcp.as_deref()
    }
}

/// Returns the name of a `SOCK_*`.
#[must_use]
pub const fn socket_type(kind: u16) -> &'static str {
    match kind {
        1 => "stream",
        2 => "dgram",
        3 => "raw",
        5 => "seqpacket",
        10 => "packet",
        _ => "unknown",
    }
}

/// Returns the name of a `NETLINK_*` in `ss` (`include/uapi/linux/netlink.h`).
#[must_use]
pub const fn netlink_protocol(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        0 => "route",
        2 => "usersock",
        3 => "firewall",
        4 => "sock_diag",
        5 => "nflog",
        6 => "xfrm",
        7 => "selinux",
        8 => "iscsi",
        9 => "audit",
        10 => "fib_lookup",
        11 => "connector",
        12 => "netfilter",
        13 => "ip6_fw",
        14 => "dnrtmsg",
        15 => "uevent",
        16 => "generic",
        18 => "scsitransport",
        19 => "ecryptfs",
        20 => "rdma",
        21 => "crypto",
        22 => "smc",
        _ => return None,
    })
}
