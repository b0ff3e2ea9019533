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

/// Why a test may fail on a kernel, if that is known.
#[must_use]
pub fn reason(test: &str, release: &str) -> Option<&'static str> {
    let known = KNOWN.iter().find(|(name, since, _)| *name == test && Version::of(release).series() >= *since);
    known.map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_on_its_kernels_alone() {
        assert!(reason("owner::threads", "7.3.4+deb13-cloud-amd64").is_some());
        assert!(reason("owner::threads", "6.12.107+deb13-cloud-amd64").is_none());
        assert!(reason("close::zero_bytes", "7.3.4+deb13-cloud-amd64").is_none());
    }
}
