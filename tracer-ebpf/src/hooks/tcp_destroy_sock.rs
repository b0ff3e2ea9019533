//! `tcp_destroy_sock(struct sock *sk)`: for every TCP socket, before the kernel frees its memory.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit, counting,
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes,
    lifecycle::destroyed,
    offset,
    sock::{Raw, Trusted},
};

counting! { audit_destroy: "tcp_destroy_sock" => Destroy }

#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn destroy__btf(ctx: BtfTracePointContext) -> i32 {
    destroy(&ctx, Lane::First);
    0
}

lanes! {
    btf_tracepoint(function = "tcp_destroy_sock") BtfTracePointContext => destroy: destroy__lane2 destroy__lane3
}

#[inline(always)]
fn destroy(ctx: &BtfTracePointContext, lane: Lane) {
    let sk: *const u8 = ctx.arg(0);
    if !preempted::takes(address(ctx), Before::Nothing, Subject(sk as u64, 0), lane) {
        return;
    }
    // SAFETY: the first argument is a `struct sock *`.
    let outcome = match unsafe { Trusted::new(ctx.arg(0), lane) } {
        Some(sock) => destroyed(sock),
        None => Outcome::Aside,
    };
    audit::settle_in(lane, Audited::Destroy, ctx, outcome);
}

#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn destroy__raw(ctx: RawTracePointContext) -> i32 {
    audit::settle(Audited::Destroy, &ctx, destroyed(Raw(ctx.arg(0))));
    0
}

tracepoint! { "tracepoint/tcp/tcp_destroy_sock" destroy__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    let outcome = match unsafe { ctx.read_at::<u64>(offset!(destroy_format_skaddr) as usize) } {
        Ok(sk) => destroyed(Raw(sk)),
        Err(_) => Outcome::Aside,
    };
    audit::settle_classic(Audited::Destroy, outcome);
}
