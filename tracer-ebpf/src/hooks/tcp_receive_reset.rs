//! `tcp_receive_reset(struct sock *sk)`: a valid RST came for a full socket.

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

use crate::{drops::reset_received, offset};

#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn receive_reset__raw(ctx: RawTracePointContext) -> i32 {
    reset_received(ctx.arg(0));
    0
}

#[tracepoint(category = "tcp", name = "tcp_receive_reset")]
pub fn receive_reset__classic(ctx: TracePointContext) -> u32 {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    if let Ok(sk) = unsafe { ctx.read_at::<u64>(offset!(receive_reset_format_skaddr) as usize) } {
        reset_received(sk);
    }
    0
}
