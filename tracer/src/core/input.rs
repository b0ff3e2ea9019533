//! The inputs of the core.

use std::collections::HashSet;

use tracer_common::decode::Record;

use super::{NamespaceChange, ProcessSnapshot, Seed, discards::Counting, question::Answer};
use crate::{discards::Look, kernel::reasons::Reasons};

/// One input.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record from the ring.
    Record(Record<'a>),
    /// A process as /proc shows it.
    Process(ProcessSnapshot),
    /// The answer to a question of the core.
    Answer(Answer),
    /// The sockets that existed before the trace.
    Seed(Seed),
    /// Records of a class were lost since the last such input.
    Lost {
        /// When the loss was noticed.
        boot_ns: u64,
        /// `lifecycle`, `process`.
        class: &'static str,
        /// Number of lost records.
        count: u64,
    },
    /// The attached hooks that change the core's decisions. Without this input the core assumes all.
    Hooked {
        /// accept(), so that a record names the acceptor of a connection.
        accept: bool,
    },
    /// Enables packet events: the running kernel's names of reasons, and whether drops are hooked.
    Packets {
        /// Names of the reasons.
        reasons: Reasons,
        /// Drops are hooked.
        drops: bool,
    },
    /// The network namespace of a name in the filter has changed.
    Namespace(NamespaceChange),
    /// Watching of the kernel's counters of discards begins.
    Counting(Counting),
    /// Changes in the counters of a namespace.
    Counters(Look),
    /// All drops before the previous such input have been emitted.
    Settled,
    /// The sockets seen before the hooks were attached are no longer needed.
    Reconciled,
    /// The trace ends.
    End {
        /// When.
        boot_ns: u64,
        /// If lifecycle records were lost: the connections that the kernel side still follows. The others have ended in
        /// an unknown way: their close record was lost.
        followed: Option<HashSet<u64>>,
    },
}
