//! What happens to packets.

use std::{net::IpAddr, rc::Rc};

use tracer_common::drops::Direction;

use super::Hint;

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
    /// Inode number of the network namespace in which the packet was: the device's, or the socket's while the packet has
    /// no device. `None` if neither tells.
    pub netns: Option<u32>,
    /// The socket's namespace; `None` without a socket.
    pub socket_netns: Option<u32>,
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
