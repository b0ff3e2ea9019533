//! The outcome of a trace.

use std::{io, process::ExitStatus};

use super::Rehearsal;
use crate::{kernel::detach::Detaching, stream::summary::Summary};

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

/// The outcome of an ended trace.
pub struct Outcome {
    /// The reason for the end.
    pub stop: Stop,
    /// The summary.
    pub summary: Summary,
    /// Whether anything was lost.
    pub lost: bool,
    /// The tape, if a test asks for it.
    pub rehearsal: Option<Rehearsal>,
    /// When it ended, `CLOCK_BOOTTIME` ns.
    pub end_ns: u64,
    /// The programs that are still attached. Keep it until the end is shown.
    pub detaching: Detaching,
}
