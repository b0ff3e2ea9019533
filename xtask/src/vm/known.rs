//! Failures that are understood and not mended yet: shown as such, counted as failed in KERNELS.md, and no
//! reason to stop everything else.

use super::version::Version;

/// A test, the first kernel (major, minor) on which it may fail, and why. They need not fail each time.
const KNOWN: [(&str, (u64, u64), &str); 7] = [
    ("drops_owner::every_drop_of_a_known_connection_has_its_owner", PREEMPTIBLE, PREEMPTED),
    ("load::load_200k", PREEMPTIBLE, PREEMPTED),
    ("load::tiny_ring_counts_exactly", PREEMPTIBLE, PREEMPTED),
    ("owner::short_lived_processes", PREEMPTIBLE, PREEMPTED),
    ("owner::threads", PREEMPTIBLE, PREEMPTED),
    ("preexisting::start_race", PREEMPTIBLE, PREEMPTED),
    ("start_races::each_connection_once", PREEMPTIBLE, PREEMPTED),
];

/// The first series of Debian's in which programs at tracepoints were seen to be preempted.
const PREEMPTIBLE: (u64, u64) = (7, 0);
const PREEMPTED: &str = "KNOWN_ISSUES.md, programs that are interrupted: the kernel leaves out (`missed`) what happens \
    on the same CPU meanwhile";

/// What any test of the stream says when the tracer has counted something as lost (`tests/src/trace.rs`).
const LOST: &str = "failed: nothing is lost: ";

/// Why a test may fail on a kernel with this output, if that is known.
#[must_use]
pub fn reason(test: &str, release: &str, output: &str) -> Option<&'static str> {
    let series = Version::of(release).series();
    let known = KNOWN.iter().find(|(name, since, _)| *name == test && series >= *since);
    let is_missed = series >= PREEMPTIBLE && has_lost_to_the_kernel_alone(output);
    known.map(|(_, _, why)| *why).or(is_missed.then_some(PREEMPTED))
}

/// Whether nothing was lost but what the kernel kept from the programs, by the summary in the assertion.
fn has_lost_to_the_kernel_alone(output: &str) -> bool {
    let lost = output.split_once(LOST).and_then(|(_, summary)| summary.split_once("\"lost\":{\"missed\":"));
    lost.is_some_and(|(_, rest)| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_on_its_kernels_alone() {
        let [new, old] = ["7.3.4+deb13-cloud-amd64", "6.12.107+deb13-cloud-amd64"];
        assert!(reason("owner::threads", new, "").is_some());
        assert!(reason("owner::threads", old, "").is_none());
        assert!(reason("close::zero_bytes", new, "").is_none());
        let lost =
            |what: &str| format!("assertion `left == right` failed: nothing is lost: {{\"lost\":{{{what}}},\"v\":1}}");
        let known = |release, what| reason("close::zero_bytes", release, &lost(what)).is_some();
        assert!(known(new, "\"missed\":12") && !known(old, "\"missed\":12"));
        assert!(!known(new, "\"drop\":1,\"missed\":12") && !known(new, "\"missed\":12,\"segment\":3"));
    }
}
