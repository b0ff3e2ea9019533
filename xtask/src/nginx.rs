//! nginx for the live tests, taken out of its Debian package without installing it.
//!
//! Installing the package would start a web server on port 80 of the machine and enable it for every
//! boot. The tests start their own with their own configuration and need the program alone.

use crate::command;
use crate::tree::Tree;
use anyhow::{Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The folder to put into PATH.
#[must_use]
pub fn folder(tree: &Tree) -> PathBuf {
    tree.tools().join("nginx/usr/sbin")
}

/// Whether nginx is available: unpacked here or installed.
#[must_use]
pub fn is_here(tree: &Tree) -> bool {
    folder(tree).join("nginx").is_file() || command::find("nginx").is_some()
}

/// Downloads the package and unpacks it.
///
/// # Errors
/// When apt cannot download it, or the program does not start (a library is missing).
pub fn unpack(tree: &Tree) -> Result<()> {
    let download = tree.tools().join("nginx-packages");
    let program = folder(tree).join("nginx");
    // The package that contains the program differs between Debian's releases.
    for package in ["nginx", "nginx-light"] {
        fs::create_dir_all(&download)?;
        // apt's own user cannot write below a home folder; apt would warn and continue as us.
        let mut apt = Command::new("apt-get");
        command::run(apt.args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(&download))?;
        for entry in fs::read_dir(&download)? {
            let mut extract = Command::new("dpkg-deb");
            command::run(extract.arg("--extract").arg(entry?.path()).arg(tree.tools().join("nginx")))?;
        }
        fs::remove_dir_all(&download)?;
        if program.is_file() {
            break;
        }
    }
    // It writes its version to stderr; only its start matters.
    if command::probe(Command::new(&program).arg("-v")).is_none() {
        fs::remove_dir_all(tree.tools().join("nginx"))?;
        bail!("nginx, as unpacked from its package, does not start here: install nginx by hand");
    }
    Ok(())
}
