//! ICMP errors that ended a connect().

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

/// An ICMP error as in the message, which anyone can send, with any source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmp {
    /// ICMPv6.
    pub v6: bool,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Source address of the message.
    pub from: IpAddr,
}

impl Icmp {
    /// The protocol's name.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        if self.v6 { "ICMPv6" } else { "ICMP" }
    }

    /// Whether it reports a rule, not a missing route or host.
    #[must_use]
    pub const fn is_prohibition(&self) -> bool {
        matches!((self.v6, self.kind, self.code), (false, 3, 9 | 10 | 13) | (true, 1, 1 | 5 | 6))
    }

    /// The meaning of type and code (RFC 792, RFC 1812, RFC 4443); `None` for an unknown code.
    #[must_use]
    pub const fn meaning(&self) -> Option<&'static str> {
        let meaning = match (self.v6, self.kind, self.code) {
            (false, 3, 0) => "network unreachable",
            (false, 3, 1) => "host unreachable",
            (false, 3, 2) => "protocol unreachable",
            (false, 3, 3) | (true, 1, 4) => "port unreachable",
            (false, 3, 4) => "fragmentation needed",
            (false, 3, 5) => "source route failed",
            (false, 3, 6) => "network unknown",
            (false, 3, 7) => "host unknown",
            (false, 3, 8) => "source host isolated",
            (false, 3, 9) => "network prohibited",
            (false, 3, 10) => "host prohibited",
            (false, 3, 11) => "network unreachable for this service",
            (false, 3, 12) => "host unreachable for this service",
            (false, 3, 13) | (true, 1, 1) => "admin prohibited",
            (false, 3, 14) => "precedence violated",
            (false, 3, 15) => "precedence cut off",
            (false, 11, 0) | (true, 3, 0) => "hop limit exceeded",
            (false, 11, 1) | (true, 3, 1) => "reassembly time exceeded",
            (false, 12, _) | (true, 4, 0) => "parameter problem",
            (true, 1, 0) => "no route",
            (true, 1, 2) => "beyond scope",
            (true, 1, 3) => "address unreachable",
            (true, 1, 5) => "source address failed policy",
            (true, 1, 6) => "reject route",
            (true, 4, 1) => "unknown next header",
            (true, 4, 2) => "unknown option",
            _ => return None,
        };
        Some(meaning)
    }
}

/// The object in the stream.
#[derive(Serialize, JsonSchema)]
struct Written {
    /// Type.
    #[serde(rename = "type")]
    kind: u8,
    /// Code.
    code: u8,
    /// The meaning of type and code; `null` for an unknown code.
    meaning: Option<&'static str>,
    /// Source address of the message, which anyone can send with any source.
    from: IpAddr,
}

impl Serialize for Icmp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { kind, code, from, .. } = *self;
        Written { kind, code, meaning: self.meaning(), from }.serialize(serializer)
    }
}

impl JsonSchema for Icmp {
    fn schema_name() -> Cow<'static, str> {
        "icmp".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}
