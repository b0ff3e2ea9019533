//! Machines made for the tests and discarded: there a test may affect the whole machine.

use crate::skip::lacks;

/// Whether a task may be preempted in the middle of a tracepoint's program: from 7.0 on
/// (`include/linux/tracepoint.h`).
///
/// # Panics
/// If the kernel's version is unknown.
#[must_use]
pub fn preempts_programs() -> bool {
    version() >= (7, 0)
}

/// Whether sock_diag shows TCP sockets that are only bound (`TCPF_BOUND_INACTIVE`, commit 91051f003948).
///
/// # Panics
/// If the kernel's version is unknown.
#[must_use]
pub fn tells_of_bound_sockets() -> bool {
    version() >= (6, 8)
}

/// Whether the kernel charges BPF maps to the limit of locked memory: before 5.11 (80ee81e0403c), later to the memory
/// controller.
///
/// # Panics
/// If the kernel's version is unknown.
#[must_use]
pub fn charges_locked_memory() -> bool {
    version() < (5, 11)
}

/// Major and minor.
fn version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a name");
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().ok());
    let mut next = || numbers.next().flatten().expect("a number");
    (next(), next())
}

/// Whether this is such a machine, by the variable `TRACER_TEST_MACHINE` (`cargo xtask vm` sets it to `own`).
///
/// # Errors
/// The reason to skip.
pub fn own() -> Result<(), String> {
    if std::env::var_os("TRACER_TEST_MACHINE").is_some_and(|value| value == "own") {
        return Ok(());
    }
    Err(lacks("machine of its own", "this machine's clock and limits are not the test's to change (cargo xtask vm)"))
}

/// Raises this process's limit of open files to `files`.
///
/// # Panics
/// If the kernel refuses.
pub fn raise_files(files: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is readable and writable.
    let set = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_cur.max(files);
        limit.rlim_max = limit.rlim_max.max(files);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}
