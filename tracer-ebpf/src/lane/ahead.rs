//! A program that is called before the lanes of a tracepoint, and in which no task is preempted.
//!
//! Lanes keep what is kept from one of them, but each may be taken by a task that was preempted in it, and with many
//! tasks that want the CPU all of them are. perf switches preemption off around the programs of a classic tracepoint
//! (commit 16718274ee75, with which 7.0 made the others preemptible). Such a program costs more, because perf writes a
//! record for it each time, and knows less of the socket; so it does the work only where the first lane has begun on
//! this CPU and not ended: under a task that was preempted, or that a softirq interrupts.
//!
//! It is called first: either it is what attaches perf to the tracepoint, before any lane is, or somebody else has
//! done so earlier. The others know a call that it took by a note ([`preempted`](super::preempted)). Here that is under
//! the socket's address: the arguments lie elsewhere for perf. A socket changes its state under its lock, so that no
//! two calls for it are under way.

use tracer_common::counter::Counter;

use super::{
    Lane,
    preempted::{Note, Subject},
};
use crate::{
    maps::{AT_WORK, CALLS, count, started},
    setting,
};

/// The first lane begins on this CPU (1), or ends (0).
#[inline(always)]
pub fn first_lane_is_at_work(is: u32) {
    if setting!(tracepoints_preemptible) == 0 {
        return;
    }
    if let Some(at_work) = AT_WORK.get_ptr_mut(0) {
        // SAFETY: this CPU's own place, and only the first lane writes, which does not interrupt itself.
        unsafe { core::ptr::write_volatile(at_work, is) };
    }
}

/// Whether the call for `sk` is to be done here.
#[inline(always)]
pub fn takes(sk: u64, subject: Subject) -> bool {
    // Of an earlier call, whose last lane did not see it.
    if CALLS.get_ptr(sk).is_some() {
        let _ = CALLS.remove(sk);
    }
    // SAFETY: a live map value.
    let at_work = AT_WORK.get_ptr(0).is_some_and(|at_work| unsafe { core::ptr::read_volatile(at_work) } != 0);
    // Without a note it would be done again: so it is left to the lanes.
    if !at_work || !started() || CALLS.insert(sk, Note { subject, lane: Lane::Ahead as u64 }, 0).is_err() {
        return false;
    }
    count(Counter::TakenOver);
    true
}
