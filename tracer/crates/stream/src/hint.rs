//! Details of the place that dropped a packet.

use schemars::JsonSchema;
use serde::Serialize;

/// The detail behind the reason: the rule, the queueing discipline, the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// In a few words. Hostile bytes.
    pub text: String,
    /// The rule of nftables, if it is certain.
    pub nft: Option<Nft>,
    /// The rules and policies of nftables that it may be, the first few, if several are possible.
    pub candidates: Vec<Nft>,
    /// The queueing discipline, if it is certain.
    pub qdisc: Option<Discipline>,
    /// Entries and limit of the conntrack table, if it was full and may be what dropped the packet.
    pub full_conntrack: Option<(u64, u64)>,
    /// The search for it reached a limit.
    pub undecided: bool,
}

/// A rule of nftables, or the policy of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Nft {
    /// `ip`, `ip6`, `inet` …
    pub family: &'static str,
    /// Hostile bytes.
    pub table: String,
    /// Hostile bytes.
    pub chain: String,
    /// The rule's number; `None` for the chain's policy.
    pub handle: Option<u64>,
    /// The rule, close to how nft writes it; `None` for the policy. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Discipline {
    /// `fq_codel`, `tbf` …
    pub kind: String,
    /// As `tc` writes it, `8001:`.
    pub handle: String,
}

impl Hint {
    /// A hint of words alone.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}
