//! The kernel stack of a drop; the map holds each distinct stack once.

use aya_ebpf::{helpers::generated::bpf_get_stackid, macros::map, maps::StackTrace};
use tracer_common::{counter::Counter, drops::STACKS as MOST};

use crate::counter::count;

/// Kernel stacks of drops. If the user does not ask for them, the agent makes it an array of one
/// number, because the mere existence of such a map costs every CPU its buffers.
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// Returns the number of the present stack plus one; counts a missing one and returns 0.
///
/// No flags: with `BPF_F_REUSE_STACKID` a number already reported would come to mean another
/// stack, with `BPF_F_FAST_STACK_CMP` two stacks of the same hash would become one. So a stack
/// whose place is taken is missing.
#[inline(always)]
pub fn take(context: *mut core::ffi::c_void) -> u16 {
    let map = (&raw const STACKS).cast_mut().cast();
    // SAFETY: `context` is the program's own; `STACKS` is a map of stacks where the user asks for them.
    let number = unsafe { bpf_get_stackid(context, map, 0) };
    if number < 0 || number >= i64::from(MOST) {
        count(Counter::StacksMissing);
        return 0;
    }
    number as u16 + 1
}
