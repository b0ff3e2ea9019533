//! `tcp_receive_reset(struct sock *sk)`: a full socket received a valid RST.

use aya_ebpf::{
    macros::raw_tracepoint,
    programs::{RawTracePointContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit, counting,
    drops::reset_received,
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes, offset,
};

counting! { audit_reset_in: "tcp_receive_reset" => ReceiveReset }

#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn receive_reset__raw(ctx: RawTracePointContext) -> i32 {
    receive_reset(&ctx, Lane::First);
    0
}

lanes! {
    raw_tracepoint(tracepoint = "tcp_receive_reset") RawTracePointContext => receive_reset:
    receive_reset__lane2 receive_reset__lane3
}

#[inline(always)]
fn receive_reset(ctx: &RawTracePointContext, lane: Lane) {
    if preempted::takes(address(ctx), Before::Nothing, Subject(ctx.arg(0), 0), lane) {
        audit::settle_in(lane, Audited::ReceiveReset, ctx, reset_received(ctx.arg(0)));
    }
}

tracepoint! { "tracepoint/tcp/tcp_receive_reset" receive_reset__classic => classic }

#[inline(always)]
fn classic(ctx: &TracePointContext) {
    // SAFETY: the offset comes from the tracepoint's `format` file; the helper checks the address.
    let outcome = match unsafe { ctx.read_at::<u64>(offset!(receive_reset_format_skaddr) as usize) } {
        Ok(sk) => reset_received(sk),
        Err(_) => Outcome::Aside,
    };
    audit::settle_classic(Audited::ReceiveReset, outcome);
}
