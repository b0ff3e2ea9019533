//! Finds what in a picture is sick or worth a look.

mod checks;
pub mod counters;
mod twice;

pub use checks::totals as softnet_totals;
pub use twice::{When, judge};

use super::Picture;
use super::change::Changes;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Packets, connections or time are being lost.
    Sick,
    /// Possibly harmless, but unusual on a calm host.
    Watch,
}

impl Severity {
    /// Returns the word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sick => "sick",
            Self::Watch => "watch",
        }
    }
}

/// One thing that stands out.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The member of the JSON object that has its numbers.
    pub section: &'static str,
    /// The device, listener or counter. Hostile bytes.
    pub what: String,
    /// The count, or the fill level.
    pub amount: String,
    /// Per cent of the whole it is compared with, if there is one.
    pub percent: Option<f64>,
    /// Its meaning. Hostile bytes: it may name a process.
    pub meaning: String,
    /// The name that `tracer explain` knows more about.
    pub explain: Option<&'static str>,
    /// Whether it goes on or is past; `None` with `--watch`, which judges changes alone.
    pub when: Option<When>,
}

/// Returns what stands out, the worst first. `changes` judges counters by how far they moved; without
/// it, by everything they counted since the namespace was made.
#[must_use]
pub fn assess(picture: &Picture, changes: Option<&Changes>) -> Vec<Finding> {
    let mut findings = checks::assess(picture, changes);
    findings.extend(counters::assess(picture, changes));
    // The sort is stable: it keeps the order of the checks within a severity.
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Returns `part` of `whole` in per cent; `None` if `whole` is 0.
#[must_use]
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share to be read by people")]
    let share = part as f64 * 100.0 / whole as f64;
    (whole > 0).then_some(share)
}

/// Judges `value` by two thresholds.
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
