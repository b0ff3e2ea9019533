//! What the core's events do not show of a trace: the account of the kernel side, and of tracer itself, at its end.

use serde::{Deserialize, Serialize};
use tracer_stream::summary::{Account, Cost, Incomplete, RingUse, Summary};

/// Losses, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lost {
    /// Lifecycle records.
    pub lifecycle: u64,
    /// Process records.
    pub process: u64,
    /// Dropped packets without any record.
    pub drop: u64,
    /// Retransmissions and resets.
    pub segment: u64,
    /// Runs of a program that the kernel skipped.
    pub missed: u64,
    /// Records that could not be decoded.
    pub undecoded: u64,
}

impl Lost {
    /// The losses by their names in the stream.
    #[must_use]
    pub const fn classes(&self) -> [(&'static str, u64); 6] {
        [
            ("lifecycle", self.lifecycle),
            ("process", self.process),
            ("drop", self.drop),
            ("segment", self.segment),
            ("missed", self.missed),
            ("undecoded", self.undecoded),
        ]
    }

    /// Whether anything was lost.
    #[must_use]
    pub fn any(&self) -> bool {
        self.classes().iter().any(|(_, count)| *count > 0)
    }
}

/// The account of a whole trace. The core adds its own counts to it ([`Core::into_summary`](super::Core::into_summary)).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceAccount {
    /// Length of the trace.
    pub duration_ns: u64,
    /// The losses.
    pub lost: Lost,
    /// Counts of things that the kernel side saw in part.
    pub incomplete: Incomplete,
    /// Events hidden by filters in the kernel.
    pub filtered: u64,
    /// Cost.
    pub cost: Cost,
    /// The use of the rings.
    pub rings: Vec<RingUse>,
    /// The account of each hook, with an audit.
    pub audit: Option<Vec<Account>>,
    /// Hooks without a second count, and why, with an audit.
    pub unaudited: Option<Vec<(String, String)>>,
    /// Each hook and its backend.
    pub backends: Vec<(String, String)>,
    /// Missing features, and why.
    pub degraded: Vec<(String, String)>,
}

impl TraceAccount {
    /// A summary that has this account alone.
    pub(super) fn into_summary(self) -> Summary {
        Summary {
            duration_ns: self.duration_ns,
            lost: self.lost.classes().into_iter().filter(|(_, count)| *count > 0).collect(),
            incomplete: self.incomplete,
            filtered: self.filtered,
            cost: self.cost,
            rings: self.rings,
            audit: self.audit,
            unaudited: self.unaudited,
            backends: self.backends,
            degraded: self.degraded,
            ..Summary::default()
        }
    }
}
