//! A program that the kernel calls before the lanes of a tracepoint, with preemption off.
//!
//! A lane takes the calls that another one misses. But a task preempted inside a lane occupies it, and with many tasks
//! that want the CPU all lanes are occupied. perf switches preemption off around the programs of a classic tracepoint
//! (commit 16718274ee75, with which 7.0 made the others preemptible). Such a program costs more, because perf writes a
//! record for each call, and it knows less about the socket. So it does the work only where the first lane has begun on
//! this CPU and not ended: its task was preempted, or a softirq interrupts it.
//!
//! The kernel calls it first: either it attaches perf to the tracepoint before any lane is attached, or another user of
//! perf did so earlier. It leaves a note for each call that it takes ([`preempted`](super::preempted)), here under the
//! socket's address: the arguments lie elsewhere for perf. A socket changes its state under its lock, so that no two
//! calls for it are under way.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::counter::Counter;

use super::preempted::CALLS;
use super::{
    Lane,
    preempted::{Note, Subject},
};
use crate::{counter::count, setting, started::started};

/// Whether the first lane is at work on a CPU.
#[map]
pub static AT_WORK: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Notes that the first lane begins on this CPU (1), or ends (0).
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

/// Whether this program has to do the work for `sk`.
#[inline(always)]
pub fn takes(sk: u64, subject: Subject) -> bool {
    // A note of an earlier call that the last lane did not see.
    if CALLS.get_ptr(sk).is_some() {
        let _ = CALLS.remove(sk);
    }
    // SAFETY: a live map value.
    let at_work = AT_WORK.get_ptr(0).is_some_and(|at_work| unsafe { core::ptr::read_volatile(at_work) } != 0);
    // Without a note a lane would do the work again: so this program leaves it to the lanes.
    if !at_work || !started() || CALLS.insert(sk, Note { subject, lane: Lane::Ahead as u64 }, 0).is_err() {
        return false;
    }
    count(Counter::TakenOver);
    true
}
