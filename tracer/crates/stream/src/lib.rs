//! The stream: the core emits it and the presenters print it.
//!
//! The names follow the event schema that users' scripts rely on (docs/stream.md): one
//! [`Event`] here is one line of `--json`. Events borrow from the core's tables, so that nothing is
//! allocated per event.

mod cause;
mod close;
mod diagnosis;
mod discard;
pub mod errno;
mod hint;
mod icmp;
mod kernel;
mod limited;
mod line;
mod packet;
mod process;
mod protocol;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod summary;
mod told;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

pub use self::{
    cause::{Cause, Party, Place, Severity},
    close::{Close, Verdict},
    diagnosis::{Diagnosis, Health},
    discard::Discard,
    hint::{Discipline, Hint, Nft},
    icmp::Icmp,
    kernel::Way,
    limited::{Limit, Limited},
    line::{Line, Report, SocketEvent, VERSION},
    packet::{Drop, DropClass, Location, PacketEnds, Segment, Stack, TcpFlags, direction},
    protocol::protocol,
    told::Told,
};
pub use tracer_common::{drops::Direction, tcp::TcpState};

/// Names one connection in the stream; never reused in one run. A socket that is disconnected and
/// connected again is a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// No connection: for a packet that belongs to none.
    pub const NONE: Self = Self(0);
}

impl Serialize for ConnId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::NONE { serializer.serialize_none() } else { serializer.collect_str(&self.0) }
    }
}

impl JsonSchema for ConnId {
    fn schema_name() -> Cow<'static, str> {
        "conn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Names one connection; `null` for a packet that belongs to none.",
            "type": ["string", "null"],
            "pattern": "^[0-9]+$",
        })
    }
}

/// Which way a connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// This side sent the first SYN.
    Client,
    /// A listener's child.
    Server,
    /// Waits for connections.
    Listener,
    /// Older than the trace, without evidence.
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

/// The source of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerSource {
    /// It called connect().
    Connect,
    /// It called accept().
    Accept,
    /// It called listen().
    Listen,
    /// It called bind().
    Bind,
    /// It holds the socket's file (kernel file table or /proc).
    Fd,
    /// It owns the listener; the connection has not been accepted yet.
    Listener,
    /// The kernel opened it itself, without a process.
    Kernel,
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
            Self::Bind => "bind",
            Self::Fd => "fd",
            Self::Listener => "listener",
            Self::Kernel => "kernel",
            Self::Unknown => "unknown",
        }
    }
}

/// A container, as its cgroup path names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn`, or `unknown` (a pod without a runtime in its path).
    pub runtime: &'static str,
    /// The runtime's id or name of it.
    pub id: String,
    /// The creator of the cgroup need not be a runtime: its parent directory is delegated.
    pub claimed: bool,
}

/// Facts about a process beyond the kernel record, shared by all its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The executable's path, as `/proc/PID/exe` (which ends in ` (deleted)` if it was unlinked since) or the exec event
    /// gave it. Hostile bytes.
    pub exe: Option<String>,
    /// The arguments, 4 KiB of them at the most. Hostile bytes.
    pub cmdline: Option<Vec<String>>,
    /// There were more.
    pub cmdline_cut: bool,
    /// The cgroup path, 4 KiB of it at the most. Hostile bytes.
    pub cgroup: Option<String>,
    /// The container that the cgroup path names.
    pub container: Option<Container>,
    /// The unit of systemd that the cgroup path names.
    pub unit: Option<String>,
    /// The process did not answer in time: the missing facts were not read.
    pub late: bool,
}

/// The process that opened a socket, as it was at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Process id in the initial pid namespace (of `tracer sockets`: in the one that /proc shows).
    pub pid: u32,
    /// The thread that opened the socket; the process's id where only the process is known.
    pub tid: u32,
    /// Effective uid; `None` if unknown.
    pub uid: Option<u32>,
    /// Real uid; `None` if unknown.
    pub real_uid: Option<u32>,
    /// `comm` of the process, which is that of its first thread, at that moment. Hostile bytes.
    pub comm: String,
    /// `comm` of the thread, where it is another one. Hostile bytes.
    pub thread: Option<String>,
    /// Start of the process, `CLOCK_BOOTTIME` ns; `None` if unknown.
    pub start_ns: Option<u64>,
    /// The rest.
    pub facts: Arc<ProcessFacts>,
    /// Its `process` event.
    pub told: Told,
}

/// The keys that all events of a socket share.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Socket<'a> {
    /// The connection.
    pub conn: ConnId,
    /// `"tcp"`.
    pub proto: &'static str,
    /// 4 or 6, the socket's family.
    #[serde(serialize_with = "family")]
    #[schemars(with = "Option<u8>", extend("enum" = [4, 6, null]))]
    pub family: u8,
    /// An IPv6 socket that talks IPv4: the addresses are IPv4.
    #[serde(skip_serializing_if = "is_false")]
    pub v4mapped: bool,
    /// A listening socket of IPv6 at any address takes no IPv4 (`IPV6_V6ONLY`); `None` if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v6only: Option<bool>,
    /// A subflow of an MPTCP connection.
    #[serde(skip_serializing_if = "is_false")]
    pub mptcp: bool,
    /// Local address; `None` while the socket has none.
    pub laddr: Option<IpAddr>,
    /// Local port; `None` while none is bound.
    pub lport: Option<u16>,
    /// Remote address; `None` for listeners.
    pub raddr: Option<IpAddr>,
    /// Remote port; `None` for listeners.
    pub rport: Option<u16>,
    /// Interface that scopes link-local addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifindex: Option<u32>,
    /// Inode number of the network namespace; of a drop, the one in which the packet was dropped.
    pub netns: Option<u32>,
    /// Of a drop: the namespace of its socket, where the packet was dropped in another one.
    #[serde(skip)]
    pub home: Option<u32>,
    /// Role.
    pub role: Role,
    /// Owner; `None` if unknown.
    pub owner: Option<&'a Owner>,
    /// Source of the owner.
    pub owner_source: OwnerSource,
    /// Other processes that are known to hold the socket now.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub holders: &'a [u32],
}

/// A conclusion from several events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The rule's name.
    pub name: &'static str,
    /// The sentence. It contains hostile bytes (names of processes and devices).
    pub text: String,
    /// Packets or connections, depending on the rule.
    pub count: u64,
    /// Commands for further diagnosis. They may contain hostile bytes (names of devices).
    pub look: Vec<Cow<'static, str>>,
    /// The first events that support it.
    pub evidence: Vec<Evidence>,
}

/// An event that supports a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// The event's kind.
    pub event: &'static str,
    /// Its connection; [`ConnId::NONE`] if it has none.
    pub conn: ConnId,
    /// Its time.
    pub boot_ns: u64,
}

/// The kind of an event, with its data.
///
/// The line has the kind's name before its time, so the data itself carries no tag; its schema does.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(!untagged, tag = "event", rename_all = "snake_case")]
pub enum Kind<'a> {
    /// A socket starts listening.
    Listen {
        /// `sk_max_ack_backlog`.
        backlog: Option<u32>,
    },
    /// connect(), also one that fails at once.
    Connect {
        /// Positive, if connect() failed at once.
        #[serde(serialize_with = "errno::optional", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<errno::Errno>")]
        errno: Option<i32>,
    },
    /// The handshake is done.
    Established {
        /// Client: SYN to ESTABLISHED.
        connect_us: Option<u64>,
    },
    /// accept() returned it to a process.
    Accept {
        /// ESTABLISHED to accept().
        accept_wait_us: Option<u64>,
    },
    /// The socket existed before the trace.
    Open {
        /// Its state in the snapshot.
        #[serde(serialize_with = "kernel::state")]
        #[schemars(with = "kernel::State")]
        state: TcpState,
    },
    /// A transition.
    State {
        /// Before.
        #[serde(serialize_with = "kernel::state")]
        #[schemars(with = "kernel::State")]
        old: TcpState,
        /// After.
        #[serde(serialize_with = "kernel::state")]
        #[schemars(with = "kernel::State")]
        new: TcpState,
        /// Time spent in `old`.
        state_us: Option<u64>,
    },
    /// The kernel reported an error on the socket, or accept() failed on a listener.
    Error {
        /// Positive.
        #[serde(serialize_with = "errno::named")]
        #[schemars(with = "errno::Errno")]
        errno: i32,
        /// How many accept() calls of the owner failed with it since the last such event; `None` if it is no such
        /// error.
        #[serde(flatten, serialize_with = "failed_accepts")]
        #[schemars(with = "Option<Accepts>")]
        accepts: Option<u64>,
    },
    /// bind() failed.
    Bind {
        /// Positive.
        #[serde(serialize_with = "errno::named")]
        #[schemars(with = "errno::Errno")]
        errno: i32,
        /// The owner of the listener there.
        held_by: Option<&'a Owner>,
    },
    /// The socket is done.
    Close(&'a Close),
    /// A segment was retransmitted.
    Retransmit {
        /// State of the socket; `None` if unknown.
        #[serde(serialize_with = "kernel::optional_state")]
        #[schemars(with = "Option<kernel::State>")]
        state: Option<TcpState>,
        /// Kind of segment.
        what: Segment,
        /// Its sequence number.
        seq: Option<u32>,
    },
    /// RST was sent or received.
    Reset {
        /// Received, not sent.
        #[serde(rename = "direction", serialize_with = "course")]
        #[schemars(with = "Course")]
        received: bool,
        /// The reason why it was sent, if the kernel gives one.
        reason: Option<&'a str>,
    },
    /// The kernel dropped a packet.
    Drop(&'a Drop),
    /// The kernel's counters show discarded packets without a tracepoint event.
    Discard(&'a Discard),
    /// A conclusion from several events: emitted once, when the evidence suffices.
    Finding(&'a Finding),
    /// Events of one class could not be delivered.
    Lost {
        /// `lifecycle`, `process` …
        class: &'static str,
        /// Number of events since the last such event.
        count: u64,
    },
    /// The known facts of a process, before its first event.
    #[serde(serialize_with = "process::whole")]
    #[schemars(with = "process::Process<'static>")]
    Process(&'a Owner),
}

impl Kind<'_> {
    /// The kinds by their names in the stream, which `--event` takes.
    pub const NAMES: [&'static str; 16] = [
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
        "discard",
        "bind",
        "process",
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
            Self::Discard(_) => 13,
            Self::Bind { .. } => 14,
            Self::Process(_) => 15,
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
    /// Kind and data.
    pub kind: Kind<'a>,
}

/// Of the error of accept() calls.
#[derive(Serialize, JsonSchema)]
struct Accepts {
    /// `accept`.
    call: &'static str,
    /// How many calls of the owner failed with it since the last such event.
    count: u64,
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn failed_accepts<S: Serializer>(accepts: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    accepts.map(|count| Accepts { call: "accept", count }).serialize(serializer)
}

/// The way of a RST.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Course {
    Sent,
    Received,
}

fn course<S: Serializer>(received: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    if *received { Course::Received } else { Course::Sent }.serialize(serializer)
}

fn family<S: Serializer>(family: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    Some(*family).filter(|family| *family != 0).serialize(serializer)
}

/// Whether a flag is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference to the field")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Takes the stream, in order.
pub trait Sink {
    /// Takes one event.
    fn event(&mut self, event: &Event<'_>);
}

/// An address and port, in canonical form: `10.0.0.1:80`, `[2001:db8::1]:80`, `[fe80::1%2]:80`, `*` for unknown parts.
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
