//! Debian's packages: finds missing ones and installs them.

use crate::{command, privilege};
use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::fs;
use std::process::Command;

/// Whether this is Debian itself: the package names are Debian's.
#[must_use]
pub fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| names_debian(&text))
}

fn names_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| line.trim_end() == "ID=debian" || line.trim_end() == "ID=\"debian\"")
}

/// Whether a package is installed.
#[must_use]
pub fn installed(package: &str) -> bool {
    command::probe(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]))
        .is_some_and(|status| status == "installed")
}

/// The two command lines that install packages, without the prefix for root.
#[must_use]
pub fn install_lines(packages: &[&str]) -> [Vec<OsString>; 2] {
    let line = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut install = line(&["apt-get", "install", "--yes", "--no-install-recommends"]);
    install.extend(packages.iter().map(OsString::from));
    [line(&["apt-get", "update"]), install]
}

/// Updates apt's lists and installs.
///
/// # Errors
/// When apt fails or root is unavailable.
pub fn install(packages: &[&str]) -> Result<()> {
    // Through env, because sudo drops variables.
    let quiet = ["env", "DEBIAN_FRONTEND=noninteractive"].map(OsString::from);
    for line in install_lines(packages) {
        let words = [privilege::prefix()?, quiet.to_vec(), line].concat();
        let (program, args) = words.split_first().context("an empty command line")?;
        command::run(Command::new(program).args(args))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_told_from_its_descendants() {
        assert!(names_debian("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"));
        assert!(!names_debian("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n"));
    }
}
