//! Control groups that a test makes and removes.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::netns::unique;

/// The mount point of the version 2 hierarchy.
///
/// # Errors
/// The reason to skip.
pub fn root() -> Result<PathBuf, String> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(PathBuf::from)
        .find(|dir| dir.join("cgroup.controllers").is_file())
        .ok_or_else(|| "kernel: there is no cgroup v2".to_owned())
}

/// A control group, with the parents that were made for it. Removed when dropped, if they are empty.
#[derive(Debug)]
pub struct Cgroup {
    /// Outermost first.
    made: Vec<PathBuf>,
    path: String,
}

impl Cgroup {
    /// Makes `below` (a relative path) in a group of this test's own.
    ///
    /// # Errors
    /// The reason to skip.
    pub fn new(below: &str) -> Result<Self, String> {
        let root = root()?;
        let own = format!("tracer-test-{}-{}", std::process::id(), unique());
        let mut group = Self { made: Vec::new(), path: format!("/{own}/{below}") };
        let mut dir = root;
        for name in std::iter::once(own.as_str()).chain(below.split('/')) {
            dir.push(name);
            std::fs::create_dir(&dir).map_err(|e| format!("kernel: {}: {e}", dir.display()))?;
            group.made.push(dir.clone());
        }
        Ok(group)
    }

    /// Its path, as in /proc/PID/cgroup of its processes.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    ///
    /// # Panics
    /// Never: a group was made.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.made.last().expect("there is a group")
    }

    /// Moves a process into it.
    ///
    /// # Panics
    /// If it cannot be moved.
    pub fn take(&self, pid: u32) {
        let mut procs =
            File::options().write(true).open(self.directory().join("cgroup.procs")).expect("the group opens");
        write!(procs, "{pid}").expect("the process moves");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for dir in self.made.iter().rev() {
            // A killed process leaves once the kernel has got to it.
            let gone = crate::traffic::sys::until(|| Ok(std::fs::remove_dir(dir).is_ok()));
            if gone.is_err() {
                println!("{} stays", dir.display());
            }
        }
    }
}
