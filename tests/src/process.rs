//! Other processes: their programs, their memory, and signals to them.

use std::path::Path;
use std::process::Child;

use crate::netns::command;

/// Copies a program, by another process: a child that a thread of this one forks meanwhile would keep the copy open for
/// writing, and the kernel executes no such file (`ETXTBSY`).
///
/// # Panics
/// If it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    command("cp", &[&from.to_string_lossy(), &to.to_string_lossy()]);
}

/// A size of `pid` from its status (`VmRSS`, `VmHWM`), in bytes.
///
/// # Panics
/// If the process is gone.
#[must_use]
pub fn memory(pid: u32, size: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(size)?.strip_prefix(':')).expect("a size");
    line.trim().strip_suffix(" kB").and_then(|text| text.parse::<u64>().ok()).expect("a number") * 1024
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: i32) {
    // SAFETY: takes no pointers. The callers have not waited for the child, so the number is its own.
    unsafe { libc::kill(child.id() as i32, signal) };
}
