//! The kernel's counters of what it throws away where no tracepoint tells: which ones a trace watches
//! ([`counter`]), and how one look at them is handed on ([`Look`]).

pub mod counter;
pub mod numbers;

use tracer_common::record::Tuple;

use self::counter::Counter;

/// What moved in one network namespace between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// When the look before was, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// When everything was read.
    pub boot_ns: u64,
    /// The namespace; `None` for what the kernel counts for the whole host.
    pub netns: Option<u32>,
    /// Connections in conntrack's table, and how many it takes: where one of its counters moved.
    pub conntrack: Option<(u64, u64)>,
    /// Counters that moved.
    pub moved: Vec<Moved>,
    /// Listeners and UDP sockets that have thrown something away.
    pub sockets: Vec<SocketLook>,
}

/// A counter at two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub counter: &'static Counter,
    /// Of this device, where the kernel counts by device. Hostile bytes.
    pub device: Option<String>,
    /// At the look before.
    pub before: u64,
    /// At this one.
    pub now: u64,
}

/// A socket whose `sk_drops` moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketLook {
    /// Addresses, ports, namespace.
    pub tuple: Tuple,
    /// `true`: a TCP listener; else a UDP socket.
    pub listens: bool,
    /// Inode of its file; 0 if it has none.
    pub inode: u64,
    /// `sk_drops` at the look before; 0 if it was not there then.
    pub before: u32,
    /// `sk_drops` at this one.
    pub now: u32,
    /// Of a listener: connections that wait for accept(), and how many may.
    pub queue: Option<(u32, u32)>,
    /// Processes that hold its file, oldest first.
    pub holders: Vec<u32>,
}
