//! The inputs of the core.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tracer_common::decode::{DecodeError, Record};
use tracer_tables::{discards::Look, reasons::Reasons};

use super::{
    NamespaceChange, ProcessSnapshot, Seed, TraceAccount,
    discards::Counting,
    forms::{Class, Pack, Packed, class, record},
    question::Answer,
};

/// One input.
///
/// `R` is a record: in a trace a [`Record`] in the memory of its ring, on a tape its bytes ([`Packed`]).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(serialize = "R: Pack", deserialize = "R: From<Packed>"))]
pub enum Input<R> {
    /// A record from a ring.
    Record(#[serde(with = "record")] R),
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
        #[serde(with = "class")]
        class: Class,
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
    /// Causes are wanted ([`causes`](super::causes)).
    Diagnosis {
        /// When the trace began, `CLOCK_BOOTTIME` ns.
        boot_ns: u64,
    },
    /// The account of the whole trace, for its summary. Comes last.
    Account(Box<TraceAccount>),
}

impl Input<Packed> {
    /// Calls `take` with the input as the core takes it.
    ///
    /// # Errors
    /// If its record cannot be decoded.
    pub fn open(self, take: impl FnOnce(Input<Record<'_>>)) -> Result<(), DecodeError> {
        let input = match self {
            Self::Record(packed) => {
                take(Input::Record(packed.record()?));
                return Ok(());
            }
            Self::Process(process) => Input::Process(process),
            Self::Answer(answer) => Input::Answer(answer),
            Self::Seed(seed) => Input::Seed(seed),
            Self::Lost { boot_ns, class, count } => Input::Lost { boot_ns, class, count },
            Self::Hooked { accept } => Input::Hooked { accept },
            Self::Packets { reasons, drops } => Input::Packets { reasons, drops },
            Self::Namespace(change) => Input::Namespace(change),
            Self::Counting(counting) => Input::Counting(counting),
            Self::Counters(look) => Input::Counters(look),
            Self::Settled => Input::Settled,
            Self::Reconciled => Input::Reconciled,
            Self::End { boot_ns, followed } => Input::End { boot_ns, followed },
            Self::Diagnosis { boot_ns } => Input::Diagnosis { boot_ns },
            Self::Account(account) => Input::Account(account),
        };
        take(input);
        Ok(())
    }
}
