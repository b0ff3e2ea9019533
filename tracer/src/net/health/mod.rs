//! What in a picture is sick, and what is worth a look.

mod checks;
pub mod counters;
mod twice;

pub use checks::totals as softnet_totals;
pub use twice::{When, judge};

use super::Picture;
use super::change::Changes;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody is losing packets, connections or time.
    Sick,
    /// It may be harmless; it is not what a calm host shows.
    Watch,
}

impl Severity {
    /// As JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sick => "sick",
            Self::Watch => "watch",
        }
    }
}

/// One thing that is not calm.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The member of the JSON object where its numbers are.
    pub section: &'static str,
    /// Which device, listener, counter. Hostile bytes.
    pub what: String,
    /// How many, or how full.
    pub amount: String,
    /// Per cent of what it is compared with, if there is such a thing.
    pub percent: Option<f64>,
    /// What it means. Hostile bytes: it may name a process.
    pub meaning: String,
    /// `tracer explain` knows more about this name.
    pub explain: Option<&'static str>,
    /// Whether it goes on, where the picture was taken twice, or only once on request.
    pub when: Option<When>,
}

/// What is not calm, the worst first. With `changes`, what counts is judged by how it moved; without,
/// by all that it has counted since the namespace was made.
#[must_use]
pub fn assess(picture: &Picture, changes: Option<&Changes>) -> Vec<Finding> {
    let mut findings = checks::assess(picture, changes);
    findings.extend(counters::assess(picture, changes));
    // A stable sort: within a severity, the order of the checks.
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// `part` of `whole` in per cent; `None` if there is no whole.
#[must_use]
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share to be read by people")]
    let share = part as f64 * 100.0 / whole as f64;
    (whole > 0).then_some(share)
}

/// The severity of `value` by two thresholds.
fn by(value: f64, watch: f64, sick: f64) -> Option<Severity> {
    if value >= sick {
        Some(Severity::Sick)
    } else if value >= watch {
        Some(Severity::Watch)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
