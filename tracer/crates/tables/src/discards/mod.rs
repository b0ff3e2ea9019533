//! The kernel's counters of discards without a tracepoint event: the watched ones ([`counter`]), and the result of one
//! look at them ([`Look`]).

pub mod counter;
pub mod numbers;
mod watched;

use serde::{Deserialize, Serialize};
use tracer_common::record::Tuple;

use self::counter::Counter;
use crate::tuple::TupleForm;

/// The changes in one network namespace between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Time of the previous look, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// Time of this look.
    pub boot_ns: u64,
    /// The namespace; `None` for counters of the whole host.
    pub netns: Option<u32>,
    /// Connections in conntrack's table, and its limit; only if one of its counters moved.
    pub conntrack: Option<(u64, u64)>,
    /// Counters that moved.
    pub moved: Vec<Moved>,
    /// Listeners and UDP sockets that discarded something.
    pub sockets: Vec<SocketLook>,
}

/// A counter at two looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The counter.
    #[serde(with = "watched")]
    pub counter: &'static Counter,
    /// The device, where the kernel counts by device. Hostile bytes.
    pub device: Option<String>,
    /// Value at the previous look.
    pub before: u64,
    /// Value at this look.
    pub now: u64,
}

/// A socket whose `sk_drops` moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketLook {
    /// Addresses, ports, namespace.
    #[serde(with = "TupleForm")]
    pub tuple: Tuple,
    /// `true`: a TCP listener; else a UDP socket.
    pub listens: bool,
    /// Inode of its file; 0 if it has none.
    pub inode: u64,
    /// `sk_drops` at the previous look; 0 if the socket did not exist then.
    pub before: u32,
    /// `sk_drops` at this look.
    pub now: u32,
    /// Of a listener: connections that wait for accept(), and their limit.
    pub queue: Option<(u32, u32)>,
    /// Processes that hold its file, oldest first.
    pub holders: Vec<u32>,
}
