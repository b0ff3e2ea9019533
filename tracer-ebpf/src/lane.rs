//! A second program for the calls that the kernel keeps from the first one.
//!
//! From 6.2 on (05b24ff9b2cf) a program of a tracepoint that is at work on a CPU is not run once more
//! on that CPU: a softirq comes in between, or (from 7.0 on, where tracepoints may be preempted) another
//! task. Both programs are attached to the same tracepoint, the first one first. It says when it is at
//! work, and the second one does what is to be done only then: its own call is one that the first one
//! did not get. What happens on the few instructions before and after that stays missed, and is counted:
//! the misses of the first one, less what was taken over.

use tracer_common::counter::Counter;

use crate::maps::{AT_WORK, count};

/// Which of the two it is; added to a [`Site`](crate::identity::Site).
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Lane {
    First = 0,
    Second = 8,
}

/// The first program begins, or has ended.
#[inline(always)]
pub fn at_work(works: bool) {
    if let Some(at_work) = AT_WORK.get_ptr_mut(0) {
        // SAFETY: this CPU's own place.
        unsafe { core::ptr::write_volatile(at_work, u32::from(works)) };
    }
}

/// Whether the second program has to do it.
#[inline(always)]
pub fn takes_over() -> bool {
    // SAFETY: as above.
    let takes_over = AT_WORK.get_ptr(0).is_some_and(|at_work| unsafe { core::ptr::read_volatile(at_work) } != 0);
    if takes_over {
        count(Counter::TakenOver);
    }
    takes_over
}
