//! What a trace needs of its output.

use std::io;

use tokio::runtime::Runtime;

use super::{Outcome, queue::Gauge};
use crate::core::causes::Causes;
use crate::stream::{Sink, summary::Summary};

/// A sink that can report errors and fill levels.
pub trait Presenter: Sink {
    /// Passes on buffered output.
    fn flush(&mut self);
    /// Shows the current state ([`Limits::refresh`](super::Limits::refresh)).
    fn refresh(&mut self) {}
    /// Takes the causes so far ([`Limits::diagnose`](super::Limits::diagnose)).
    fn diagnosed(&mut self, causes: &Causes) {
        let _ = causes;
    }
    /// Whether it needs no more events.
    fn is_full(&self) -> bool {
        false
    }
    /// The amount of output that waits to be written, if that may grow.
    fn gauge(&self) -> Option<Gauge> {
        None
    }
    /// The first write error.
    fn error(&self) -> Option<&io::Error>;
}

/// The output of a trace, from its first event to its summary.
pub trait Output: Presenter {
    /// Shows the end of the trace.
    fn summary(&mut self, boot_ns: u64, summary: &Summary);

    /// Waits until everything is written, and compares it with a replay if a test asks for that
    /// ([`Outcome::rehearsal`]).
    ///
    /// # Errors
    /// If writing fails; a reader that has gone away is no error.
    fn finish(self, runtime: &Runtime, outcome: Outcome) -> anyhow::Result<Ended>;
}

/// The end of a trace whose output is written.
#[derive(Debug)]
pub struct Ended {
    /// The reason for the end.
    pub stop: super::Stop,
    /// Whether events were lost, or lines thrown away.
    pub lost: bool,
    /// A replay said something else.
    pub differs: bool,
}
