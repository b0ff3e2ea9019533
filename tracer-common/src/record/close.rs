//! The end of a socket.

use super::SocketRecord;
use crate::{
    silence::{IcmpError, Silence},
    tcp::TcpState,
};

/// The kernel's own counters of a connection at its end (`struct tcp_sock`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TcpCounters {
    /// `tcp_sock.bytes_acked`, with SYN and FIN counted as one byte each, as the kernel does.
    pub bytes_acked: u64,
    /// `tcp_sock.bytes_received`, with FIN counted as one byte.
    pub bytes_received: u64,
    /// `tcp_sock.bytes_sent`: payload, retransmissions included.
    pub bytes_sent: u64,
    /// `tcp_sock.bytes_retrans`: retransmitted payload.
    pub bytes_retrans: u64,
    /// `tcp_sock.snd_nxt`.
    pub snd_nxt: u32,
    /// `tcp_sock.snd_una`.
    pub snd_una: u32,
    /// `tcp_sock.write_seq`.
    pub write_seq: u32,
    /// `tcp_sock.total_retrans`.
    pub total_retrans: u32,
    /// `tcp_sock.srtt_us`, eight times the smoothed round-trip time in µs.
    pub srtt_us: u32,
    /// `tcp_sock.rtt_min.s[0].v`, µs; `u32::MAX` before the first sample.
    pub min_rtt_us: u32,
    /// `sock.sk_err_soft`, positive.
    pub sk_err_soft: i32,
    /// `COUNTERS_*`.
    pub flags: u32,
}

/// [`TcpCounters`] holds the kernel's counters (their offsets are known on this kernel).
pub const COUNTERS_KNOWN: u32 = 1 << 0;
/// `SOCK_DONE` was set: the peer's FIN has arrived.
pub const COUNTERS_FIN_RECEIVED: u32 = 1 << 1;
/// `sk->sk_socket` was set: the socket belonged to a file at its end.
pub const COUNTERS_HAS_SOCKET: u32 = 1 << 2;
/// `sk->sk_socket` could be read: [`COUNTERS_HAS_SOCKET`] is meaningful.
pub const COUNTERS_SOCKET_KNOWN: u32 = 1 << 3;
/// `sk_err` could not be read: an `errno` of zero means nothing.
pub const COUNTERS_NO_ERRNO: u32 = 1 << 4;
/// `sk_lock.owned` of a socket in `SYN_SENT` could be read: [`COUNTERS_LOCKED`] is meaningful.
pub const COUNTERS_LOCK_KNOWN: u32 = 1 << 5;
/// A system call held the socket, and so caused its end.
pub const COUNTERS_LOCKED: u32 = 1 << 6;
/// The socket was in repair mode (`TCP_REPAIR`): its end sends nothing.
pub const COUNTERS_REPAIR: u32 = 1 << 8;

/// The end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CloseRecord {
    /// As for every event; `errno` is `sk_err`.
    pub socket: SocketRecord,
    /// The kernel's counters.
    pub tcp: TcpCounters,
    /// A packed [`IcmpError`] if it was in `SYN_SENT`, else a [`Silence`].
    pub ending: [u64; 3],
}

impl CloseRecord {
    const fn was_connecting(&self) -> bool {
        self.socket.old == TcpState::SynSent as u8
    }

    /// Returns how long the connection had been quiet.
    #[must_use]
    pub const fn silence(&self) -> Silence {
        if self.was_connecting() { Silence::UNKNOWN } else { Silence::unpack(self.ending) }
    }

    /// Returns the ICMP error of a connect() without an answer.
    #[must_use]
    pub const fn icmp(&self) -> IcmpError {
        if self.was_connecting() { IcmpError::unpack(self.ending) } else { IcmpError::NONE }
    }
}

const _: () = {
    assert!(size_of::<TcpCounters>() == 64);
    assert!(size_of::<CloseRecord>() == 264 && align_of::<CloseRecord>() == 8);
};
