//! The outcome of a trace.

use std::{io, process::ExitStatus};

use super::Tape;
use crate::{
    core::Core,
    filter::Filter,
    kernel::{audit::Accounts, cost::ProgramCost, detach::Detaching, ring::Fill},
    present::summary::Incomplete,
};

/// Why the trace ended.
#[derive(Debug)]
pub enum Stop {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The duration is over.
    Duration,
    /// Enough events were printed.
    Count,
    /// The output failed.
    Output(io::Error),
    /// The command of `tracer run` ended.
    Command(ExitStatus),
}

/// Losses, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

/// The outcome of an ended trace.
pub struct Outcome {
    /// The reason for the end.
    pub stop: Stop,
    /// The core, which has the counts of the shown events, and the findings from them.
    pub core: Core<Filter>,
    /// What the core was given, if a test asks for it.
    pub tape: Option<Tape>,
    /// The losses.
    pub lost: Lost,
    /// Sockets with an incomplete history.
    pub incomplete: Incomplete,
    /// Events hidden by filters in the kernel.
    pub filtered: u64,
    /// Costs of the programs.
    pub programs: Vec<ProgramCost>,
    /// The audit's result, if there was one.
    pub accounts: Option<Accounts>,
    /// The highest fill of each ring, by its name, and the number of its records.
    pub rings: Vec<(&'static str, Fill, u64)>,
    /// When it ended, `CLOCK_BOOTTIME` ns.
    pub end_ns: u64,
    /// The programs that are still attached. Keep it until the end is shown.
    pub detaching: Detaching,
}
