//! A survey: the sockets, processes and namespaces of the host at one moment, as an input.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracer_stream::TcpState;

use crate::forms;

/// The host at one moment. Threads read it; the core gets it as an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Survey {
    /// When the reading began, `CLOCK_BOOTTIME` ns.
    pub boot_ns: u64,
    /// The network namespaces.
    pub namespaces: Vec<Namespace>,
    /// TCP sockets that are not in `TIME_WAIT`, and UDP sockets.
    pub sockets: Vec<SurveySocket>,
    /// Processes that hold one of them, as far as the budget goes.
    pub processes: Vec<SurveyProcess>,
    /// Sockets in `TIME_WAIT`, by namespace.
    pub time_wait: Vec<(u32, u64)>,
    /// Sockets or processes beyond the budget.
    pub omitted: u64,
    /// A sentence for each thing that could not be read.
    pub gaps: Vec<String>,
}

/// A network namespace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Namespace {
    /// Its inode number.
    pub inode: u32,
    /// Its name, if it has one. Hostile bytes.
    pub name: Option<String>,
    /// tracer runs in it.
    pub own: bool,
    /// Its devices with their addresses.
    pub devices: Vec<Device>,
    /// `net.ipv4.ip_local_port_range`.
    pub ports: Option<(u16, u16)>,
    /// Entries and limit of conntrack's table.
    pub conntrack: Option<(u64, u64)>,
    /// `net.netfilter.nf_conntrack_tcp_timeout_established`, seconds.
    pub conntrack_timeout_s: Option<u64>,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its index.
    pub ifindex: u32,
    /// Its name. Hostile bytes.
    pub name: String,
    /// Its MTU.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The protocol of a surveyed socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SurveySocket {
    /// Its protocol.
    pub transport: Transport,
    /// Its state; a UDP socket is `ESTABLISHED` once it is connected, else `CLOSE`.
    #[serde(with = "forms::state")]
    pub state: TcpState,
    /// Its namespace.
    pub netns: u32,
    /// Its local address.
    pub laddr: IpAddr,
    /// Its local port.
    pub lport: u16,
    /// Its remote address.
    pub raddr: IpAddr,
    /// Its remote port.
    pub rport: u16,
    /// Inode of its file; 0 if it has none (not accepted, or closed by its process).
    pub inode: u64,
    /// Processes that hold it, oldest first, a few.
    pub pids: Vec<u32>,
    /// Bytes that its process has not read; of a listener, connections that wait for accept().
    pub recv_q: u32,
    /// Bytes that the peer has not acknowledged; of a listener, how many connections may wait.
    pub send_q: u32,
    /// TCP's figures of a connection.
    pub tcp: Option<SurveyTcp>,
}

/// TCP's figures of a connection (`struct tcp_info`); `None` where the kernel lacks them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyTcp {
    /// Smoothed round-trip time, µs.
    pub srtt_us: Option<u32>,
    /// Retransmission timeout, µs.
    pub rto_us: Option<u32>,
    /// How often the retransmission timer has fired for the same data.
    pub backoff: Option<u32>,
    /// Segments sent again since the connection began.
    pub retransmits: Option<u32>,
    /// Segments sent and not yet acknowledged.
    pub unacked: Option<u32>,
    /// The largest segment, bytes.
    pub mss: Option<u32>,
    /// The congestion window, segments.
    pub cwnd: Option<u32>,
    /// The peer's receive window, bytes.
    pub snd_wnd: Option<u32>,
    /// Payload that the peer acknowledged.
    pub tx_bytes: Option<u64>,
    /// Payload received in order.
    pub rx_bytes: Option<u64>,
    /// Time since the last data segment was sent, ms.
    pub last_sent_ms: Option<u32>,
    /// Time since the last data segment was received, ms.
    pub last_received_ms: Option<u32>,
    /// Time since the last ACK was received, ms.
    pub last_ack_ms: Option<u32>,
    /// Time with data to send, µs.
    pub busy_us: Option<u64>,
    /// Of it, time for which the peer's window allowed no more, µs.
    pub rwnd_limited_us: Option<u64>,
    /// Of it, time for which the send buffer allowed no more, µs.
    pub sndbuf_limited_us: Option<u64>,
}

/// A process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SurveyProcess {
    /// Process id.
    pub pid: u32,
    /// Start in ns since boot, at the resolution of /proc.
    pub start_ns: u64,
    /// Its name. Hostile bytes.
    pub comm: String,
    /// Its parent.
    pub parent: u32,
    /// The state letter of `/proc/PID/stat`: `R`, `S`, `D`, `T`, `t`, `Z`.
    pub state: Option<char>,
    /// The kernel function in which its first thread sleeps.
    pub wchan: Option<String>,
    /// Its open descriptors.
    pub descriptors: Option<u64>,
    /// Its limit of them (`RLIMIT_NOFILE`, soft).
    pub descriptor_limit: Option<u64>,
    /// CPU time that it has used, ms.
    pub cpu_ms: Option<u64>,
    /// The container that its cgroup path names.
    pub container: Option<String>,
    /// The unit of systemd.
    pub unit: Option<String>,
}

impl Survey {
    /// The process `pid`.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&SurveyProcess> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    /// The namespace with this inode number.
    #[must_use]
    pub fn namespace(&self, inode: u32) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.inode == inode)
    }

    /// The namespaces that have this address.
    pub fn homes(&self, addr: IpAddr) -> impl Iterator<Item = &Namespace> {
        let has = move |device: &Device| device.addresses.contains(&addr);
        self.namespaces.iter().filter(move |namespace| namespace.devices.iter().any(has))
    }

    /// The listeners that take connections to this end.
    pub fn listeners(&self, netns: u32, addr: IpAddr, port: u16) -> impl Iterator<Item = &SurveySocket> {
        let at = move |socket: &&SurveySocket| {
            socket.state == TcpState::Listen
                && socket.transport == Transport::Tcp
                && (socket.netns, socket.lport) == (netns, port)
                && (socket.laddr == addr || socket.laddr.is_unspecified())
        };
        self.sockets.iter().filter(at)
    }

    /// The number of connections that wait in this listener's queue, beyond the number that may.
    #[must_use]
    pub const fn is_full(listener: &SurveySocket) -> bool {
        listener.recv_q > listener.send_q
    }
}
