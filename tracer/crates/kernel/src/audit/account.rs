//! The outcome of all calls of a hook, added up.

use tracer_common::audit::{TERMS, Term};

pub use tracer_stream::summary::Account;

/// The records that user space received, to be compared with those that the kernel side submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Records from `EVENTS`.
    pub events: u64,
    /// Records from `DROPS`.
    pub drops: u64,
    /// Packets of folds.
    pub folded: u64,
}

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// One for each hook that is counted twice.
    pub hooks: Vec<Account>,
    /// The other hooks, with the reasons.
    pub unaudited: Vec<(String, String)>,
    /// Records that the kernel side submitted to `EVENTS` and to `DROPS`.
    pub taken: [u64; 2],
}

impl Accounts {
    /// Whether every call of every audited hook is accounted for.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.hooks.iter().all(|account| account.exact)
    }
}

/// Calls that the kernel kept from one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missed {
    /// Certainly during the audit.
    pub(super) within: u64,
    /// Around its begin or end.
    pub(super) edges: u64,
}

/// Adds up an account. `terms` are the kernel side's; `traced` and `counter` are the calls that the kernel kept from
/// the two programs; `complete`: all submitted records have arrived.
pub(super) fn reconcile(
    hook: &'static str,
    terms: &[u64; TERMS as usize],
    traced: Missed,
    counter: Missed,
    complete: bool,
) -> Account {
    let term = |term: Term| terms[term as usize];
    let aside = term(Term::Aside);
    // Calls that the traced program did not handle.
    let undone = traced.within + term(Term::Declined);
    let mut account = Account {
        hook: hook.to_owned(),
        // The traced program takes the counting program's missed calls for a part of the audit.
        happened: term(Term::Happened) + counter.within,
        delivered: term(Term::Told),
        filtered: term(Term::Filtered) + aside,
        aside,
        folded: term(Term::Folded),
        lost: term(Term::Lost),
        missed: undone.saturating_sub(term(Term::TakenOver)),
        edges: traced.edges + counter.edges + term(Term::Unnoted),
        exact: false,
    };
    let accounted = account.delivered + account.filtered + account.folded + account.lost + account.missed;
    account.exact = complete && account.edges == 0 && term(Term::TakenOver) <= undone && account.happened == accounted;
    account
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Missed = Missed { within: 0, edges: 0 };

    /// In the order of [`Term`].
    const TERMS_OF_A_STORM: [u64; TERMS as usize] = [1000, 300, 500, 100, 60, 30, 0, 0, 0];

    fn storm(traced: Missed, counter: Missed) -> Account {
        reconcile("kfree_skb", &TERMS_OF_A_STORM, traced, counter, true)
    }

    #[test]
    fn what_happened_is_told_folded_filtered_lost_or_missed() {
        let account = storm(Missed { within: 10, edges: 0 }, NONE);
        let expected = Account {
            hook: "kfree_skb".into(),
            happened: 1000,
            delivered: 300,
            filtered: 160,
            aside: 60,
            folded: 500,
            lost: 30,
            missed: 10,
            edges: 0,
            exact: true,
        };
        assert_eq!(account, expected);
    }

    #[test]
    fn one_too_few_and_one_too_many_are_not_exact() {
        for within in [9, 11] {
            assert!(!storm(Missed { within, edges: 0 }, NONE).exact);
        }
        for term in Term::Told as usize..=Term::Lost as usize {
            let mut terms = TERMS_OF_A_STORM;
            terms[term] += 1;
            assert!(!reconcile("x", &terms, Missed { within: 10, edges: 0 }, NONE, true).exact);
        }
    }

    #[test]
    fn calls_that_the_counting_program_missed_happened() {
        let account = storm(Missed { within: 12, edges: 0 }, Missed { within: 2, edges: 0 });
        assert_eq!((account.happened, account.missed, account.exact), (1002, 12, true));
    }

    #[test]
    fn what_the_second_program_took_over_was_not_missed() {
        // Of 20 calls that the first one was not run for, 7 are among the outcomes.
        let terms = [1000, 900, 0, 80, 0, 7, 7, 0, 0];
        let account = reconcile("x", &terms, Missed { within: 20, edges: 0 }, NONE, true);
        assert_eq!((account.missed, account.exact), (13, true));
        // Two more were taken over before it was asked, and it left them alone.
        let terms = [1000, 902, 0, 80, 0, 7, 9, 0, 2];
        let account = reconcile("x", &terms, Missed { within: 18, edges: 0 }, NONE, true);
        assert_eq!((account.missed, account.exact), (11, true));
        // No program can take over more than there was.
        let terms = [1000, 900, 0, 100, 0, 0, 7, 0, 0];
        assert!(!reconcile("x", &terms, NONE, NONE, true).exact);
    }

    #[test]
    fn what_is_uncertain_is_said_and_not_exact() {
        let account = storm(Missed { within: 10, edges: 1 }, Missed { within: 0, edges: 2 });
        assert_eq!((account.edges, account.exact), (3, false));
        let unnoted = [1000, 300, 500, 100, 60, 40, 0, 4, 0];
        let account = reconcile("x", &unnoted, NONE, NONE, true);
        assert_eq!((account.edges, account.exact), (4, false));
    }

    #[test]
    fn what_has_not_arrived_is_not_exact() {
        assert!(!reconcile("x", &TERMS_OF_A_STORM, Missed { within: 10, edges: 0 }, NONE, false).exact);
    }
}
