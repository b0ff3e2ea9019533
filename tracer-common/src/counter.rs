//! Indexes of the per-CPU counter array that the BPF programs keep and the agent sums.

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Lifecycle records for which the ring had no room.
    LostLifecycle = 0,
    /// Process records (fork, exec, exit) for which the ring had no room.
    LostProcess = 1,
    /// Lifecycle records handed to the ring.
    SentLifecycle = 2,
    /// Process records handed to the ring.
    SentProcess = 3,
    /// Events that a filter kept out; every filtered drop counts.
    Filtered = 4,
    /// Sockets that had no place in the socket map (full, or out of memory) when they began. Sockets
    /// older than the trace are not counted.
    SocketsUntracked = 5,
    /// Sockets whose transition to `CLOSE` the trace missed; it saw only their destruction.
    ClosesRecovered = 6,
    /// Dropped packets with a record of their own.
    SentDrop = 7,
    /// Dropped packets counted in a fold.
    FoldedDrop = 8,
    /// Dropped packets that have no record and are in no fold.
    LostDrop = 9,
    /// Retransmissions and resets handed to the ring.
    SentSegment = 10,
    /// Retransmissions and resets for which the ring had no room.
    LostSegment = 11,
    /// Drops whose kernel stack could not be taken or kept.
    StacksMissing = 12,
    /// Calls that the kernel kept from a hook's first program and another program took over.
    TakenOver = 13,
    /// Calls that a hook's first program left to the others.
    Declined = 14,
    /// connect() and listen() calls without a note, for lack of room: an immediate failure goes unreported.
    CallsUnnoted = 15,
}

/// Number of counters.
pub const COUNTERS: u32 = 16;
