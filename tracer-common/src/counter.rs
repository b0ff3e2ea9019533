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
    /// Events that a filter kept out; of dropped packets each one.
    Filtered = 4,
    /// Sockets that could not be followed from their beginning because the socket map was full (or
    /// out of memory). Those that are older than the trace are not counted.
    SocketsUntracked = 5,
    /// Sockets whose end was only seen when the socket was destroyed: a transition was missed.
    ClosesRecovered = 6,
    /// Dropped packets that were told one by one.
    SentDrop = 7,
    /// Dropped packets that were only counted.
    FoldedDrop = 8,
    /// Dropped packets of which nothing is known.
    LostDrop = 9,
    /// Retransmissions and resets handed to the ring.
    SentSegment = 10,
    /// Retransmissions and resets for which the ring had no room.
    LostSegment = 11,
    /// Kernel stacks of drops that could not be taken or kept.
    StacksMissing = 12,
    /// Calls that the kernel kept from the first of several programs and that another one took over.
    TakenOver = 13,
    /// Calls that the first of several programs left to the others.
    Declined = 14,
    /// connect() and listen() calls of which no note could be kept: if they fail at once, that is not told.
    CallsUnnoted = 15,
}

/// How many counters there are.
pub const COUNTERS: u32 = 16;
