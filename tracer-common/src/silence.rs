//! What a socket's last record tells beside the counters: how long it had been quiet, and the ICMP error that it kept.

/// When a connection last sent and received payload. The kernel's ticks (jiffies) are as long as `tick_ns` says: the
/// record is whole without another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Silence {
    /// From the last segment of any kind that was sent to the last moment at which the socket looked at its clock
    /// (`tcp_clock_cache - tcp_wstamp_ns`); [`QUIET_UNKNOWN`]. A socket that nobody holds any more has sent its FIN last.
    pub quiet_ns: u64,
    /// Ticks since `tcp_sock.lsndtime`: payload, sent again or not; at first the end of the handshake.
    pub sent_ago: u32,
    /// Ticks since `inet_connection_sock.icsk_ack.lrcvtime`, in the same way.
    pub received_ago: u32,
    /// Length of a tick; 0 where it, or one of the two above, is not known.
    pub tick_ns: u32,
    /// `inet_connection_sock.icsk_rto`, ticks; 0 if unknown.
    pub rto: u32,
    /// `inet_connection_sock.icsk_retransmits`: so often in a row a timer has sent the same again.
    pub retransmits: u8,
    /// `SILENCE_*`.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// [`Silence::quiet_ns`] is not known.
pub const QUIET_UNKNOWN: u64 = u64::MAX;
/// Whether a system call had the socket (`sk_lock.owned`) could be read.
pub const SILENCE_LOCK_KNOWN: u8 = 1 << 0;
/// A system call had the socket: what happened to it, that call did.
pub const SILENCE_LOCKED: u8 = 1 << 1;
/// `icsk_retransmits` could be read.
pub const SILENCE_RETRANSMITS_KNOWN: u8 = 1 << 2;

impl Silence {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        quiet_ns: QUIET_UNKNOWN,
        sent_ago: 0,
        received_ago: 0,
        tick_ns: 0,
        rto: 0,
        retransmits: 0,
        flags: 0,
        reserved: [0; 6],
    };
}

/// The last ICMP error in `sk_error_queue` of a socket whose connect() had no answer: the kernel keeps it there for
/// recvmsg(MSG_ERRQUEUE). All zeros if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct IcmpError {
    /// Source address of the message, network order; IPv4 in the first word.
    pub from: [u32; 4],
    /// What the kernel makes of it: `sock_extended_err.ee_errno`.
    pub errno: i32,
    /// 4 (ICMP) or 6 (ICMPv6); 0 for no message.
    pub family: u8,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Zero.
    pub reserved: u8,
}

impl IcmpError {
    /// No message.
    pub const NONE: Self = Self { from: [0; 4], errno: 0, family: 0, kind: 0, code: 0, reserved: 0 };
}

const _: () = {
    assert!(size_of::<Silence>() == 32);
    assert!(size_of::<IcmpError>() == 24);
};
