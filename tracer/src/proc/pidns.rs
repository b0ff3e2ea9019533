//! The pid namespace that this process is in.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::root::ProcRoot;

/// `PROC_PID_INIT_INO`
const INITIAL: u64 = 0xefff_fffc;

/// Whether it is the host's own: the process ids here are the kernel's, and no process is missing.
#[must_use]
pub fn is_initial(root: &ProcRoot) -> bool {
    fs::metadata(root.path().join("self/ns/pid")).is_ok_and(|own| own.ino() == INITIAL)
}
