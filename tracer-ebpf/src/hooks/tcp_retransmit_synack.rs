//! `tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req)`.

use aya_ebpf::{
    macros::raw_tracepoint,
    programs::{RawTracePointContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{audit, counting, drops::synack_retransmitted, offset};

counting! { audit_synack: "tcp_retransmit_synack" => RetransmitSynAck }

#[raw_tracepoint(tracepoint = "tcp_retransmit_synack")]
pub fn synack__raw(ctx: RawTracePointContext) -> i32 {
    audit::settle(Audited::RetransmitSynAck, &ctx, synack_retransmitted(ctx.arg(1)));
    0
}

tracepoint! { "tracepoint/tcp/tcp_retransmit_synack" synack__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    let outcome = match unsafe { ctx.read_at::<u64>(offset!(synack_format_req) as usize) } {
        Ok(request) => synack_retransmitted(request),
        Err(_) => Outcome::Aside,
    };
    audit::settle_classic(Audited::RetransmitSynAck, outcome);
}
