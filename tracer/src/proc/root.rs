//! Where /proc and the named network namespaces are, and the error of reading them.

use std::io;
use std::path::{Path, PathBuf};

/// The places that are read; `/proc` and the usual directories of named namespaces by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoot {
    proc: PathBuf,
    netns_dirs: Vec<PathBuf>,
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            // iproute2's, the same where /var/run is not a link to /run, and Docker's sandboxes.
            netns_dirs: vec!["/run/netns".into(), "/var/run/netns".into(), "/run/docker/netns".into()],
        }
    }
}

impl ProcRoot {
    /// A procfs at `proc`, without directories of named namespaces.
    #[must_use]
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), netns_dirs: Vec::new() }
    }

    /// Sets the directories whose files are named network namespaces, the one to prefer first.
    #[must_use]
    pub fn with_netns_dirs(mut self, dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        self.netns_dirs = dirs.into_iter().collect();
        self
    }

    /// The procfs itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.proc
    }

    /// The directory of process `pid`.
    #[must_use]
    pub fn process(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// The directories whose files are named network namespaces.
    #[must_use]
    pub fn netns_dirs(&self) -> &[PathBuf] {
        &self.netns_dirs
    }
}

/// A file that should be readable is not.
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

/// The error means that the process (or file) went away: `ENOENT` when its directory is opened,
/// `ESRCH` when a file of it is that was open before.
pub(super) fn vanished(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The error means that this user may not read it.
pub(crate) fn denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}
