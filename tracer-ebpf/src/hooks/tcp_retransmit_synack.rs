//! `tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req)`.

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

use crate::{drops::synack_retransmitted, offset};

#[raw_tracepoint(tracepoint = "tcp_retransmit_synack")]
pub fn synack__raw(ctx: RawTracePointContext) -> i32 {
    synack_retransmitted(ctx.arg(1));
    0
}

#[tracepoint(category = "tcp", name = "tcp_retransmit_synack")]
pub fn synack__classic(ctx: TracePointContext) -> u32 {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    if let Ok(request) = unsafe { ctx.read_at::<u64>(offset!(synack_format_req) as usize) } {
        synack_retransmitted(request);
    }
    0
}
