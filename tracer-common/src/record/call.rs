//! What the kernel side keeps of calls: those under way, and those of accept() that fail.

use super::{Header, Opener, RECORD_VERSION, RecordKind, SocketRecord, SocketState, Tuple};

/// A connect() in progress, kept per task from its entry until the socket leaves `CLOSE`, and again from a failure
/// inside it to its return. Not kept while the call waits for an answer: traced programs choose how many calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connecting {
    /// Address of the `struct sock`.
    pub sk: u64,
    /// The stage reached: `CONNECTING_*` or `CALL_LISTEN*`.
    pub progress: u64,
    /// Place of the address in the caller's memory; 0 if `addr` is the kernel's own copy.
    pub place: u64,
    /// The `struct sockaddr` argument of connect(), as far as `sockaddr_in6` reaches; zeros if unreadable.
    pub addr: [u32; 7],
    /// Zero.
    pub reserved: u32,
    /// The tuple, once the attempt has failed.
    pub tuple: Tuple,
}

/// The task is in connect(), the socket is still in `CLOSE`.
pub const CONNECTING_ENTERED: u64 = 0;
/// The socket fell back to `CLOSE` inside connect(), without an error from the network.
pub const CONNECTING_FAILED: u64 = 2;
/// The task is in listen() instead.
pub const CALL_LISTEN: u64 = 3;
/// The socket fell from `LISTEN` back to `CLOSE` inside listen().
pub const CALL_LISTEN_FAILED: u64 = 4;

/// Failed accept() calls of one task on one listener with one errno, in at most one record per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AcceptFailures {
    /// The next record; `detail` counts the failures that no record has yet.
    pub record: SocketRecord,
    /// Time of the last record.
    pub told_ns: u64,
}

impl AcceptFailures {
    /// None yet.
    pub const NONE: Self = Self {
        record: SocketRecord {
            header: Header {
                kind: RecordKind::AcceptFailed as u8,
                version: RECORD_VERSION,
                reserved: [0; 6],
                boot_ns: 0,
            },
            state: SocketState {
                id: 0,
                started_ns: 0,
                established_ns: 0,
                opener: Opener::NOBODY,
                role: 0,
                closed: 0,
                flags: 0,
                parent: 0,
            },
            tuple: Tuple {
                laddr: [0; 4],
                raddr: [0; 4],
                lport: 0,
                rport: 0,
                family: 0,
                reserved: [0; 3],
                netns: 0,
                ifindex: 0,
            },
            old: 0,
            new: 0,
            reserved: [0; 2],
            errno: 0,
            detail: 0,
        },
        told_ns: 0,
    };
}

const _: () = {
    assert!(size_of::<AcceptFailures>() == 184);
    assert!(size_of::<Connecting>() == 104);
};
