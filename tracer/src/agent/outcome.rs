//! What a trace has come to.

use std::{io, process::ExitStatus};

use crate::{
    kernel::{audit::Accounts, cost::ProgramCost, detach::Detaching, ring::Fill},
    present::summary::{Incomplete, Tally},
    stream::Finding,
};

/// Why the trace ended.
#[derive(Debug)]
pub enum Stop {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The time is over.
    Duration,
    /// Enough events were printed.
    Count,
    /// The output does not take any more.
    Output(io::Error),
    /// The command of `tracer run` ended.
    Command(ExitStatus),
}

/// What was lost, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Lifecycle records.
    pub lifecycle: u64,
    /// Process records.
    pub process: u64,
    /// Dropped packets of which nothing is known.
    pub drop: u64,
    /// Retransmissions and resets.
    pub segment: u64,
    /// Runs of a program that the kernel skipped.
    pub missed: u64,
    /// Records that could not be understood.
    pub undecoded: u64,
}

impl Lost {
    /// By their names in the stream.
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

    /// Whether anything was.
    #[must_use]
    pub fn any(&self) -> bool {
        self.classes().iter().any(|(_, count)| *count > 0)
    }
}

/// What is left when a trace has ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended.
    pub stop: Stop,
    /// What was shown.
    pub tally: Tally,
    /// What follows from it.
    pub findings: Vec<Finding>,
    /// What was lost.
    pub lost: Lost,
    /// Sockets of which not everything was seen.
    pub incomplete: Incomplete,
    /// Events kept out by filters, in the kernel and here.
    pub filtered: u64,
    /// Costs of the programs.
    pub programs: Vec<ProgramCost>,
    /// What the audit found, if there was one.
    pub accounts: Option<Accounts>,
    /// How full each ring was, by its name, and how many records it gave.
    pub rings: Vec<(&'static str, Fill, u64)>,
    /// When it ended, `CLOCK_BOOTTIME` ns.
    pub end_ns: u64,
    /// What is still attached. To be kept until the end is told.
    pub detaching: Detaching,
}
