//! The user's filter, as the core asks it.

use serde::{Deserialize, Serialize};
use tracer_stream::{Kind, Socket};

/// The filter's answer about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Show it.
    Pass,
    /// Hide it.
    Reject,
    /// Not decidable yet: its owner or local port is still to come.
    Undecided,
}

/// A change of the network namespace that a name in the filter means. Names are numbered in the order of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceChange {
    /// The name with this index now means the namespace with this inode number; 0: none.
    Now(usize, u32),
    /// The former namespace of the name with this index is forgotten.
    Forget(usize),
}

/// Decides which events are shown. The core asks once for each connection; the answer holds for all its events.
pub trait Gate {
    /// Decides about an open connection.
    fn admit(&self, socket: &Socket<'_>) -> Admission;
    /// Decides about a closed connection: what is unknown now stays unknown.
    fn admit_finally(&self, socket: &Socket<'_>) -> bool;
    /// Decides about a kind of event, independent of the owner.
    fn shows(&self, kind: &Kind<'_>) -> bool;
    /// Whether findings may rest on an event of this kind, shown or not.
    fn feeds_findings(&self, kind: &Kind<'_>) -> bool;
    /// Whether only processes are shown: then any of their events emits them.
    fn shows_processes_only(&self) -> bool;
    /// A process was forked.
    fn fork(&mut self, parent: u32, child: u32, child_start_ns: u64);
    /// A process is gone.
    fn exit(&mut self, pid: u32);
    /// The network namespace of a name in the filter has changed.
    fn namespace(&mut self, change: NamespaceChange);
}
