//! Root: checks for it, and finds a way to it.

use crate::command;
use anyhow::{Result, bail};
use std::ffi::OsString;

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The prefix of a command line that runs it as root: empty when we are root.
///
/// # Errors
/// When we are not root and neither sudo nor doas is installed.
pub fn prefix() -> Result<Vec<OsString>> {
    if is_root() {
        return Ok(Vec::new());
    }
    match ["sudo", "doas"].into_iter().find_map(command::find) {
        Some(program) => Ok(vec![program.into(), "--".into()]),
        None => {
            bail!("this needs root, and neither sudo nor doas is installed: start the same command in a root shell")
        }
    }
}
