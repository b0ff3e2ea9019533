//! Events of packets.

use std::{borrow::Cow, net::IpAddr, rc::Rc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tracer_common::drops::Direction;

use super::{Discipline, Hint, Nft, Way, is_false};

/// The meaning of a drop for the receiver of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
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

/// A drop as an object of the stream.
#[derive(Serialize, JsonSchema)]
struct Written<'a> {
    /// Name of the reason; `null` if this kernel gives none: then `symbol` replaces it.
    reason: Option<&'a str>,
    /// Its number in the running kernel.
    reason_id: Option<u32>,
    /// Its meaning.
    class: DropClass,
    /// Address of the call that dropped it; `null` where addresses are hidden.
    location: Option<Location>,
    /// The same as `function+0xoffset`.
    symbol: Option<&'a str>,
    /// Name of the device.
    iface: Option<&'a str>,
    /// Direction of the packet.
    direction: Way,
    /// The socket's namespace; missing without a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_netns: Option<u32>,
    /// Bytes, from the network header on.
    len: u32,
    /// `tcp`, `udp`, `icmp` …; `null` if it is no IP packet.
    protocol: Option<&'static str>,
    #[serde(flatten)]
    ends: Option<&'a PacketEnds>,
    #[serde(flatten)]
    tcp: Option<Tcp>,
    #[serde(flatten)]
    icmp: Option<IcmpHeader>,
    /// The packet that an ICMP error is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<About<'a>>,
    /// A fragment of a larger packet.
    #[serde(skip_serializing_if = "is_false")]
    fragment: bool,
    #[serde(flatten)]
    folded: Option<Folded>,
    /// The packets are known to share only reason and location.
    #[serde(skip_serializing_if = "is_false")]
    mixed: bool,
    /// The kernel's stack at the drop; missing if it was not asked for.
    #[serde(skip_serializing_if = "Stack::is_not_asked")]
    stack: &'a Stack,
    /// Details of the place that dropped it, besides the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    /// The rule of nftables, if it is certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    nft: Option<&'a Nft>,
    /// The queueing discipline, if it is certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    qdisc: Option<&'a Discipline>,
}

#[derive(Serialize, JsonSchema)]
struct Tcp {
    /// TCP flags, as tcpdump writes them.
    tcp_flags: TcpFlags,
    /// TCP sequence number.
    seq: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct IcmpHeader {
    /// Type.
    icmp_type: u8,
    /// Code.
    icmp_code: u8,
}

#[derive(Serialize, JsonSchema)]
struct About<'a> {
    /// Its protocol.
    protocol: &'static str,
    #[serde(flatten)]
    ends: &'a PacketEnds,
}

#[derive(Serialize, JsonSchema)]
struct Folded {
    /// Number of packets.
    count: u64,
    /// `CLOCK_BOOTTIME` of the first, ns.
    first_boot_ns: u64,
}

impl Serialize for Drop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hint = self.hint.as_deref();
        let written = Written {
            reason: self.reason.as_deref(),
            reason_id: self.reason_id,
            class: self.class,
            location: self.location.map(Location),
            symbol: self.symbol.as_deref(),
            iface: self.iface.as_deref(),
            direction: Way(self.direction),
            socket_netns: self.socket_netns,
            len: self.len,
            protocol: self.protocol,
            ends: self.ends.as_ref(),
            tcp: self.tcp_flags.map(|flags| Tcp { tcp_flags: TcpFlags(flags), seq: self.seq }),
            icmp: self.icmp.map(|(kind, code)| IcmpHeader { icmp_type: kind, icmp_code: code }),
            about: self.about.as_ref().map(|(protocol, ends)| About { protocol, ends }),
            fragment: self.fragment,
            folded: (self.count != 1).then_some(Folded { count: self.count, first_boot_ns: self.first_ns }),
            mixed: self.mixed,
            stack: &self.stack,
            hint: hint.map(|hint| hint.text.as_str()),
            nft: hint.and_then(|hint| hint.nft.as_ref()),
            qdisc: hint.and_then(|hint| hint.qdisc.as_ref()),
        };
        written.serialize(serializer)
    }
}

impl JsonSchema for Drop {
    fn schema_name() -> Cow<'static, str> {
        "dropped".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}

impl Stack {
    /// Whether the user did not ask for it.
    #[must_use]
    pub const fn is_not_asked(&self) -> bool {
        matches!(self, Self::NotAsked)
    }
}

impl Serialize for Stack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::NotAsked | Self::Missing => serializer.serialize_none(),
            Self::Known(frames) => frames.serialize(serializer),
        }
    }
}

impl JsonSchema for Stack {
    fn schema_name() -> Cow<'static, str> {
        "stack".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The kernel's calls that led to the drop, innermost first; `null` if they could not be had.",
            "type": ["array", "null"],
            "items": { "type": "string" },
        })
    }
}

/// The address of a call.
#[derive(Clone, Copy, Debug)]
pub struct Location(pub u64);

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl JsonSchema for Location {
    fn schema_name() -> Cow<'static, str> {
        "location".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]+$" })
    }
}

/// TCP flags as tcpdump writes them: `S`, `S.`, `P.`, `F.`, `R`.
#[derive(Clone, Copy, Debug)]
pub struct TcpFlags(pub u8);

impl std::fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;

        if self.0 == 0 {
            return f.write_str("none");
        }
        for (bit, letter) in [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (32, 'U'), (64, 'E'), (128, 'W'), (16, '.')] {
            if self.0 & bit != 0 {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for TcpFlags {
    fn schema_name() -> Cow<'static, str> {
        "tcp_flags".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "TCP flags, as tcpdump writes them: `S`, `S.`, `P.`, `F.`, `R`.",
            "type": "string",
            "pattern": "^(none|S?F?R?P?U?E?W?[.]?)$",
        })
    }
}

/// The kind of a retransmitted segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// SYN.
    Syn,
    /// SYN-ACK.
    #[serde(rename = "synack")]
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
