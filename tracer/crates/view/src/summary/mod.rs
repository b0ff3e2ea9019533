//! The summary of a trace.

mod text;

pub use text::to_text;
pub use tracer_stream::summary::{Account as Audit, Cost, Incomplete, ProgramCost, RingUse, Row, Summary};

#[cfg(test)]
use tracer_stream::Verdict;

#[cfg(test)]
pub(crate) fn sample() -> Summary {
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
        rings: vec![RingUse { name: "events".into(), bytes: 8 << 20, highest: 70_000, taken: None, received: 2408 }],
        audit: None,
        unaudited: None,
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

#[cfg(test)]
mod json_tests;
