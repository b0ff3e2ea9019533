//! `tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb)`, with an error from 6.17 on.
//!
//! No BTF tracepoint: the program reads everything by address, and a raw tracepoint is enough for that.

use aya_ebpf::{
    macros::raw_tracepoint,
    programs::{RawTracePointContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit, counting,
    drops::{RawSkb, retransmitted},
    offset,
};

counting! { audit_retrans: "tcp_retransmit_skb" => Retransmit }

#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub fn retransmit__raw(ctx: RawTracePointContext) -> i32 {
    audit::settle(Audited::Retransmit, &ctx, retransmitted(ctx.arg(0), RawSkb(ctx.arg(1))));
    0
}

tracepoint! { "tracepoint/tcp/tcp_retransmit_skb" retransmit__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    // SAFETY: the offsets come from the tracepoint's `format` file; the helper checks the address.
    let (sk, skb) = unsafe {
        (
            ctx.read_at::<u64>(offset!(retransmit_format_skaddr) as usize),
            ctx.read_at::<u64>(offset!(retransmit_format_skbaddr) as usize),
        )
    };
    let outcome = match (sk, skb) {
        (Ok(sk), Ok(skb)) => retransmitted(sk, RawSkb(skb)),
        _ => Outcome::Aside,
    };
    audit::settle_classic(Audited::Retransmit, outcome);
}
