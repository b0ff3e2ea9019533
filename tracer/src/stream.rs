//! The stream: what the core says and the presenters print.
//!
//! The names follow the event schema that users' scripts rely on (README, "The stream"): one
//! [`Event`] here is one line of `--json`. Events borrow from the core's tables, so that nothing is
//! allocated per event.

mod hint;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

pub use self::hint::{Discipline, Hint, Nft};
pub use tracer_common::{drops::Direction, tcp::TcpState};

/// Names one connection in the stream; never reused in one run. A socket that is disconnected and
/// connected again is a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// No connection that is followed: a packet that belongs to none.
    pub const NONE: Self = Self(0);
}

/// Which way a connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This side sent the first SYN.
    Client,
    /// A listener's child.
    Server,
    /// Waits for connections.
    Listener,
    /// Older than the trace, and nothing tells.
    Unknown,
}

impl Role {
    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Listener => "listener",
            Self::Unknown => "unknown",
        }
    }
}

/// How an owner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerSource {
    /// It called connect().
    Connect,
    /// It called accept().
    Accept,
    /// It called listen().
    Listen,
    /// It holds the socket's file (kernel file table or /proc).
    Fd,
    /// It owns the listener; nobody has accepted the connection yet.
    Listener,
    /// Not known.
    Unknown,
}

impl OwnerSource {
    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Listen => "listen",
            Self::Fd => "fd",
            Self::Listener => "listener",
            Self::Unknown => "unknown",
        }
    }
}

/// A container, as far as a cgroup path names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn`, or `unknown` (a pod whose
    /// runtime the path does not tell).
    pub runtime: &'static str,
    /// The runtime's id or name of it.
    pub id: String,
}

/// What is known of a process beyond the kernel record: shared by all of its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The executable's path, as `/proc/PID/exe` or the exec event gave it. Hostile bytes.
    pub exe: Option<String>,
    /// The arguments. Hostile bytes.
    pub cmdline: Option<Vec<String>>,
    /// The cgroup path. Hostile bytes.
    pub cgroup: Option<String>,
    /// The container that the cgroup path names.
    pub container: Option<Container>,
}

/// The process that opened a socket, as it was at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// The thread that opened the socket; the process's id where only the process is known.
    pub tid: u32,
    /// Effective uid; `None` where nothing tells.
    pub uid: Option<u32>,
    /// `comm` at that moment. Hostile bytes.
    pub comm: String,
    /// Start of the process, `CLOCK_BOOTTIME` ns; `None` if unknown.
    pub start_ns: Option<u64>,
    /// The rest.
    pub facts: Arc<ProcessFacts>,
}

/// The keys that every event of a socket has.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    /// The connection.
    pub conn: ConnId,
    /// `"tcp"`.
    pub proto: &'static str,
    /// 4 or 6, the socket's family.
    pub family: u8,
    /// An IPv6 socket that talks IPv4: the addresses are IPv4.
    pub v4mapped: bool,
    /// Local address; `None` while the socket has none.
    pub laddr: Option<IpAddr>,
    /// Local port; `None` while none is bound.
    pub lport: Option<u16>,
    /// Remote address; `None` for listeners.
    pub raddr: Option<IpAddr>,
    /// Remote port; `None` for listeners.
    pub rport: Option<u16>,
    /// Interface that scopes link-local addresses.
    pub ifindex: Option<u32>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Role.
    pub role: Role,
    /// Owner; `None` if nobody is known.
    pub owner: Option<&'a Owner>,
    /// How the owner is known.
    pub owner_source: OwnerSource,
    /// Other processes that are known to hold the socket now.
    pub holders: &'a [u32],
    /// A subflow of an MPTCP connection.
    pub mptcp: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// This side closed first.
    ClosedLocal,
    /// The peer closed first.
    ClosedRemote,
    /// FIN crossed FIN.
    ClosedBoth,
    /// This side sent RST.
    ResetLocal,
    /// The peer sent RST.
    ResetRemote,
    /// Nobody listens at the destination, or it was rejected.
    Refused,
    /// No answer.
    TimedOut,
    /// The network said that the destination cannot be reached.
    Unreachable,
    /// connect() itself failed.
    FailedLocal,
    /// Destroyed from outside (`ss -K`, its namespace went).
    Aborted,
    /// The listener closed before anybody accepted the connection.
    ListenerClosed,
    /// The trace ended first.
    OpenAtEnd,
    /// The evidence does not tell.
    Unknown,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::ClosedLocal,
        Self::ClosedRemote,
        Self::ClosedBoth,
        Self::ResetLocal,
        Self::ResetRemote,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::FailedLocal,
        Self::Aborted,
        Self::ListenerClosed,
        Self::OpenAtEnd,
        Self::Unknown,
    ];

    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClosedLocal => "closed_local",
            Self::ClosedRemote => "closed_remote",
            Self::ClosedBoth => "closed_both",
            Self::ResetLocal => "reset_local",
            Self::ResetRemote => "reset_remote",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::FailedLocal => "failed_local",
            Self::Aborted => "aborted",
            Self::ListenerClosed => "listener_closed",
            Self::OpenAtEnd => "open_at_end",
            Self::Unknown => "unknown",
        }
    }

    /// The connection did not do what its owner wanted: what `--failed` selects.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::ResetRemote
                | Self::Refused
                | Self::TimedOut
                | Self::Unreachable
                | Self::FailedLocal
                | Self::Aborted
                | Self::ListenerClosed
        )
    }
}

/// The end of a connection. Times in µs, counts from the kernel; `None` is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// From the first event of the connection (`None` for one that is older than the trace).
    pub duration_us: Option<u64>,
    /// SYN to ESTABLISHED, successful handshakes of clients only.
    pub connect_us: Option<u64>,
    /// ESTABLISHED to accept().
    pub accept_wait_us: Option<u64>,
    /// Payload bytes that the peer acknowledged.
    pub tx_bytes: Option<u64>,
    /// Payload bytes received in order.
    pub rx_bytes: Option<u64>,
    /// Segments sent again.
    pub retransmits: Option<u32>,
    /// Packets of this connection that this host dropped.
    pub drops: Option<u64>,
    /// Smoothed round-trip time.
    pub srtt_us: Option<u32>,
    /// Least round-trip time.
    pub min_rtt_us: Option<u32>,
    /// How it ended.
    pub verdict: Verdict,
    /// The error behind the verdict, positive.
    pub errno: Option<i32>,
    /// Older than the trace.
    pub preexisting: bool,
    /// A transition was missed or the socket could not be followed: times may be unknown.
    pub incomplete: bool,
}

/// What a drop means for whoever waits for the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropClass {
    /// Somebody misses it: it has to be sent again, or is gone for good.
    Loss,
    /// A rule forbids it.
    Policy,
    /// Nobody wants it: nothing listens there.
    Refused,
    /// What is left of a connection that is over.
    Teardown,
    /// Nobody misses it.
    Noise,
}

impl DropClass {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Loss, Self::Policy, Self::Refused, Self::Teardown, Self::Noise];

    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Policy => "policy",
            Self::Refused => "refused",
            Self::Teardown => "teardown",
            Self::Noise => "noise",
        }
    }

    /// Lines of text leave it out unless it is asked for.
    #[must_use]
    pub const fn is_quiet(self) -> bool {
        matches!(self, Self::Teardown | Self::Noise)
    }
}

/// The name of a direction; `None` if it is not known.
#[must_use]
pub const fn direction(direction: Direction) -> Option<&'static str> {
    match direction {
        Direction::In => Some("in"),
        Direction::Out => Some("out"),
        Direction::Forward => Some("forward"),
        Direction::Unknown => None,
    }
}

/// Where a packet came from and went to, as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketEnds {
    /// Source address.
    pub saddr: IpAddr,
    /// Source port; `None` where the protocol has none, or the packet does not tell.
    pub sport: Option<u16>,
    /// Destination address.
    pub daddr: IpAddr,
    /// Destination port.
    pub dport: Option<u16>,
}

/// The kernel's stack at a drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stack {
    /// Nobody has asked for it.
    #[default]
    NotAsked,
    /// It could not be taken, kept or named.
    Missing,
    /// `function+0xoffset`, from the call that dropped the packet outwards. Of several packets, that
    /// of one of them.
    Known(Rc<[Rc<str>]>),
}

/// A packet, or several equal ones, that the kernel dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Name of the reason; `None` where this kernel gives none: then `symbol` stands for it.
    pub reason: Option<Rc<str>>,
    /// Its number in the running kernel.
    pub reason_id: Option<u32>,
    /// What it means.
    pub class: DropClass,
    /// Address of the call that dropped it; `None` where addresses are hidden.
    pub location: Option<u64>,
    /// The same as `function+0xoffset`.
    pub symbol: Option<Rc<str>>,
    /// Name of the device. Hostile bytes.
    pub iface: Option<Rc<str>>,
    /// Which way it went.
    pub direction: Direction,
    /// Bytes, from the network header on.
    pub len: u32,
    /// `tcp`, `udp`, `icmp` …; `None` for what is no IP packet.
    pub protocol: Option<&'static str>,
    /// `None` for what is no IP packet.
    pub ends: Option<PacketEnds>,
    /// Flags of TCP.
    pub tcp_flags: Option<u8>,
    /// Sequence number of TCP.
    pub seq: Option<u32>,
    /// Type and code of ICMP.
    pub icmp: Option<(u8, u8)>,
    /// Protocol and ends of the packet that an ICMP error is about.
    pub about: Option<(&'static str, PacketEnds)>,
    /// A fragment of a larger packet.
    pub fragment: bool,
    /// Packets.
    pub count: u64,
    /// Time of the first, if they are several.
    pub first_ns: u64,
    /// Of the packets only reason and location are known to be the same.
    pub mixed: bool,
    /// How the kernel came to it.
    pub stack: Stack,
    /// What is known of the place that dropped it, besides the reason.
    pub hint: Option<Box<Hint>>,
}

impl Drop {
    /// What stands for the reason.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.reason.as_deref().or(self.symbol.as_deref()).unwrap_or("unknown")
    }
}

/// What was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// SYN.
    Syn,
    /// SYN-ACK.
    SynAck,
    /// Data.
    Data,
    /// FIN without data.
    Fin,
    /// A tail loss probe.
    Probe,
}

impl Segment {
    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "synack",
            Self::Data => "data",
            Self::Fin => "fin",
            Self::Probe => "probe",
        }
    }
}

/// A conclusion from several events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub name: &'static str,
    /// The sentence. It has hostile bytes in it (names of processes and devices).
    pub text: String,
    /// Commands that tell more.
    pub look: &'static [&'static str],
    /// Packets or connections, whatever the rule counts.
    pub count: u64,
    /// The first events that it rests on.
    pub evidence: Vec<Evidence>,
}

/// One of the events that a finding rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The event's kind.
    pub event: &'static str,
    /// Its connection; [`ConnId::NONE`] if it has none.
    pub conn: ConnId,
    /// Its time.
    pub boot_ns: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// A socket starts listening.
    Listen {
        /// `sk_max_ack_backlog`.
        backlog: Option<u32>,
    },
    /// connect(), also one that fails at once.
    Connect {
        /// Positive, if connect() failed at once.
        errno: Option<i32>,
    },
    /// The handshake is done.
    Established {
        /// Client: SYN to ESTABLISHED.
        connect_us: Option<u64>,
    },
    /// accept() handed it to a process.
    Accept {
        /// ESTABLISHED to accept().
        accept_wait_us: Option<u64>,
    },
    /// Existed before the trace.
    Open {
        /// Its state in the snapshot.
        state: TcpState,
    },
    /// A transition.
    State {
        /// Before.
        old: TcpState,
        /// After.
        new: TcpState,
        /// Time spent in `old`.
        state_us: Option<u64>,
    },
    /// The kernel reported an error on the socket.
    Error {
        /// Positive.
        errno: i32,
    },
    /// The socket is done.
    Close(&'a Close),
    /// A segment was sent again.
    Retransmit {
        /// State of the socket; `None` if it is not known.
        state: Option<TcpState>,
        /// Which.
        what: Segment,
        /// Its sequence number.
        seq: Option<u32>,
    },
    /// RST was sent or received.
    Reset {
        /// Received, and not sent.
        received: bool,
        /// Why it was sent, if the kernel tells.
        reason: Option<&'a str>,
    },
    /// The kernel dropped a packet.
    Drop(&'a Drop),
    /// What several events add up to: said once, when there is enough for it.
    Finding(&'a Finding),
    /// Events of one class could not be delivered.
    Lost {
        /// `lifecycle`, `process` …
        class: &'static str,
        /// How many since the last such event.
        count: u64,
    },
}

impl Kind<'_> {
    /// The kinds by their names in the stream, the ones that `--event` takes.
    pub const NAMES: [&'static str; 14] = [
        "listen",
        "connect",
        "established",
        "accept",
        "open",
        "state",
        "retransmit",
        "reset",
        "error",
        "drop",
        "finding",
        "close",
        "lost",
        "summary",
    ];

    /// Its place in [`Kind::NAMES`].
    #[must_use]
    pub const fn number(&self) -> usize {
        match self {
            Self::Listen { .. } => 0,
            Self::Connect { .. } => 1,
            Self::Established { .. } => 2,
            Self::Accept { .. } => 3,
            Self::Open { .. } => 4,
            Self::State { .. } => 5,
            Self::Retransmit { .. } => 6,
            Self::Reset { .. } => 7,
            Self::Error { .. } => 8,
            Self::Drop(_) => 9,
            Self::Finding(_) => 10,
            Self::Close(_) => 11,
            Self::Lost { .. } => 12,
        }
    }

    /// The name in the stream.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.number()]
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `CLOCK_BOOTTIME` at the event, ns.
    pub boot_ns: u64,
    /// The socket keys; `None` for events of no socket.
    pub socket: Option<Socket<'a>>,
    /// What happened.
    pub kind: Kind<'a>,
}

/// Takes the stream, in order.
pub trait Sink {
    /// Takes one event.
    fn event(&mut self, event: &Event<'_>);
}

/// An address and port, in canonical form: `10.0.0.1:80`, `[2001:db8::1]:80`, `[fe80::1%2]:80`,
/// `*` for what is not known.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Address.
    pub addr: Option<IpAddr>,
    /// Port.
    pub port: Option<u16>,
    /// Scope of a link-local address.
    pub ifindex: Option<u32>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr, self.ifindex) {
            (None, _) => f.write_str("*")?,
            (Some(IpAddr::V4(addr)), _) => write!(f, "{addr}")?,
            (Some(IpAddr::V6(addr)), Some(ifindex)) if addr.is_unicast_link_local() => write!(f, "[{addr}%{ifindex}]")?,
            (Some(IpAddr::V6(addr)), _) => write!(f, "[{addr}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

/// The address in `words` (as in a record) of a socket of `family` (4 or 6), and whether it is a
/// v4-mapped one.
#[must_use]
pub fn address(family: u8, words: [u32; 4]) -> (IpAddr, bool) {
    let [first, second, third, last] = words.map(u32::from_be);
    if family == 4 {
        return (IpAddr::V4(Ipv4Addr::from_bits(first)), false);
    }
    let high = u128::from(first) << 96 | u128::from(second) << 64;
    let v6 = Ipv6Addr::from_bits(high | u128::from(third) << 32 | u128::from(last));
    match v6.to_ipv4_mapped() {
        Some(v4) => (IpAddr::V4(v4), true),
        None => (IpAddr::V6(v6), false),
    }
}
