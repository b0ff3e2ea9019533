//! `tcp_receive_reset(struct sock *sk)`: a valid RST came for a full socket.

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{audit, drops::reset_received, offset};

#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn receive_reset__raw(ctx: RawTracePointContext) -> i32 {
    audit::settle(Audited::ReceiveReset, &ctx, reset_received(ctx.arg(0)));
    0
}

#[tracepoint(category = "tcp", name = "tcp_receive_reset")]
pub fn receive_reset__classic(ctx: TracePointContext) -> u32 {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    let outcome = match unsafe { ctx.read_at::<u64>(offset!(receive_reset_format_skaddr) as usize) } {
        Ok(sk) => reset_received(sk),
        Err(_) => Outcome::Aside,
    };
    audit::settle_classic(Audited::ReceiveReset, outcome);
    0
}
