//! The limit of locked memory, to which kernels before 5.11 charge BPF maps (commit 97306be45fbe). Newer kernels ignore
//! it, so a refusal to raise it means nothing by itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No limit.
const UNLIMITED: Rlimit = Rlimit { current: None, maximum: None };

/// Lifts the limit, if this process may (`CAP_SYS_RESOURCE`).
pub fn lift() {
    if let Err(error) = setrlimit(Resource::Memlock, UNLIMITED) {
        log::debug!("RLIMIT_MEMLOCK stays: {error}");
    }
}

/// The limit in bytes, if there is one.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}
