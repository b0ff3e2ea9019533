//! The order of the causes: by harm, then by repetition, certainty, share and number; refusals last.

use tracer_stream::Cause;

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
    for (rank, cause) in (1..).zip(&mut causes) {
        cause.rank = rank;
    }
    causes
}
