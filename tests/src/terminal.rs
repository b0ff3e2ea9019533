//! Terminals for programs under test.

use std::fs::File;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Makes a terminal of 24 lines: our end, and the program's.
///
/// # Panics
/// If the host has none left.
#[must_use]
pub fn terminal(columns: u16) -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: two places for descriptors, a size, no name and no attributes.
    let failed = unsafe {
        libc::openpty(&raw mut ours, &raw mut theirs, std::ptr::null_mut(), std::ptr::null(), &raw const size)
    };
    assert_eq!(failed, 0, "a terminal is made");
    // SAFETY: both are new and have no other owner.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}
