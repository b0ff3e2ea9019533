//! A cause: what is wrong, with whom, where, and whose doing it is.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

/// The harm that a cause does, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Connections or requests fail.
    Failure,
    /// They succeed, but late.
    Slow,
    /// A rule forbids something, and no program of this host is known to suffer.
    Policy,
    /// Nothing that anybody needs fails.
    Harmless,
}

impl Severity {
    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Slow => "slow",
            Self::Policy => "policy",
            Self::Harmless => "harmless",
        }
    }
}

/// A process that suffers from a cause, or is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Party {
    /// Process id.
    pub pid: u32,
    /// Its name. Hostile bytes.
    pub comm: String,
    /// The container that its cgroup path names. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The unit of systemd. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Inode number of the network namespace of its socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.comm, self.pid)
    }
}

/// The place of a cause. Unknown and inapplicable parts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub struct Place {
    /// Inode number of the network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Its name. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns_name: Option<String>,
    /// The device. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<String>,
    /// The rule of the firewall: family, table, chain, handle and text. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The queueing discipline, with its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qdisc: Option<String>,
    /// The listener, `ADDRESS:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The kernel's reason or counter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The address that an ICMP error came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
}

/// A conclusion of `tracer why`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Cause {
    /// Its rank: 1 is the first. 0 before the ranking.
    pub rank: u32,
    /// The rule's name.
    pub name: &'static str,
    /// One sentence: who suffers, from what, where, whose doing it is. Hostile bytes.
    pub text: String,
    /// The harm.
    pub severity: Severity,
    /// The evidence decides it. Else another explanation is possible.
    pub certain: bool,
    /// The processes that suffer, the first few.
    pub sufferers: Vec<Party>,
    /// The processes whose doing it is, the first few.
    pub culprits: Vec<Party>,
    /// The place.
    #[serde(rename = "where")]
    pub place: Place,
    /// The other end of the connections that suffer, `ADDRESS:PORT`.
    pub peer: Option<String>,
    /// Connections, packets or calls, depending on the rule.
    pub count: u64,
    /// The share of the sufferers' connections to that peer that suffer, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Up to three sentences. Hostile bytes.
    pub evidence: Vec<String>,
    /// Commands that show or mend it. Hostile bytes.
    pub next: Vec<String>,
}

impl Cause {
    /// A cause without details.
    #[must_use]
    pub const fn new(name: &'static str, severity: Severity, text: String) -> Self {
        Self {
            rank: 0,
            name,
            text,
            severity,
            certain: false,
            sufferers: Vec::new(),
            culprits: Vec::new(),
            place: Place {
                netns: None,
                netns_name: None,
                iface: None,
                rule: None,
                qdisc: None,
                listener: None,
                reason: None,
                from: None,
            },
            peer: None,
            count: 0,
            share: None,
            evidence: Vec::new(),
            next: Vec::new(),
        }
    }
}
