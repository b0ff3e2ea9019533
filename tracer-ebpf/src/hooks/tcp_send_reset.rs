//! `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb)`, with `enum sk_rst_reason reason`
//! from 6.10 on (commit b533fb9cf4f7). Either pointer may be null.
//!
//! Before that the tracepoint reports full sockets only (`if (sk && sk_fullsock(sk))`); the functions
//! that answer for closed ports and for remains of closed connections report the others.

use aya_ebpf::{
    macros::{fentry, kprobe, raw_tracepoint},
    programs::{FEntryContext, ProbeContext, RawTracePointContext, TracePointContext},
};
use tracer_common::{
    audit::{Audited, Outcome},
    drops::NO_REASON,
    settings::ABSENT,
};

use crate::{
    audit, counting,
    drops::{RawSkb, reset_sent, reset_sent_for_nobody},
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes, offset,
};

counting! { audit_reset_out: "tcp_send_reset" => SendReset }

#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn send_reset__raw(ctx: RawTracePointContext) -> i32 {
    send_reset(&ctx, Lane::First);
    0
}

lanes! {
    raw_tracepoint(tracepoint = "tcp_send_reset") RawTracePointContext => send_reset:
    send_reset__lane2 send_reset__lane3
}

#[inline(always)]
fn send_reset(ctx: &RawTracePointContext, lane: Lane) {
    if !preempted::takes(address(ctx), Before::Nothing, Subject(ctx.arg(0), ctx.arg(1)), lane) {
        return;
    }
    let mut reason = NO_REASON;
    if offset!(send_reset_args) != ABSENT && offset!(send_reset_args) >= 3 {
        reason = ctx.arg(2);
    }
    audit::settle_in(lane, Audited::SendReset, ctx, reset_sent(ctx.arg(0), RawSkb(ctx.arg(1)), reason));
}

tracepoint! { "tracepoint/tcp/tcp_send_reset" send_reset__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    // SAFETY: the offsets come from the tracepoint's `format` file; the helper checks the address.
    let (sk, skb) = unsafe {
        (
            ctx.read_at::<u64>(offset!(send_reset_format_skaddr) as usize),
            ctx.read_at::<u64>(offset!(send_reset_format_skbaddr) as usize),
        )
    };
    let mut reason = NO_REASON;
    if offset!(send_reset_format_reason) != ABSENT {
        // SAFETY: as above.
        reason = unsafe { ctx.read_at::<u32>(offset!(send_reset_format_reason) as usize) }.unwrap_or(NO_REASON);
    }
    let outcome = match (sk, skb) {
        (Ok(sk), Ok(skb)) => reset_sent(sk, RawSkb(skb), reason),
        _ => Outcome::Aside,
    };
    audit::settle_classic(Audited::SendReset, outcome);
}

/// match-proto: void tcp_v4_send_reset(const struct sock *sk, struct sk_buff *skb)
#[fentry(function = "tcp_v4_send_reset")]
pub fn closed_port4__fentry(ctx: FEntryContext) -> i32 {
    let (sk, skb): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    reset_sent_for_nobody(sk as u64, RawSkb(skb as u64));
    0
}

#[fentry(function = "tcp_v6_send_reset")]
pub fn closed_port6__fentry(ctx: FEntryContext) -> i32 {
    let (sk, skb): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    reset_sent_for_nobody(sk as u64, RawSkb(skb as u64));
    0
}

#[kprobe(function = "tcp_v4_send_reset")]
pub fn closed_port4__kprobe(ctx: ProbeContext) -> u32 {
    reset_sent_for_nobody(ctx.arg::<u64>(0).unwrap_or(0), RawSkb(ctx.arg::<u64>(1).unwrap_or(0)));
    0
}

#[kprobe(function = "tcp_v6_send_reset")]
pub fn closed_port6__kprobe(ctx: ProbeContext) -> u32 {
    reset_sent_for_nobody(ctx.arg::<u64>(0).unwrap_or(0), RawSkb(ctx.arg::<u64>(1).unwrap_or(0)));
    0
}
