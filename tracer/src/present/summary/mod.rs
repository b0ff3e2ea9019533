//! The summary of a trace.

mod json;
mod tally;
mod text;

pub use tally::{Row, Tally};

use crate::stream::{Finding, Verdict};

/// The cost of a BPF program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// The programs in the kernel.
    pub programs: Vec<ProgramCost>,
    /// CPU time of tracer itself, user and system.
    pub cpu_seconds: f64,
    /// Peak resident memory.
    pub peak_rss_bytes: u64,
}

/// The account of a hook, with `--audit`.
pub type Audit = crate::kernel::audit::Account;

/// The use of a ring between kernel and tracer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingUse {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// The most bytes that waited in it.
    pub highest: u64,
    /// Records that the kernel side put into it; known with `--audit`.
    pub taken: Option<u64>,
    /// Records that came out of it.
    pub received: u64,
}

/// Counts of things seen in part. For sockets, the `close` has `incomplete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// The end of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Length of the trace.
    pub duration_ns: u64,
    /// Events shown, by kind.
    pub events: Vec<(&'static str, u64)>,
    /// Events that could not be delivered, by class.
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
    pub verdicts: Vec<(Verdict, u64)>,
    /// Dropped packets, by reason.
    pub drops: Vec<(String, u64)>,
    /// Discards that only the kernel's counters show, by counter.
    pub discards: Vec<(&'static str, u64)>,
    /// Cost.
    pub cost: Cost,
    /// The use of the rings.
    pub rings: Vec<RingUse>,
    /// The account of each hook, with `--audit`.
    pub audit: Option<Vec<Audit>>,
    /// Hooks without a second count, and why.
    pub unaudited: Vec<(&'static str, String)>,
    /// Each hook and its backend.
    pub backends: Vec<(String, String)>,
    /// Missing features, and why.
    pub degraded: Vec<(String, String)>,
    /// The processes with most connections; in text only.
    pub processes: Vec<Row>,
    /// The destinations with most connections from here; in text only.
    pub destinations: Vec<Row>,
}

impl Summary {
    /// Returns the number of lost events.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
pub(super) fn sample() -> Summary {
    Summary {
        duration_ns: 12_400_000_000,
        events: vec![("connect", 1204), ("close", 1204)],
        lost: Vec::new(),
        incomplete: Incomplete::default(),
        filtered: 88,
        connections: 1204,
        unanswered: 0,
        verdicts: vec![(Verdict::ClosedLocal, 1192), (Verdict::Refused, 12)],
        findings: Vec::new(),
        drops: Vec::new(),
        discards: Vec::new(),
        cost: Cost {
            programs: vec![
                ProgramCost {
                    name: "inet_sock_set_state".into(),
                    run_ns: Some(366_000_000),
                    runs: Some(1_000_000),
                    missed: Some(0),
                },
                ProgramCost { name: "sys_exit_connect".into(), run_ns: None, runs: None, missed: None },
            ],
            cpu_seconds: 1.25,
            peak_rss_bytes: 23_400_000,
        },
        rings: vec![RingUse { name: "events", bytes: 8 << 20, highest: 70_000, taken: None, received: 2408 }],
        audit: None,
        unaudited: Vec::new(),
        backends: vec![("state".into(), "tp_btf".into()), ("connect".into(), "syscall".into())],
        degraded: vec![("fentry".into(), "the kernel refused to load the program: EPERM".into())],
        processes: vec![Row {
            name: "evil\x1b[2J[4121]".into(),
            connections: 1204,
            failed: 12,
            tx_bytes: 1_234_567,
            rx_bytes: 345,
        }],
        destinations: vec![Row {
            name: "10.0.0.5:443".into(),
            connections: 1204,
            failed: 12,
            tx_bytes: 1_234_567,
            rx_bytes: 345,
        }],
    }
}
