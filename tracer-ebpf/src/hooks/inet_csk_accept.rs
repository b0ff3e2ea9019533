//! accept(): the return of `inet_csk_accept`, or the return of the system calls.

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit, fd,
    identity::Site,
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes,
    lifecycle::accepted,
    offset, syscall,
};

/// match-proto:v6.10: struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)
///
/// The result follows the arguments, four up to 6.9 (commit 92ef0fd55ac8), so there are two programs,
/// and one does nothing. In one program the compiler merges both loads into one, at
/// `ctx + (args == 4 ? 32 : 16)`, and the verifier says "dereference of modified ctx ptr".
#[fexit(function = "inet_csk_accept")]
pub fn accept__fexit(ctx: FExitContext) -> i32 {
    accept(&ctx, Lane::First);
    0
}

lanes! {
    fexit(function = "inet_csk_accept") FExitContext => accept: accept__lane2 accept__lane3
}

#[inline(always)]
fn accept(ctx: &FExitContext, lane: Lane) {
    if offset!(accept_args) == 2 {
        let sk: *const core::ffi::c_void = ctx.arg(2);
        if !sk.is_null() && preempted::takes(address(ctx), Before::Lanes, Subject(sk as u64, 0), lane) {
            accepted(sk as u64, Site::Accept, lane);
        }
    }
}

/// match-proto:v5.10: struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)
#[fexit(function = "inet_csk_accept")]
pub fn accept_of_4__fexit(ctx: FExitContext) -> i32 {
    if offset!(accept_args) == 4 {
        let sk: *const core::ffi::c_void = ctx.arg(4);
        accepted(sk as u64, Site::Accept, Lane::First);
    }
    0
}

#[kretprobe(function = "inet_csk_accept")]
pub fn accept__kretprobe(ctx: RetProbeContext) -> u32 {
    accepted(ctx.ret::<u64>(), Site::Accept, Lane::First);
    0
}

tracepoint! { "tracepoint/syscalls/sys_exit_accept" accept__syscall => returned }

/// Attached to the exit of accept4 as well.
#[inline(always)]
fn returned(ctx: &TracePointContext) {
    audit::settle_classic(Audited::AcceptReturn, from_result(ctx));
}

#[inline(always)]
fn from_result(ctx: &TracePointContext) -> Outcome {
    let Some(result) = syscall::result(ctx) else { return Outcome::Aside };
    if result < 0 {
        // `sys_accept` handles failures.
        return Outcome::Aside;
    }
    match fd::socket(result as u32) {
        Some(socket) => accepted(socket.tcp(), Site::Accept, Lane::First),
        None => Outcome::Aside,
    }
}
