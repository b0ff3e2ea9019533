//! What a socket's last record tells beside the counters: how long it had been quiet, or, of one that was in `SYN_SENT`,
//! the ICMP error that it kept. One needs no room where the other is: records are written for every connection.

/// When a connection last sent and received payload. The kernel's ticks (jiffies) are as long as `tick_ns` says: the
/// record is whole without another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Ticks since `tcp_sock.lsndtime`: payload, sent again or not; at first the end of the handshake.
    pub sent_ago: u32,
    /// Ticks since `inet_connection_sock.icsk_ack.lrcvtime`, in the same way; not looked at if `sent_ago` is 0.
    pub received_ago: u32,
    /// Length of a tick; 0 where it, or one of the two above, is not known.
    pub tick_ns: u32,
    /// From the last segment of any kind that was sent to the last moment at which the socket looked at its clock
    /// (`tcp_clock_cache - tcp_wstamp_ns`), µs; [`QUIET_UNKNOWN`]. A socket that nobody holds any more has sent its FIN
    /// last. Looked at where the last payload is [`PATIENCE_NS`] ago.
    pub quiet_us: u32,
    /// `inet_connection_sock.icsk_rto`, ticks; 0 if unknown. Looked at in the same cases.
    pub rto: u32,
    /// `inet_connection_sock.icsk_retransmits`: so often in a row a timer has sent the same again. Looked at if
    /// something was not acknowledged; 0 if unknown.
    pub retransmits: u8,
}

/// [`Silence::quiet_us`] is not known.
pub const QUIET_UNKNOWN: u32 = u32::MAX;
/// Who closes sooner after the last payload has not waited for an answer (syslog, a health check).
pub const PATIENCE_NS: u64 = 1_000_000_000;

impl Silence {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { sent_ago: 0, received_ago: 0, tick_ns: 0, quiet_us: QUIET_UNKNOWN, rto: 0, retransmits: 0 };

    /// As in a record.
    #[inline(always)]
    #[must_use]
    pub const fn pack(self) -> [u64; 3] {
        [
            (self.sent_ago as u64) << 32 | self.received_ago as u64,
            (self.tick_ns as u64) << 32 | self.quiet_us as u64,
            (self.rto as u64) << 32 | self.retransmits as u64,
        ]
    }

    /// From a record.
    #[must_use]
    pub const fn unpack(words: [u64; 3]) -> Self {
        let [ago, lengths, timer] = words;
        Self {
            sent_ago: (ago >> 32) as u32,
            received_ago: ago as u32,
            tick_ns: (lengths >> 32) as u32,
            quiet_us: lengths as u32,
            rto: (timer >> 32) as u32,
            retransmits: timer as u8,
        }
    }
}

/// The last ICMP error in `sk_error_queue` of a socket whose connect() had no answer: the kernel keeps it there for
/// recvmsg(MSG_ERRQUEUE). All zeros if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl IcmpError {
    /// No message.
    pub const NONE: Self = Self { from: [0; 4], errno: 0, family: 0, kind: 0, code: 0 };

    /// As in a record.
    #[inline(always)]
    #[must_use]
    pub const fn pack(self) -> [u64; 3] {
        let [a, b, c, d] = self.from;
        let number = (self.family as u64) << 16 | (self.kind as u64) << 8 | self.code as u64;
        [(a as u64) << 32 | b as u64, (c as u64) << 32 | d as u64, (self.errno as u32 as u64) << 32 | number]
    }

    /// From a record.
    #[must_use]
    pub const fn unpack(words: [u64; 3]) -> Self {
        let [high, low, number] = words;
        Self {
            from: [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32],
            errno: (number >> 32) as i32,
            family: (number >> 16) as u8,
            kind: (number >> 8) as u8,
            code: number as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let silence =
            Silence { sent_ago: 1, received_ago: u32::MAX, tick_ns: 4_000_000, quiet_us: 7, rto: 51, retransmits: 255 };
        assert_eq!(Silence::unpack(silence.pack()), silence);
        assert_eq!(Silence::unpack(Silence::UNKNOWN.pack()), Silence::UNKNOWN);
        let error = IcmpError { from: [1, u32::MAX, 3, 4], errno: 113, family: 6, kind: 1, code: 4 };
        assert_eq!(IcmpError::unpack(error.pack()), error);
        assert_eq!(IcmpError::NONE.pack(), [0; 3]);
    }
}
