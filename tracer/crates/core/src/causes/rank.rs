//! The order of the causes: by harm, then by repetition, certainty, share and number; refusals last.

use std::{collections::HashMap, fmt::Write as _};

use tracer_stream::{Cause, Severity};

/// The most harmless causes of one rule; a scan of many ports makes thousands.
const MOST_HARMLESS: usize = 8;

/// Sorts `causes` and numbers them.
#[must_use]
pub fn ranked(mut causes: Vec<Cause>) -> Vec<Cause> {
    // Stable: rules with stronger evidence come first in the table.
    causes.sort_by(|a, b| {
        let harm = a.severity.cmp(&b.severity);
        let suffering = a.sufferers.is_empty().cmp(&b.sufferers.is_empty());
        // Who meets a closed port knows it at once.
        let refused = (a.name == "nobody_listens").cmp(&(b.name == "nobody_listens"));
        // Once may be an accident.
        let repeated = (b.count > 1).cmp(&(a.count > 1));
        let certainty = b.certain.cmp(&a.certain);
        let share = b.share.unwrap_or(0.0).total_cmp(&a.share.unwrap_or(0.0));
        let order = harm.then(suffering).then(refused).then(repeated).then(certainty).then(share);
        order.then_with(|| b.count.cmp(&a.count))
    });
    let mut causes = folded(causes);
    for (rank, cause) in (1..).zip(&mut causes) {
        cause.rank = rank;
    }
    causes
}

/// Leaves the first few harmless causes of each rule, and counts the others with the first of them.
fn folded(causes: Vec<Cause>) -> Vec<Cause> {
    let mut of_rule: HashMap<&'static str, usize> = HashMap::new();
    let mut kept: Vec<Cause> = Vec::new();
    for cause in causes {
        let number = of_rule.entry(cause.name).or_default();
        *number += usize::from(cause.severity == Severity::Harmless);
        if *number <= MOST_HARMLESS {
            kept.push(cause);
        }
    }
    for (name, number) in of_rule.into_iter().filter(|(_, number)| *number > MOST_HARMLESS) {
        // Text shows only the first ones.
        let is_first = |cause: &&mut Cause| (cause.name, cause.severity) == (name, Severity::Harmless);
        if let Some(first) = kept.iter_mut().find(is_first) {
            let _ = write!(first.text, " (and {} more like it)", number - MOST_HARMLESS);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_harmless_ones_are_a_few() {
        let harmless = |n: u32| Cause::new("nobody_listens", Severity::Harmless, format!("port {n}"));
        let failures = (0..20).map(|n| Cause::new("rule_drop", Severity::Failure, format!("rule {n}")));
        let all = ranked((0..1000).map(harmless).chain(failures).collect());
        assert_eq!(all.len(), 20 + MOST_HARMLESS);
        assert!(all.iter().take(20).all(|cause| cause.severity == Severity::Failure));
        let harmless = all.iter().find(|cause| cause.severity == Severity::Harmless).map(|cause| cause.text.as_str());
        assert_eq!(harmless, Some("port 0 (and 992 more like it)"));
        assert!((1..).zip(&all).all(|(rank, cause)| cause.rank == rank));
    }
}
