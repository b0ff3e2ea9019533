//! The kernel's account of a sender's time (`tcp_chrono_start` in `net/ipv4/tcp_output.c`).

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tracer_common::{record::TcpLimits, settings::ABSENT};

use crate::{offset, setting, sock::Sock};

/// Reads the account. What only matters for a connection that sent segments again is read only then: each cache line
/// costs every connection.
#[inline(always)]
pub fn limits<S: Sock>(sock: S) -> TcpLimits {
    let mut limits = TcpLimits::UNKNOWN;
    limits.rate_interval_us = sock.u32(offset!(rate_interval_us));
    limits.rate_delivered = sock.u32(offset!(rate_delivered));
    limits.mss = sock.u32(offset!(mss_cache));
    limits.out_of_order = sock.u32(offset!(rcv_ooopack));
    if sock.u32(offset!(total_retrans)) != 0 {
        limits.reordering = sock.u32(offset!(reordering));
        limits.dsack = sock.u32(offset!(dsack_dups));
    }
    let stat = offset!(chrono_stat);
    if setting!(tick_ns) == 0 || stat == ABSENT || offset!(chrono_start) == ABSENT || offset!(chrono_type) == ABSENT {
        return limits;
    }
    limits.tick_ns = setting!(tick_ns);
    limits.ticks = [sock.u32(stat), sock.u32(stat + 4), sock.u32(stat + 8)];
    let mask = offset!(chrono_type_mask);
    let running = u32::from(sock.u8(offset!(chrono_type))) & mask;
    if running != 0 {
        // SAFETY: no arguments; permitted to every program type used here. The kernel inlines it as a load where it can.
        let now = unsafe { bpf_jiffies64() } as u32;
        let ran = now.wrapping_sub(sock.u32(offset!(chrono_start)));
        // The number of `enum tcp_chrono` stands in the bits of the mask.
        let one = mask & mask.wrapping_neg();
        if running == one {
            limits.ticks[0] = limits.ticks[0].wrapping_add(ran);
        } else if running == one << 1 {
            limits.ticks[1] = limits.ticks[1].wrapping_add(ran);
        } else if running == one | one << 1 {
            limits.ticks[2] = limits.ticks[2].wrapping_add(ran);
        }
    }
    limits
}
