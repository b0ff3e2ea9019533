//! The conclusion of a trace: its causes, what has none, and how well the rest went.

use super::{Cause, Severity};

/// What `tracer why` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// The causes, ranked.
    pub causes: Vec<Cause>,
    /// Causes above [`Severity::Harmless`] that concern others than the user asks about.
    pub elsewhere: u64,
    /// Connections that failed, or wait for an answer, and have no cause.
    pub unexplained: u64,
    /// One of them, in words. Hostile bytes.
    pub example: Option<String>,
    /// The connections that were seen.
    pub health: Health,
    /// What of the evidence is missing, a sentence each. Hostile bytes.
    pub gaps: Vec<String>,
    /// What the user's words mean here, if that is worth a sentence. Hostile bytes.
    pub remarks: Vec<String>,
}

/// The connections that were seen, and the time that their program took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Connections that clients on this host opened while the trace went on.
    pub opened: u64,
    /// Those of them with a complete handshake.
    pub answered: u64,
    /// Those that failed.
    pub failed: u64,
    /// The longest handshake, µs.
    pub slowest_us: u64,
    /// Connections that servers on this host accepted.
    pub served: u64,
    /// Connections that are older than the trace, and open.
    pub older: u64,
    /// The process that used most of the time, and its share of one CPU, 0 to 1. Hostile bytes.
    pub busy: Option<(String, f64)>,
}

impl Diagnosis {
    /// The causes of harm.
    pub fn harmful(&self) -> impl Iterator<Item = &Cause> {
        self.causes.iter().filter(|cause| cause.severity < Severity::Harmless)
    }

    /// The others.
    pub fn harmless(&self) -> impl Iterator<Item = &Cause> {
        self.causes.iter().filter(|cause| cause.severity == Severity::Harmless)
    }
}
