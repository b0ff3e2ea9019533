//! Machines that are made for the tests and thrown away: there a test may do what the whole machine feels.

use crate::skip::lacks;

/// Whether a task may be preempted in the middle of a tracepoint's program: from 7.0 on
/// (`include/linux/tracepoint.h`).
///
/// # Panics
/// If the kernel does not say its version.
#[must_use]
pub fn preempts_programs() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a name");
    let major = release.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.expect("a number") >= 7
}

/// Whether this is one, as the variable `TRACER_TEST_MACHINE` says (`cargo xtask vm` sets it to `own`).
///
/// # Errors
/// The reason to skip.
pub fn own() -> Result<(), String> {
    if std::env::var_os("TRACER_TEST_MACHINE").is_some_and(|value| value == "own") {
        return Ok(());
    }
    Err(lacks("machine of its own", "this machine's clock and limits are not the test's to change (cargo xtask vm)"))
}
