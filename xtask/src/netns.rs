//! A network namespace for isolated traffic.

use crate::command;
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// A network namespace with its loopback device up; gone when dropped.
pub struct Netns(String);

impl Netns {
    /// Makes one; `what` distinguishes those of one process.
    ///
    /// # Errors
    /// When `ip` is missing or fails.
    pub fn new(what: &str) -> Result<Self> {
        let name = format!("tracer-{what}-{}", std::process::id());
        command::run(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self(name);
        command::run(Command::new("ip").args(["-n", &netns.0, "link", "set", "lo", "up"]))?;
        Ok(netns)
    }

    /// `program`, to be run in it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", &self.0]).arg(program);
        ip
    }

    /// Its number in the stream.
    ///
    /// # Errors
    /// When it is gone.
    pub fn inode(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(std::fs::metadata(format!("/run/netns/{}", self.0))?.ino())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = command::run(Command::new("ip").args(["netns", "del", &self.0])) {
            eprintln!("{error:#}");
        }
    }
}
