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

use aya_ebpf::{
    EbpfContext,
    macros::{map, raw_tracepoint},
    maps::{Array, HashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use tracer_common::audit::{Audited, NOTES, Outcome, PLACES, RingTaken, Term, place};

use crate::{counter::add_one, identity, lane::Lane, memory, offset, setting, task};

/// Outcomes of all calls of the hooks.
#[map]
pub static AUDIT: PerCpuArray<u64> = PerCpuArray::with_max_entries(PLACES, 0);

/// 1 while the audit goes on.
#[map]
pub static AUDIT_OPEN: Array<u32> = Array::with_max_entries(1, 0);

/// Calls under way that are not part of the audit, by the address of their arguments. The agent gives it
/// the least size without an audit.
#[map]
pub static AUDIT_NOTES: HashMap<u64, u8> = HashMap::with_max_entries(NOTES, 0);

/// Adds one to a place of [`AUDIT`].
#[inline(always)]
fn count_in_audit(place: u32) {
    add_one(AUDIT.get_ptr_mut(place));
}

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
pub fn happened(hook: Audited, context: &impl EbpfContext) {
    if is_open() {
        // Removes the note of an earlier call, where no traced program was attached or the kernel did not run it.
        takes_note(context.as_ptr());
        count_in_audit(place(hook, Term::Happened as u32));
    } else if AUDIT_NOTES.insert(address(context.as_ptr()), 0, 0).is_err() {
        count_in_audit(place(hook, Term::Unnoted as u32));
    }
}

/// Defines the program that counts the calls of a tracepoint.
#[macro_export]
macro_rules! counting {
    ($program:ident: $tracepoint:tt => $hook:ident) => {
        #[aya_ebpf::macros::raw_tracepoint(tracepoint = $tracepoint)]
        pub fn $program(ctx: aya_ebpf::programs::RawTracePointContext) -> i32 {
            $crate::audit::happened(tracer_common::audit::Audited::$hook, &ctx);
            0
        }
    };
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
