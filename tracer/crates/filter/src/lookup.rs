//! Names of objects of the host: processes, users, network namespaces. The caller looks them up.

use super::FilterError;
use super::parse::Netns;

/// A running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its start, `CLOCK_BOOTTIME` ns, in whole ticks.
    pub start_ns: u64,
}

/// Looks names up.
pub trait Lookup {
    /// The process that `pid` names. For the id of a thread, the process that it belongs to;
    /// `None` if there is neither.
    ///
    /// # Errors
    /// If it exists and cannot be read.
    fn process(&self, pid: u32) -> Result<Option<Process>, FilterError>;

    /// All living children of `pids`, their children and so on.
    ///
    /// # Errors
    /// If the processes cannot be listed.
    fn descendants(&self, pids: &[u32]) -> Result<Vec<Process>, FilterError>;

    /// The user's number.
    ///
    /// # Errors
    /// If the list of users cannot be read.
    fn user(&self, name: &str) -> Result<Option<u32>, FilterError>;

    /// The inode number of the namespace.
    ///
    /// # Errors
    /// If it exists and cannot be read.
    fn netns(&self, netns: &Netns) -> Result<Option<u32>, FilterError>;
}
