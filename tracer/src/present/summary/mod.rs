//! What was seen in the end.

mod json;
mod tally;
mod text;

pub use tally::{Row, Tally};

use crate::stream::{Finding, Verdict};

/// What a BPF program cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name.
    pub name: String,
    /// Time in it, ns; `None` where the kernel does not count (`kernel.bpf_stats_enabled`).
    pub run_ns: Option<u64>,
    /// How often it ran.
    pub runs: Option<u64>,
    /// How often the kernel could not run it (recursion).
    pub missed: Option<u64>,
}

/// What tracing cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// In the kernel.
    pub programs: Vec<ProgramCost>,
    /// CPU time of tracer itself, user and system.
    pub cpu_seconds: f64,
    /// Most memory that it had resident.
    pub peak_rss_bytes: u64,
}

/// What became of all that happened at one hook, with `--audit`.
pub type Audit = crate::kernel::audit::Account;

/// What passed through a ring between kernel and tracer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingUse {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Bytes that waited in it at the most.
    pub highest: u64,
    /// Records that the kernel side put into it; known with `--audit`.
    pub taken: Option<u64>,
    /// Records that came out of it.
    pub received: u64,
}

/// What was seen, but not all of it. Of sockets the `close` says `incomplete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incomplete {
    /// There was no room to follow them, from their beginning.
    pub sockets_untracked: u64,
    /// Their transition to `CLOSE` was missed; the end was seen when they were destroyed.
    pub closes_recovered: u64,
    /// connect() calls that may have failed untold: there was no room for a note of them.
    pub calls_unnoted: u64,
    /// Kernel stacks of drops that could not be taken or kept.
    pub stacks_missing: u64,
    /// Events that speak for a finding, of cases beyond those that are told apart.
    pub findings_untold: u64,
    /// Drops of which it was not found out which rule, queueing discipline or next hop it was.
    pub hints_given_up: u64,
    /// How often another network namespace got the name that `--netns` asks for.
    pub namespaces_renewed: u64,
}

impl Incomplete {
    /// By their names in the stream, each with what it means and what helps.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64, &'static str); 7] {
        [
            (
                "sockets_untracked",
                self.sockets_untracked,
                "sockets were not followed: use a larger --sockets, or filters",
            ),
            ("closes_recovered", self.closes_recovered, "ends were seen late, and not how they came about"),
            (
                "calls_unnoted",
                self.calls_unnoted,
                "connect() calls, if they failed before a SYN was sent, are not told: too many were under way",
            ),
            ("stacks_missing", self.stacks_missing, "kernel stacks of drops could not be taken, or not be kept"),
            (
                "findings_untold",
                self.findings_untold,
                "events spoke for findings that are not told: there are too many different ones",
            ),
            (
                "hints_given_up",
                self.hints_given_up,
                "drops do not say which rule or queue it was: there were too many of them, or too many rules",
            ),
            (
                "namespaces_renewed",
                self.namespaces_renewed,
                "times another network namespace got the name: what happened in its first moments is not told",
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
    /// Sockets of which not everything was seen, by what was missing.
    pub incomplete: Incomplete,
    /// Events that a filter kept out, in the kernel or here.
    pub filtered: u64,
    /// Connections (not listeners) that ended or were open at the end.
    pub connections: u64,
    /// Those of them that ended without an answer (`unanswered`), whatever their verdict.
    pub unanswered: u64,
    /// What follows from what was seen.
    pub findings: Vec<Finding>,
    /// How they ended.
    pub verdicts: Vec<(Verdict, u64)>,
    /// Packets that were dropped, by reason.
    pub drops: Vec<(String, u64)>,
    /// What the kernel's counters say beside these, by counter.
    pub discards: Vec<(&'static str, u64)>,
    /// Cost.
    pub cost: Cost,
    /// How full the rings were.
    pub rings: Vec<RingUse>,
    /// With `--audit`: whether all that happened is accounted for, hook by hook.
    pub audit: Option<Vec<Audit>>,
    /// Hooks that nothing counts a second time, and why.
    pub unaudited: Vec<(&'static str, String)>,
    /// Hook and the backend that was chosen for it.
    pub backends: Vec<(String, String)>,
    /// What does not work here, and why.
    pub degraded: Vec<(String, String)>,
    /// The processes with most connections; in text only.
    pub processes: Vec<Row>,
    /// The places with most connections from here; in text only.
    pub destinations: Vec<Row>,
}

impl Summary {
    /// How many events could not be delivered.
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
