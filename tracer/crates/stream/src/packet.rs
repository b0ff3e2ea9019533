//! Events of packets.

use std::{net::IpAddr, rc::Rc};

use tracer_common::drops::Direction;

use super::Hint;

/// The meaning of a drop for the receiver of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropClass {
    /// The receiver misses it: it has to be sent again, or is lost for good.
    Loss,
    /// A rule forbids it.
    Policy,
    /// Its destination has no socket for it.
    Refused,
    /// A remnant of a connection that is over.
    Teardown,
    /// Its loss is harmless.
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

    /// Whether the text output leaves it out by default.
    #[must_use]
    pub const fn is_quiet(self) -> bool {
        matches!(self, Self::Teardown | Self::Noise)
    }
}

/// The name of a direction; `None` if unknown.
#[must_use]
pub const fn direction(direction: Direction) -> Option<&'static str> {
    match direction {
        Direction::In => Some("in"),
        Direction::Out => Some("out"),
        Direction::Forward => Some("forward"),
        Direction::Unknown => None,
    }
}

/// Source and destination of a packet, from its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketEnds {
    /// Source address.
    pub saddr: IpAddr,
    /// Source port; `None` if the protocol has none, or the packet lacks it.
    pub sport: Option<u16>,
    /// Destination address.
    pub daddr: IpAddr,
    /// Destination port.
    pub dport: Option<u16>,
}

/// The kernel's stack at a drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stack {
    /// It was not asked for.
    #[default]
    NotAsked,
    /// It could not be taken, kept or named.
    Missing,
    /// `function+0xoffset`, from the call that dropped the packet outwards. Of several packets, the stack of one of
    /// them.
    Known(Rc<[Rc<str>]>),
}

/// A packet, or several equal ones, that the kernel dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Name of the reason; `None` if this kernel gives none: then `symbol` replaces it.
    pub reason: Option<Rc<str>>,
    /// Its number in the running kernel.
    pub reason_id: Option<u32>,
    /// Its meaning.
    pub class: DropClass,
    /// Address of the call that dropped it; `None` where addresses are hidden.
    pub location: Option<u64>,
    /// The same as `function+0xoffset`.
    pub symbol: Option<Rc<str>>,
    /// Name of the device. Hostile bytes.
    pub iface: Option<Rc<str>>,
    /// Inode number of the network namespace of the packet: the device's, or the socket's while the packet has no
    /// device. `None` if both are unknown.
    pub netns: Option<u32>,
    /// The socket's namespace; `None` without a socket.
    pub socket_netns: Option<u32>,
    /// Direction of the packet.
    pub direction: Direction,
    /// Bytes, from the network header on.
    pub len: u32,
    /// `tcp`, `udp`, `icmp` …; `None` if it is no IP packet.
    pub protocol: Option<&'static str>,
    /// `None` if it is no IP packet.
    pub ends: Option<PacketEnds>,
    /// TCP flags.
    pub tcp_flags: Option<u8>,
    /// TCP sequence number.
    pub seq: Option<u32>,
    /// Type and code of ICMP.
    pub icmp: Option<(u8, u8)>,
    /// Protocol and ends of the packet that an ICMP error is about.
    pub about: Option<(&'static str, PacketEnds)>,
    /// A fragment of a larger packet.
    pub fragment: bool,
    /// Number of packets.
    pub count: u64,
    /// Time of the first of several.
    pub first_ns: u64,
    /// The packets are known to share only reason and location.
    pub mixed: bool,
    /// The kernel's stack at the drop.
    pub stack: Stack,
    /// Details of the place that dropped it, besides the reason.
    pub hint: Option<Box<Hint>>,
}

impl Drop {
    /// The reason, or its replacement.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.reason.as_deref().or(self.symbol.as_deref()).unwrap_or("unknown")
    }
}

/// The kind of a retransmitted segment.
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
