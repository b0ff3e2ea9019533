//! The places of /proc and of named network namespaces, and the error of reading them.

use std::io;
use std::path::{Path, PathBuf};

/// The places to read; `/proc` and the usual directories of named namespaces by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoot {
    proc: PathBuf,
    netns_dirs: Vec<PathBuf>,
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            // iproute2's, the same if /var/run is not a link to /run, and Docker's sandboxes.
            netns_dirs: vec!["/run/netns".into(), "/var/run/netns".into(), "/run/docker/netns".into()],
        }
    }
}

impl ProcRoot {
    /// Makes a root with a procfs at `proc`, without directories of named namespaces.
    #[must_use]
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), netns_dirs: Vec::new() }
    }

    /// Sets the directories whose files are named network namespaces, the preferred one first.
    #[must_use]
    pub fn with_netns_dirs(mut self, dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        self.netns_dirs = dirs.into_iter().collect();
        self
    }

    /// Returns the procfs itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.proc
    }

    /// Returns the directory of process `pid`.
    #[must_use]
    pub fn process(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// Returns the directories whose files are named network namespaces.
    #[must_use]
    pub fn netns_dirs(&self) -> &[PathBuf] {
        &self.netns_dirs
    }
}

/// The error of a file that should be readable.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path:?}")]
pub struct ReadError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl ReadError {
    pub(super) fn new(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { path: path.into(), source }
    }
}

/// Whether the error means that the process (or file) went away: `ENOENT` from opening its directory,
/// `ESRCH` from opening or reading below a directory opened before.
pub(super) fn vanished(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// Whether the error means that this user may not read it.
#[must_use]
pub fn denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}
