//! `inet_sk_error_report(const struct sock *sk)`, from 5.14 on: for every inet socket, TCP or not.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit,
    lane::Lane,
    lifecycle::error,
    sock::{Raw, Trusted},
};

#[btf_tracepoint(function = "inet_sk_error_report")]
pub fn error_report__btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct sock *`.
    let outcome = match unsafe { Trusted::new(ctx.arg(0), Lane::First) } {
        Some(sock) => error(sock),
        None => Outcome::Aside,
    };
    audit::settle(Audited::ErrorReport, &ctx, outcome);
    0
}

#[raw_tracepoint(tracepoint = "inet_sk_error_report")]
pub fn error_report__raw(ctx: RawTracePointContext) -> i32 {
    let outcome = match Raw::tcp(ctx.arg(0)) {
        Some(sock) => error(sock),
        None => Outcome::Aside,
    };
    audit::settle(Audited::ErrorReport, &ctx, outcome);
    0
}
