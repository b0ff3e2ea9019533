//! The audit (`--audit`): a second count of every call of a hook, and the traced program's outcome for each.
//!
//! Each tracepoint has an additional program, a raw tracepoint that only counts: the counting program. It is
//! attached before the traced program and detached after it, so the kernel calls it first, and it sees every
//! call that the traced program sees. It alone decides whether a call is part of the audit. If not (the audit
//! has not begun, or is over), it notes the address of the call's arguments; the traced program finds the note
//! and leaves the call out. Those arguments lie on the kernel's stack, in the same place for all programs of
//! one call (`bpf_trace_run1` and its kin). No other call has that place meanwhile, neither in an interrupt
//! nor on another CPU. So both counts cover the same calls, even with traffic at both ends; docs/audit.md.
//!
//! Classic tracepoints have their arguments elsewhere: their programs check by themselves whether the audit
//! goes on, and a call under way at its beginning or end may be part of one count only.

use aya_ebpf::{EbpfContext, macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_common::audit::{Audited, Outcome, RingTaken, Term, place};

use crate::{
    identity,
    lane::Lane,
    maps::{AUDIT_NOTES, AUDIT_OPEN, count_in_audit},
    memory, offset, setting, task,
};

/// Counts a call that the traced program has finished with `outcome`.
#[inline(always)]
pub fn settle(hook: Audited, context: &impl EbpfContext, outcome: Outcome) {
    settle_in(Lane::First, hook, context, outcome);
}

/// As [`settle`], for a program with lanes.
#[inline(always)]
pub fn settle_in(lane: Lane, hook: Audited, context: &impl EbpfContext, outcome: Outcome) {
    if setting!(audit) == 0 {
        return;
    }
    let counted = count_if_part(context.as_ptr(), place(hook, outcome as u32)) != 0;
    if counted && !matches!(lane, Lane::First) {
        count_in_audit(place(hook, Term::TakenOver as u32));
    }
}

/// Counts a call that the traced program has left to another one, which took it over before.
#[inline(always)]
pub fn declined(hook: Audited, context: &impl EbpfContext) {
    if setting!(audit) != 0 {
        count_if_part(context.as_ptr(), place(hook, Term::Declined as u32));
    }
}

/// Counts the call if it is part of the audit. A function of its own, with its own stack: the traced
/// programs' stack is full.
#[inline(never)]
fn count_if_part(context: *mut core::ffi::c_void, place: u32) -> u32 {
    if takes_note(context) {
        return 0;
    }
    count_in_audit(place);
    1
}

/// As [`settle`], for a call of a classic tracepoint.
#[inline(always)]
pub fn settle_classic(hook: Audited, outcome: Outcome) {
    settle_classic_in(Lane::First, hook, outcome);
}

/// As [`settle_classic`], for a program beside lanes.
#[inline(always)]
pub fn settle_classic_in(lane: Lane, hook: Audited, outcome: Outcome) {
    if setting!(audit) == 0 || !is_open() {
        return;
    }
    count_in_audit(place(hook, outcome as u32));
    if !matches!(lane, Lane::First) {
        count_in_audit(place(hook, Term::TakenOver as u32));
    }
}

/// Counts a connect() under way without a note: whatever its outcome, the audit of its return is not exact.
#[inline(always)]
pub fn connect_unnoted() {
    if setting!(audit) != 0 && is_open() {
        count_in_audit(place(Audited::ConnectReturn, Term::Unnoted as u32));
    }
}

/// Counts a record that a ring took.
#[inline(always)]
pub fn taken(ring: RingTaken) {
    if setting!(audit) != 0 {
        count_in_audit(ring as u32);
    }
}

#[inline(always)]
fn is_open() -> bool {
    // SAFETY: a live array slot, written by the agent.
    AUDIT_OPEN.get_ptr(0).is_some_and(|open| unsafe { core::ptr::read_volatile(open) } != 0)
}

/// Returns the context as a number: to the verifier it is a pointer, and kernels before 5.12 refuse that as a key.
#[inline(always)]
fn address(context: *mut core::ffi::c_void) -> u64 {
    identity::number(context as u64)
}

/// Removes the note of this call; returns whether there was one.
#[inline(always)]
fn takes_note(context: *mut core::ffi::c_void) -> bool {
    let address = address(context);
    let noted = AUDIT_NOTES.get_ptr(address).is_some();
    if noted {
        let _ = AUDIT_NOTES.remove(address);
    }
    noted
}

/// Counts a call of a tracepoint, or notes it outside the audit.
#[inline(always)]
fn happened(hook: Audited, context: &impl EbpfContext) {
    if is_open() {
        // Removes the note of an earlier call, where no traced program was attached or the kernel did not run it.
        takes_note(context.as_ptr());
        count_in_audit(place(hook, Term::Happened as u32));
    } else if AUDIT_NOTES.insert(address(context.as_ptr()), 0, 0).is_err() {
        count_in_audit(place(hook, Term::Unnoted as u32));
    }
}

macro_rules! counters {
    ($($program:ident: $tracepoint:tt => $hook:ident),* $(,)?) => { $(
        #[raw_tracepoint(tracepoint = $tracepoint)]
        pub fn $program(ctx: RawTracePointContext) -> i32 {
            happened(Audited::$hook, &ctx);
            0
        }
    )* };
}

counters! {
    audit_set_state: "inet_sock_set_state" => SetState,
    audit_destroy: "tcp_destroy_sock" => Destroy,
    audit_error: "inet_sk_error_report" => ErrorReport,
    audit_drop: "kfree_skb" => Drop,
    audit_retrans: "tcp_retransmit_skb" => Retransmit,
    audit_synack: "tcp_retransmit_synack" => RetransmitSynAck,
    audit_reset_out: "tcp_send_reset" => SendReset,
    audit_reset_in: "tcp_receive_reset" => ReceiveReset,
    audit_fork: "sched_process_fork" => Fork,
    audit_exec: "sched_process_exec" => Exec,
    audit_exit: "sched_process_exit" => Exit,
    audit_io_uring: "io_uring_complete" => IoUring,
}

/// Counts returns of system calls traced by their own, classic tracepoints.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn audit_sys_exit(ctx: RawTracePointContext) -> i32 {
    // 32-bit calls have other numbers.
    if !is_open() || task::is_in_compat_call() {
        return 0;
    }
    let number: u32 = memory::read(ctx.arg(0), offset!(regs_syscall));
    if number == setting!(nr_connect) {
        count_in_audit(place(Audited::ConnectReturn, Term::Happened as u32));
    } else if number == setting!(nr_accept) || number == setting!(nr_accept4) {
        count_in_audit(place(Audited::AcceptReturn, Term::Happened as u32));
    }
    0
}
