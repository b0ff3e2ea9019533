//! The records that travel through the ring buffer: fixed layout, explicit padding, a version.
//!
//! Integers are in host order (the ring never leaves the machine; a recording states its byte
//! order). Addresses are bytes in network order, IPv4 in the first four.

mod call;
mod close;
mod opener;
mod process;
mod socket;

use crate::drops::{DropRecord, SegmentRecord};

pub use self::{call::*, close::*, opener::*, process::*, socket::*};

/// Version of the layouts in this file. A change of any layout changes it.
pub const RECORD_VERSION: u8 = 1;

/// The kind of event that a record reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// `CLOSE → SYN_SENT`: a connection attempt has begun. [`SocketRecord`].
    Connect = 1,
    /// connect() failed before the socket left `CLOSE`; `errno` says why. [`SocketRecord`].
    ConnectFailed = 2,
    /// The handshake is done, either role. [`SocketRecord`].
    Established = 3,
    /// accept() handed the socket to a process. [`SocketRecord`].
    Accept = 4,
    /// The socket listens; `detail` is the backlog, or [`BACKLOG_UNKNOWN`]. [`SocketRecord`].
    Listen = 5,
    /// The socket reached `CLOSE`. [`CloseRecord`].
    Close = 6,
    /// Any transition; only if [`crate::settings::WANT_STATES`] is set. [`SocketRecord`].
    State = 7,
    /// The kernel reported `errno` on the socket. [`SocketRecord`].
    Error = 8,
    /// A socket is gone: it closed before any accept(), or the trace missed its end and another socket now uses its
    /// memory (then its addresses are unknown). [`SocketRecord`].
    Destroyed = 9,
    /// bind() failed; `errno` says why, the local end of the tuple is the address asked for, `detail` is the protocol.
    /// [`SocketRecord`].
    BindFailed = 12,
    /// accept() failed on a listener, `detail` times, for lack of descriptors or memory; the opener is the task that
    /// called it. [`SocketRecord`].
    AcceptFailed = 13,
    /// A process forked. [`ForkRecord`].
    Fork = 16,
    /// A process executed a program. [`ExecRecord`].
    Exec = 17,
    /// A process ended. [`ExitRecord`].
    Exit = 18,
    /// The kernel dropped a packet. [`DropRecord`].
    Drop = 32,
    /// The kernel retransmitted a segment. [`SegmentRecord`].
    Retransmit = 33,
    /// The kernel sent or received RST. [`SegmentRecord`].
    Reset = 34,
}

impl RecordKind {
    /// Returns the kind with the number `n`.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Connect,
            2 => Self::ConnectFailed,
            3 => Self::Established,
            4 => Self::Accept,
            5 => Self::Listen,
            6 => Self::Close,
            7 => Self::State,
            8 => Self::Error,
            9 => Self::Destroyed,
            12 => Self::BindFailed,
            13 => Self::AcceptFailed,
            16 => Self::Fork,
            17 => Self::Exec,
            18 => Self::Exit,
            32 => Self::Drop,
            33 => Self::Retransmit,
            34 => Self::Reset,
            _ => return None,
        })
    }

    /// Returns the size in bytes of a record of this kind.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Close => size_of::<CloseRecord>(),
            Self::Fork => size_of::<ForkRecord>(),
            Self::Exec => size_of::<ExecRecord>(),
            Self::Exit => size_of::<ExitRecord>(),
            Self::Drop => size_of::<DropRecord>(),
            Self::Retransmit | Self::Reset => size_of::<SegmentRecord>(),
            _ => size_of::<SocketRecord>(),
        }
    }
}

/// The first bytes of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// A [`RecordKind`].
    pub kind: u8,
    /// [`RECORD_VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// `CLOCK_BOOTTIME` at the event, in nanoseconds.
    pub boot_ns: u64,
}

const _: () = assert!(size_of::<Header>() == 16);
