//! When a trace has seen enough: its causes are certain, explain every failure, and have been the same for a while.

use crate::stream::{Cause, Diagnosis, Place, Severity};

/// The shortest trace, ns: connections retransmit their second SYN after three seconds.
const LEAST: u64 = 4_000_000_000;
/// How long the causes have to be the same, ns.
const SAME: u64 = 2_000_000_000;

/// The names of the causes of harm, where they are, and whether the evidence decides them.
type Key = (&'static str, Place, Option<String>, bool);

/// The causes so far.
#[derive(Debug)]
pub struct Certainty {
    began_ns: u64,
    keys: Vec<Key>,
    /// Since when they are these.
    since_ns: u64,
    /// Those that are certain, since when, and whether that was said.
    certain: Vec<(Key, u64, bool)>,
    settled: bool,
}

impl Certainty {
    /// The trace began then (`CLOCK_BOOTTIME`, ns).
    pub const fn new(began_ns: u64) -> Self {
        Self { began_ns, keys: Vec::new(), since_ns: began_ns, certain: Vec::new(), settled: false }
    }

    /// Takes the causes of now; `surveyed`: the host was looked at twice. Returns those that have become certain.
    pub fn take<'d>(&mut self, now_ns: u64, surveyed: bool, diagnosis: &'d Diagnosis) -> Vec<&'d Cause> {
        let keys: Vec<Key> = diagnosis.harmful().map(key).collect();
        if keys != self.keys {
            (self.keys, self.since_ns) = (keys, now_ns);
        }
        let fails = diagnosis.causes.first().is_some_and(|cause| cause.severity == Severity::Failure);
        // Another cause may be behind what is uncertain, or has no cause so far.
        let certain = diagnosis.harmful().all(|cause| cause.certain) && diagnosis.unexplained == 0;
        self.settled = fails
            && certain
            && surveyed
            && now_ns.saturating_sub(self.began_ns) >= LEAST
            && now_ns.saturating_sub(self.since_ns) >= SAME;
        let mut fresh = Vec::new();
        for cause in diagnosis.harmful().filter(|cause| cause.certain) {
            let key = key(cause);
            // The first failures of a prober look like any others.
            match self.certain.iter_mut().find(|(known, ..)| *known == key) {
                Some((_, since_ns, told)) if now_ns.saturating_sub(*since_ns) >= SAME && !*told => {
                    *told = true;
                    fresh.push(cause);
                }
                Some(_) => {}
                None => self.certain.push((key, now_ns, false)),
            }
        }
        fresh
    }

    /// Whether more of the trace would say nothing new.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }
}

fn key(cause: &Cause) -> Key {
    (cause.name, cause.place.clone(), cause.peer.clone(), cause.certain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn cause(name: &'static str, severity: Severity, certain: bool) -> Cause {
        Cause { certain, ..Cause::new(name, severity, String::new()) }
    }

    fn of(causes: &[Cause]) -> Diagnosis {
        Diagnosis { causes: causes.to_vec(), ..Diagnosis::default() }
    }

    /// Whether the trace ends at the last of these seconds, with these causes from the first one on.
    fn ends(seconds: std::ops::RangeInclusive<u64>, diagnosis: &Diagnosis) -> bool {
        let mut certainty = Certainty::new(0);
        seconds.for_each(|second| drop(certainty.take(second * S, true, diagnosis)));
        certainty.is_settled()
    }

    #[test]
    fn a_certain_failure_ends_the_trace_after_a_while() {
        let sure = of(&[cause("a", Severity::Failure, true), cause("h", Severity::Harmless, false)]);
        assert!(ends(1..=4, &sure) && ends(8..=10, &sure));
        assert!(!ends(1..=3, &sure), "too early");
        assert!(!ends(8..=9, &sure), "too fresh");
        let mut certainty = Certainty::new(0);
        (1..=9).for_each(|second| drop(certainty.take(second * S, false, &sure)));
        assert!(!certainty.is_settled(), "the host was not looked at twice");
    }

    #[test]
    fn what_may_be_something_else_goes_on() {
        assert!(!ends(1..=9, &of(&[])));
        assert!(!ends(1..=9, &of(&[cause("a", Severity::Failure, false)])));
        assert!(!ends(1..=9, &of(&[cause("a", Severity::Failure, true), cause("b", Severity::Slow, false)])));
        assert!(!ends(1..=9, &of(&[cause("a", Severity::Policy, true)])));
        let open = Diagnosis { unexplained: 1, ..of(&[cause("a", Severity::Failure, true)]) };
        assert!(!ends(1..=9, &open));
    }

    #[test]
    fn another_cause_begins_the_wait_anew() {
        let (a, b) = (cause("a", Severity::Failure, true), cause("b", Severity::Failure, true));
        let mut certainty = Certainty::new(0);
        assert!(certainty.take(4 * S, true, &of(std::slice::from_ref(&a))).is_empty(), "it may be a moment's");
        assert!(certainty.take(5 * S, true, &of(&[b.clone(), a.clone()])).is_empty());
        let fresh = certainty.take(6 * S, true, &of(&[b.clone(), a.clone()])).len();
        assert_eq!((fresh, certainty.is_settled()), (1, false), "the first one is said");
        let fresh = certainty.take(7 * S, true, &of(&[b.clone(), a.clone()])).len();
        assert_eq!((fresh, certainty.is_settled()), (1, true), "each is said once");
        assert!(certainty.take(8 * S, true, &of(&[b, a])).is_empty());
        assert!(certainty.is_settled());
    }
}
