//! Lanes where the kernel may preempt a task inside a program, and move it to another CPU between two programs of
//! one call (from 7.0 on).
//!
//! The lane that takes a call leaves a note under an address that no other call has meanwhile: the address of its
//! arguments ([`address`]), or of the socket where a program stands [`ahead`](super::ahead). The others find the note,
//! and the last one removes it. If the kernel keeps the call from the last one, the note stays; the [`Subject`]
//! distinguishes it from a later call at the same address.
//!
//! The kernel calls the programs of a tracepoint in the order of their attachment, so that the first lane takes every
//! call that it sees, unless the program ahead has taken it. For the programs of a function the kernel promises no
//! order (the last one first, so far): there the first lane, too, leaves a call alone that has a note.
//!
//! Each lane is a whole program. A common program for all of them, reached by tail calls, would interrupt itself
//! without the kernel's notice: from 6.13 on its stack may lie in memory of the CPU (`bpf_enable_priv_stack`).

use aya_ebpf::{EbpfContext, macros::map, maps::HashMap};
use tracer_common::{counter::Counter, settings::CALLS as MOST_CALLS};

use super::Lane;
use crate::{counter::count, setting, started::started};

/// The subject of a call: an address among its arguments, and a value that differs from the call before.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subject(pub u64, pub u64);

/// The note that the lane that takes a call leaves for the others.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Note {
    pub subject: Subject,
    /// [`Lane`]
    pub lane: u64,
}

/// Calls under way that a lane has taken, by the address of their arguments or socket. The agent gives
/// it the least size where the kernel preempts no task there.
#[map]
pub static CALLS: HashMap<u64, Note> = HashMap::with_max_entries(MOST_CALLS, 0);

/// The programs that the kernel may call before the first lane.
#[derive(Clone, Copy)]
pub enum Before {
    Nothing,
    /// The program [`ahead`](super::ahead).
    Ahead,
    /// The other lanes.
    Lanes,
}

/// Returns the address of a call's arguments. They lie on the kernel's stack, in the same place for all programs of one
/// call; see [`crate::audit`].
#[inline(always)]
pub fn address(call: &impl EbpfContext) -> u64 {
    call.as_ptr() as u64
}

/// Whether `lane` has to do the work for the call at `call`.
#[inline(always)]
pub fn takes(call: u64, before: Before, subject: Subject, lane: Lane) -> bool {
    let is_first = matches!(lane, Lane::First);
    if setting!(tracepoints_preemptible) == 0 {
        return is_first;
    }
    // Another lane's note for an earlier call may be left where the kernel did not call the program ahead either.
    let only_ahead = is_first && matches!(before, Before::Ahead);
    let is_of_this = |note: *const Note| {
        // SAFETY: a live map value.
        let note = unsafe { *note };
        note.subject == subject && (!only_ahead || note.lane == Lane::Ahead as u64)
    };
    let asks = !is_first || !matches!(before, Before::Nothing);
    let taken = asks && CALLS.get_ptr(call).is_some_and(is_of_this);
    if matches!(lane, Lane::Third) {
        let _ = CALLS.remove(call);
    }
    // The first lane leaves its note even before the start, when there is nothing to do yet: so no lane takes over a
    // call that began before it. A call that reaches another lane also reaches the first, which is attached earlier
    // (on a function later: calls inside it at that time reach no lane).
    if !is_first && (taken || !started()) {
        return false;
    }
    // Without a note the next lane would do the work again: so this lane leaves it to that one.
    if taken || CALLS.insert(call, Note { subject, lane: lane as u64 }, 0).is_err() {
        count(Counter::Declined);
        return false;
    }
    if !is_first {
        count(Counter::TakenOver);
    }
    true
}

/// Defines the other lanes of a program: each calls `$work`.
#[macro_export]
macro_rules! lanes {
    ($attribute:ident($key:ident = $place:tt) $context:ty => $work:ident: $second:ident $third:ident) => {
        #[$attribute($key = $place)]
        pub fn $second(ctx: $context) -> i32 {
            $work(&ctx, $crate::lane::Lane::Second);
            0
        }

        #[$attribute($key = $place)]
        pub fn $third(ctx: $context) -> i32 {
            $work(&ctx, $crate::lane::Lane::Third);
            0
        }
    };
}
