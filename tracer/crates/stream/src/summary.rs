//! The summary of a trace, as data.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::{Close, Finding, Verdict};

/// The cost of a BPF program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramCost {
    /// Its name.
    pub name: String,
    /// Its run time, ns; `None` where the kernel does not count (`kernel.bpf_stats_enabled`).
    pub run_ns: Option<u64>,
    /// The number of its runs.
    pub runs: Option<u64>,
    /// The number of calls in which the kernel could not run it (recursion).
    pub missed: Option<u64>,
}

/// The cost of tracing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The programs in the kernel.
    pub programs: Vec<ProgramCost>,
    /// CPU time of tracer itself, user and system: whole microseconds.
    #[serde(serialize_with = "six_decimals", deserialize_with = "microseconds")]
    #[schemars(with = "Option<f64>")]
    pub cpu_seconds: f64,
    /// Peak resident memory.
    pub peak_rss_bytes: u64,
}

/// The outcome of all calls of one hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The hook.
    pub hook: String,
    /// Its calls, counted by a program for that purpose alone.
    pub happened: u64,
    /// Calls with a record that arrived.
    pub delivered: u64,
    /// Calls that were not wanted: by the user's filter, or because there was nothing to report.
    pub filtered: u64,
    /// Those of `filtered` without anything to report: no TCP socket, an unwanted transition, or one that another hook
    /// reports.
    pub aside: u64,
    /// Calls that were counted together with equal ones, and reported together.
    pub folded: u64,
    /// Calls without room for their record.
    pub lost: u64,
    /// Calls that the kernel kept from the programs.
    pub missed: u64,
    /// Calls that may or may not belong to the audit: the kernel kept them from a program at its begin or end.
    pub edges: u64,
    /// Every call is accounted for.
    pub exact: bool,
}

/// The use of a ring between kernel and tracer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RingUse {
    /// Its name.
    #[serde(rename = "ring")]
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The most bytes that waited in it.
    pub highest: u64,
    /// Records that the kernel side put into it; known with `--audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u64>,
    /// Records that came out of it.
    pub received: u64,
}

/// Counts of things seen in part. For sockets, the `close` has `incomplete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incomplete {
    /// Sockets that the kernel side had no room to follow from their beginning.
    pub sockets_untracked: u64,
    /// Sockets whose transition to `CLOSE` was missed; tracer saw their end when they were destroyed.
    pub closes_recovered: u64,
    /// connect() calls without room for a note: tracer does not report them if they failed.
    pub calls_unnoted: u64,
    /// Kernel stacks of drops that the kernel could not take or keep.
    pub stacks_missing: u64,
    /// Events that support a finding, beyond the number of distinct cases.
    pub findings_untold: u64,
    /// Drops for which tracer gave up finding the rule, queueing discipline or next hop.
    pub hints_given_up: u64,
    /// How often another network namespace got the name that `--netns` gives.
    pub namespaces_renewed: u64,
}

impl Incomplete {
    /// Returns name in the stream, count, and a sentence with meaning and remedy.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64, &'static str); 7] {
        [
            (
                "sockets_untracked",
                self.sockets_untracked,
                "sockets were not followed: use a larger --sockets, or filters",
            ),
            ("closes_recovered", self.closes_recovered, "ends were seen late, without their cause"),
            (
                "calls_unnoted",
                self.calls_unnoted,
                "connect() calls are not shown if they failed before a SYN: too many ran at once",
            ),
            ("stacks_missing", self.stacks_missing, "kernel stacks of drops could not be taken or kept"),
            (
                "findings_untold",
                self.findings_untold,
                "events supported findings that are not shown: too many different ones",
            ),
            (
                "hints_given_up",
                self.hints_given_up,
                "drops lack the rule or queue: there were too many drops, or too many rules",
            ),
            (
                "namespaces_renewed",
                self.namespaces_renewed,
                "times another network namespace got the name: events of its first moments are missing",
            ),
        ]
    }
}

/// The connections of one process or to one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The process or destination. Hostile bytes.
    pub name: String,
    /// Connections that ended.
    pub connections: u64,
    /// Of these, the failed ones.
    pub failed: u64,
    /// Payload sent and acknowledged.
    pub tx_bytes: u64,
    /// Payload received.
    pub rx_bytes: u64,
}

impl Row {
    /// Adds a connection that ended.
    pub fn add(&mut self, close: &Close) {
        self.connections += 1;
        // As `--failed` selects: includes connections that ended well and were never answered.
        self.failed += u64::from(close.is_failure());
        self.tx_bytes = self.tx_bytes.saturating_add(close.tx_bytes.unwrap_or(0));
        self.rx_bytes = self.rx_bytes.saturating_add(close.rx_bytes.unwrap_or(0));
    }
}

/// The end of a trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// Length of the trace.
    pub duration_ns: u64,
    /// Events shown, by kind.
    #[serde(serialize_with = "counts")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub events: Vec<(&'static str, u64)>,
    /// Events that could not be delivered, by class.
    #[serde(serialize_with = "counts")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub lost: Vec<(&'static str, u64)>,
    /// Counts of things seen in part.
    pub incomplete: Incomplete,
    /// Events that a filter left out, in the kernel or here.
    pub filtered: u64,
    /// Connections (not listeners) that ended or were open at the end.
    pub connections: u64,
    /// Connections that ended without an answer (`unanswered`), whatever their verdict.
    pub unanswered: u64,
    /// The findings.
    pub findings: Vec<Finding>,
    /// Connections by verdict.
    #[serde(serialize_with = "counts")]
    #[schemars(with = "BTreeMap<Verdict, u64>")]
    pub verdicts: Vec<(Verdict, u64)>,
    /// Dropped packets, by reason.
    #[serde(serialize_with = "counts")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub drops: Vec<(String, u64)>,
    /// Discards that only the kernel's counters show, by counter.
    #[serde(serialize_with = "counts")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub discards: Vec<(&'static str, u64)>,
    /// Cost.
    pub cost: Cost,
    /// The use of the rings.
    pub rings: Vec<RingUse>,
    /// The account of each hook, with `--audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Vec<Account>>,
    /// Hooks without a second count, and why, with `--audit`.
    #[serde(serialize_with = "unaudited", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Unaudited<'static>>")]
    pub unaudited: Option<Vec<(String, String)>>,
    /// Each hook and its backend.
    #[serde(serialize_with = "counts")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub backends: Vec<(String, String)>,
    /// Missing features, and why.
    #[serde(serialize_with = "degraded")]
    #[schemars(with = "Vec<Degraded<'static>>")]
    pub degraded: Vec<(String, String)>,
    /// The processes with most connections; in text only.
    #[serde(skip)]
    pub processes: Vec<Row>,
    /// The destinations with most connections from here; in text only.
    #[serde(skip)]
    pub destinations: Vec<Row>,
}

impl Summary {
    /// Returns the number of lost events.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }
}

/// Writes pairs as the members of an object, in their order.
fn counts<K: Serialize, V: Serialize, S: Serializer>(pairs: &[(K, V)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

fn six_decimals<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if !seconds.is_finite() {
        return serializer.serialize_none();
    }
    RawValue::from_string(format!("{seconds:.6}")).map_err(S::Error::custom)?.serialize(serializer)
}

/// Reads seconds; whole microseconds come back as they were ([`Cost::cpu_seconds`]).
fn microseconds<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok((f64::deserialize(from)? * 1e6).round() / 1e6)
}

/// A hook without a second count.
#[derive(Serialize, JsonSchema)]
struct Unaudited<'a> {
    /// The hook.
    hook: &'a str,
    /// Why it has none.
    why: &'a str,
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn unaudited<S: Serializer>(unaudited: &Option<Vec<(String, String)>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(unaudited.iter().flatten().map(|(hook, why)| Unaudited { hook, why }))
}

/// A feature that this host lacks.
#[derive(Serialize, JsonSchema)]
struct Degraded<'a> {
    /// Its name.
    name: &'a str,
    /// Why it is missing, and what that costs.
    why: &'a str,
}

fn degraded<S: Serializer>(degraded: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(degraded.iter().map(|(name, why)| Degraded { name, why }))
}
