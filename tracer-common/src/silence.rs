//! The last part of a close record: how long the socket had been quiet, or the ICMP error that a socket in `SYN_SENT`
//! kept. Both share the same bytes, because the record exists for every connection.

/// When a connection last sent and received payload. `tick_ns` is the length of the kernel's ticks (jiffies), so a
/// reader needs no other record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Ticks since `tcp_sock.lsndtime`: the last payload, retransmitted or not; at first the end of the handshake.
    pub sent_ago: u32,
    /// Ticks since `inet_connection_sock.icsk_ack.lrcvtime`, in the same way; not read if `sent_ago` is 0.
    pub received_ago: u32,
    /// Length of a tick; 0 if it or either time above is unknown.
    pub tick_ns: u32,
    /// Time from the last segment sent, of any kind, to the socket's last look at its clock
    /// (`tcp_clock_cache - tcp_wstamp_ns`), µs; or [`QUIET_UNKNOWN`]. An orphaned socket has sent its FIN last.
    /// Read if the last payload is [`PATIENCE_NS`] ago.
    pub quiet_us: u32,
    /// `inet_connection_sock.icsk_rto`, ticks; 0 if unknown. Read in the same cases.
    pub rto: u32,
    /// `inet_connection_sock.icsk_retransmits`: how often in a row a timer has sent the same data again. Read if
    /// something is not acknowledged; 0 if unknown.
    pub retransmits: u8,
}

/// [`Silence::quiet_us`] is unknown.
pub const QUIET_UNKNOWN: u32 = u32::MAX;
/// A process that closes sooner after its last payload does not wait for an answer (syslog, a health check).
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

/// The last ICMP error in `sk_error_queue` of a socket whose connect() got no answer. The kernel keeps it there for
/// recvmsg(MSG_ERRQUEUE). All zeros if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Source address of the message, network order; IPv4 in the first word.
    pub from: [u32; 4],
    /// The kernel's errno for it: `sock_extended_err.ee_errno`.
    pub errno: i32,
    /// 4 (ICMP) or 6 (ICMPv6); 0 for no message.
    pub family: u8,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
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
