//! Failures that are understood and not fixed yet: shown as such, counted as failed in KERNELS.md, and no reason to
//! stop the rest.

use super::version::Version;

/// The first of Debian's series in which programs at tracepoints were seen to be preempted.
const PREEMPTIBLE: (u64, u64) = (7, 0);
const PREEMPTED: &str = "KNOWN_ISSUES.md, interrupted programs: the kernel leaves out (`missed`) what happens \
    on the same CPU meanwhile";

/// The begin of the losses in a summary, which every assertion about a stream shows.
const LOST: &str = "\"lost\":{";
const MISSED: &str = "\"missed\":";
/// A test's message about an inexact audit (`tests/src/audit.rs`): no loss excuses that.
const INEXACT: &str = " is not accounted for: ";

/// The known reason for a failure on a kernel with this output, if there is one.
#[must_use]
pub fn reason(release: &str, output: &str) -> Option<&'static str> {
    let is_missed = Version::of(release).series() >= PREEMPTIBLE
        && !output.contains(INEXACT)
        && has_lost_to_the_kernel_alone(output);
    is_missed.then_some(PREEMPTED)
}

/// Whether the summaries in the output show losses, and all of them are calls that the kernel kept from the programs.
fn has_lost_to_the_kernel_alone(output: &str) -> bool {
    let mut summaries = output.split(LOST).skip(1).filter(|rest| !rest.starts_with('}')).peekable();
    let alone = |rest: &str| {
        let count = rest.strip_prefix(MISSED).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        count.is_some_and(|rest| rest.starts_with('}'))
    };
    summaries.peek().is_some() && summaries.all(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_on_its_kernels_alone() {
        let [new, old] = ["7.3.4+deb13-cloud-amd64", "6.12.107+deb13-cloud-amd64"];
        assert!(reason(new, "").is_none());
        let lost = |what: &str| format!("assertion failed: {{\"filtered\":0,\"lost\":{{{what}}},\"v\":1}}\n");
        let known = |release, what| reason(release, &lost(what)).is_some();
        let inexact = format!("kfree_skb is not accounted for: {{}}\n{}", lost("\"missed\":12"));
        assert!(reason(new, &inexact).is_none());
        assert!(known(new, "\"missed\":12") && !known(old, "\"missed\":12") && !known(new, ""));
        assert!(!known(new, "\"drop\":1,\"missed\":12") && !known(new, "\"missed\":12,\"segment\":3"));
        let two = |what: &str| reason(new, &(lost("\"missed\":1") + &lost(what))).is_some();
        assert!(two("") && two("\"missed\":2") && !two("\"drop\":2"));
    }
}
