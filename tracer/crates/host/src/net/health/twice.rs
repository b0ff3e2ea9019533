//! Tells present trouble from past trouble.
//!
//! A counter covers everything since the namespace was made, which may be hours ago. Only a counter that moved between
//! two looks is sick; the others are history, and worth a look. Queues, tables and states are current values.

use super::{Finding, Severity, assess};
use crate::net::{
    Picture,
    change::{Change, Changes, changes},
};

/// When the trouble happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now: a current value, or a counter that moved between two looks.
    Now,
    /// Some time since the namespace was made: the counter stood still between the looks, or there was only one look.
    SinceBoot,
}

impl When {
    /// Returns the word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::SinceBoot => "since_boot",
        }
    }
}

/// Returns what stands out, the worst first, by all that was counted. `moved`: the changes since a moment before.
#[must_use]
pub fn judge(picture: &Picture, moved: Option<&Changes>) -> Vec<Finding> {
    let now = match moved {
        Some(moved) => assess(picture, Some(moved)),
        // Comparing the picture with itself leaves everything that is not a counter.
        None => assess(picture, Some(&changes(picture, picture))),
    };
    let is_same = |one: &Finding, other: &Finding| one.section == other.section && one.what == other.what;
    let counted = |finding: &Finding| {
        let mut counters = moved.into_iter().flat_map(|moved| &moved.counters);
        finding.section == "counters"
            && counters.any(|(name, change)| *name == finding.what && matches!(change, Change::By(count) if *count > 0))
    };
    let mut findings: Vec<Finding> = assess(picture, None)
        .into_iter()
        .map(|finding| {
            if now.iter().any(|other| is_same(other, &finding)) || counted(&finding) {
                Finding { when: Some(When::Now), ..finding }
            } else {
                Finding { when: Some(When::SinceBoot), severity: Severity::Watch, ..finding }
            }
        })
        .collect();
    // An amount that is large for a second may be small for a year.
    for other in now {
        match findings.iter_mut().find(|finding| is_same(finding, &other)) {
            Some(finding) => finding.severity = finding.severity.min(other.severity),
            None => findings.push(Finding { when: Some(When::Now), ..other }),
        }
    }
    findings.sort_by_key(|finding| (finding.severity, finding.when == Some(When::SinceBoot)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::{Conntrack, collect::empty},
        proc::net::snmp::Counter,
    };

    fn picture() -> Picture {
        let mut picture = empty(1);
        let counter = |name: &str, value| Counter { name: name.to_owned(), value };
        picture.counters = vec![
            counter("TcpExtListenOverflows", 1000),
            counter("TcpPassiveOpens", 1000),
            counter("TcpExtRcvPruned", 5),
        ];
        // A fill level has no past.
        picture.conntrack = Some(Conntrack { count: Some(99), max: Some(100), states: None });
        picture
    }

    fn said(moved: Option<&Changes>) -> Vec<(String, Severity, Option<When>)> {
        judge(&picture(), moved).into_iter().map(|finding| (finding.what, finding.severity, finding.when)).collect()
    }

    #[test]
    fn what_stopped_moving_is_history() {
        let history = |what: &str| (what.to_owned(), Severity::Watch, Some(When::SinceBoot));
        let full = ("conntrack".to_owned(), Severity::Sick, Some(When::Now));
        let expected = [full, history("TcpExtListenOverflows"), history("TcpExtRcvPruned")];
        assert_eq!(said(Some(&Changes { seconds: 1.0, ..Changes::default() })), expected);
        assert_eq!(said(None), expected, "one look cannot tell");
    }

    #[test]
    fn what_moves_is_as_bad_as_it_ever_was() {
        let counters = vec![("TcpExtListenOverflows".to_owned(), Change::By(3))];
        let said = said(Some(&Changes { seconds: 1.0, counters, ..Changes::default() }));
        let overflows = ("TcpExtListenOverflows".to_owned(), Severity::Sick, Some(When::Now));
        assert!(said.contains(&overflows), "{said:?}");
        assert!(said.contains(&("TcpExtRcvPruned".to_owned(), Severity::Watch, Some(When::SinceBoot))), "{said:?}");
    }

    #[test]
    fn a_counter_that_began_again_has_not_moved() {
        let counters = vec![("TcpExtListenOverflows".to_owned(), Change::Reset)];
        let said = said(Some(&Changes { seconds: 1.0, counters, ..Changes::default() }));
        assert!(said.iter().all(|(what, _, when)| what == "conntrack" || *when == Some(When::SinceBoot)), "{said:?}");
    }
}
