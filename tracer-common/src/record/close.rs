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

/// The kernel's account of a sender's time, and other figures of the way (`struct tcp_sock`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpLimits {
    /// `tcp_sock.chrono_stat`, ticks: data was under way, the peer's window was full, the send buffer was full. The
    /// interval that still runs is part of it.
    pub ticks: [u32; 3],
    /// Length of a tick, ns; 0: `ticks` is unknown.
    pub tick_ns: u32,
    /// `tcp_sock.rate_delivered`, segments.
    pub rate_delivered: u32,
    /// `tcp_sock.rate_interval_us`; 0 before the first sample.
    pub rate_interval_us: u32,
    /// `tcp_sock.mss_cache`, bytes.
    pub mss: u32,
    /// `tcp_sock.rcv_ooopack`: segments that came out of order.
    pub out_of_order: u32,
    /// `tcp_sock.reordering`; 0 if nothing was sent again.
    pub reordering: u32,
    /// `tcp_sock.dsack_dups`: segments that the peer had twice; 0 if nothing was sent again.
    pub dsack: u32,
}

impl TcpLimits {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        ticks: [0; 3],
        tick_ns: 0,
        rate_delivered: 0,
        rate_interval_us: 0,
        mss: 0,
        out_of_order: 0,
        reordering: 0,
        dsack: 0,
    };
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
    /// The account of its time.
    pub limits: TcpLimits,
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
    assert!(size_of::<TcpLimits>() == 40 && size_of::<CloseRecord>() == 304 && align_of::<CloseRecord>() == 8);
};
