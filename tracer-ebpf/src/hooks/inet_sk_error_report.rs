//! `inet_sk_error_report(const struct sock *sk)`, from 5.14 on, for every inet socket, TCP or not.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit, counting,
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes,
    lifecycle::error,
    sock::{Raw, Trusted},
};

counting! { audit_error: "inet_sk_error_report" => ErrorReport }

#[btf_tracepoint(function = "inet_sk_error_report")]
pub fn error_report__btf(ctx: BtfTracePointContext) -> i32 {
    error_report(&ctx, Lane::First);
    0
}

lanes! {
    btf_tracepoint(function = "inet_sk_error_report") BtfTracePointContext => error_report: error_report__lane2 error_report__lane3
}

#[inline(always)]
fn error_report(ctx: &BtfTracePointContext, lane: Lane) {
    let sk: *const u8 = ctx.arg(0);
    if !preempted::takes(address(ctx), Before::Nothing, Subject(sk as u64, 0), lane) {
        return;
    }
    // SAFETY: the first argument is a `struct sock *`.
    let outcome = match unsafe { Trusted::new(ctx.arg(0), lane) } {
        Some(sock) => error(sock),
        None => Outcome::Aside,
    };
    audit::settle_in(lane, Audited::ErrorReport, ctx, outcome);
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
