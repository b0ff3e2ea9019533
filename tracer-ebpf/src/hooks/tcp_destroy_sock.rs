//! `tcp_destroy_sock(struct sock *sk)`: called for every TCP socket, before its memory is freed.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};

use crate::{
    lane::Lane,
    lifecycle::destroyed,
    offset,
    sock::{Raw, Trusted},
};

#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn destroy__btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct sock *`.
    if let Some(sock) = unsafe { Trusted::new(ctx.arg(0), Lane::First) } {
        destroyed(sock);
    }
    0
}

#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn destroy__raw(ctx: RawTracePointContext) -> i32 {
    destroyed(Raw(ctx.arg(0)));
    0
}

#[tracepoint(category = "tcp", name = "tcp_destroy_sock")]
pub fn destroy__classic(ctx: TracePointContext) -> u32 {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    if let Ok(sk) = unsafe { ctx.read_at::<u64>(offset!(destroy_format_skaddr) as usize) } {
        destroyed(Raw(sk));
    }
    0
}
