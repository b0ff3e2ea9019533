//! `inet_sk_error_report(const struct sock *sk)`, from 5.14 on: for every inet socket, TCP or not.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use crate::{
    lane::Lane,
    lifecycle::error,
    sock::{Raw, Trusted},
};

#[btf_tracepoint(function = "inet_sk_error_report")]
pub fn error_report__btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct sock *`.
    if let Some(sock) = unsafe { Trusted::new(ctx.arg(0), Lane::First) } {
        error(sock);
    }
    0
}

#[raw_tracepoint(tracepoint = "inet_sk_error_report")]
pub fn error_report__raw(ctx: RawTracePointContext) -> i32 {
    if let Some(sock) = Raw::tcp(ctx.arg(0)) {
        error(sock);
    }
    0
}
