//! A connection's time of silence before its end, and the ICMP error that a connect() got.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tracer_common::{
    record::{COUNTERS_LOCK_KNOWN, COUNTERS_LOCKED},
    settings::ABSENT,
    silence::{IcmpError, PATIENCE_NS, QUIET_UNKNOWN, Silence},
};

use crate::{memory, offset, setting, sock::Sock};

/// `ee_errno`, `ee_origin`, `ee_type` and `ee_code` of `struct sock_extended_err` (`include/uapi/linux/errqueue.h`).
const EE_ERRNO: u32 = 0;
const EE_ORIGIN: u32 = 4;
const EE_TYPE: u32 = 5;
const EE_CODE: u32 = 6;
/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` there.
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;
/// `saddr` in the headers of IPv4 and IPv6 (RFC 791, RFC 8200).
const SADDR: u32 = 12;
const SADDR6: u32 = 8;
/// `seq` in that of TCP (RFC 9293).
const TCP_SEQ: u32 = 4;

/// Reads the silence of a socket. Each cache line read here costs every connection, so fields that only matter after a
/// long silence, or with unacknowledged data, are read only then.
#[inline(always)]
pub fn silence<S: Sock>(sock: S) -> Silence {
    let mut silence = Silence::UNKNOWN;
    if offset!(icsk_retransmits) != ABSENT && sock.u32(offset!(write_seq)) != sock.u32(offset!(snd_una)) {
        silence.retransmits = sock.u8(offset!(icsk_retransmits));
    }
    let tick_ns = setting!(tick_ns);
    if tick_ns == 0 || offset!(lsndtime) == ABSENT || offset!(lrcvtime) == ABSENT {
        return silence;
    }
    // SAFETY: no arguments; permitted to every program type used here. The kernel inlines it as a load where it can.
    let now = unsafe { bpf_jiffies64() } as u32;
    silence.tick_ns = tick_ns;
    silence.sent_ago = now.wrapping_sub(sock.u32(offset!(lsndtime)));
    if silence.sent_ago == 0 {
        return silence;
    }
    silence.received_ago = now.wrapping_sub(sock.u32(offset!(lrcvtime)));
    if (u64::from(silence.sent_ago) + 1) * u64::from(tick_ns) < PATIENCE_NS {
        return silence;
    }
    silence.rto = sock.u32(offset!(icsk_rto));
    if offset!(tcp_clock_cache) != ABSENT && offset!(tcp_wstamp_ns) != ABSENT {
        let (looked, sent) = (sock.u64(offset!(tcp_clock_cache)), sock.u64(offset!(tcp_wstamp_ns)));
        // Pacing puts the last departure into the future.
        let quiet_us = if looked > sent { (looked - sent) / 1000 } else { 0 };
        silence.quiet_us = if quiet_us < u64::from(QUIET_UNKNOWN) { quiet_us as u32 } else { QUIET_UNKNOWN - 1 };
    }
    silence
}

/// Returns whether a system call holds the socket, as `COUNTERS_LOCK*`.
#[inline(always)]
pub fn lock<S: Sock>(sock: S) -> u32 {
    if offset!(sk_lock_owned) == ABSENT {
        0
    } else if sock.u32(offset!(sk_lock_owned)) != 0 {
        COUNTERS_LOCK_KNOWN | COUNTERS_LOCKED
    } else {
        COUNTERS_LOCK_KNOWN
    }
}

/// Reads the last ICMP error of a connect() that waits: the kernel queues them (since 5.8, commit 45af29ca761c). Skips
/// an error about another SYN: it belongs to an earlier connection of the socket and stays in the queue.
#[inline(always)]
pub fn icmp_error<S: Sock>(sock: S) -> IcmpError {
    let mut error = IcmpError::NONE;
    if offset!(sk_error_queue_prev) == ABSENT
        || offset!(sk_error_queue_qlen) == ABSENT
        || offset!(skb_exterr) == ABSENT
        || offset!(skb_head) == ABSENT
        || offset!(skb_network_header) == ABSENT
        || offset!(skb_transport_header) == ABSENT
        || offset!(snd_una) == ABSENT
        || sock.u32(offset!(sk_error_queue_qlen)) == 0
    {
        return error;
    }
    let skb = sock.u64(offset!(sk_error_queue_prev));
    let origin: u8 = memory::read(skb, offset!(skb_exterr) + EE_ORIGIN);
    if origin != ORIGIN_ICMP && origin != ORIGIN_ICMP6 {
        return error;
    }
    let head: u64 = memory::read(skb, offset!(skb_head));
    // The kernel leaves it at the TCP header of the packet that the message is about.
    let transport: u16 = memory::read(skb, offset!(skb_transport_header));
    let about: u32 = memory::read(head, u32::from(transport) + TCP_SEQ);
    if u32::from_be(about) != sock.u32(offset!(snd_una)) {
        return error;
    }
    error.errno = memory::read(skb, offset!(skb_exterr) + EE_ERRNO);
    error.kind = memory::read(skb, offset!(skb_exterr) + EE_TYPE);
    error.code = memory::read(skb, offset!(skb_exterr) + EE_CODE);
    let network: u16 = memory::read(skb, offset!(skb_network_header));
    if origin == ORIGIN_ICMP {
        error.family = 4;
        error.from[0] = memory::read(head, u32::from(network) + SADDR);
    } else {
        error.family = 6;
        error.from = memory::read(head, u32::from(network) + SADDR6);
    }
    error
}
