//! Lanes where a task may be preempted inside a program, and go to another CPU between two programs of one
//! call (from 7.0 on).
//!
//! The lane that takes a call leaves a note of it, under an address that no other call has meanwhile: that of its
//! arguments ([`address`]), or of the socket where a program stands [`ahead`](super::ahead). The others find the note,
//! and the last one takes it away. If the kernel keeps the call from that one, the note stays; of a later call at the
//! same address it is told by what the call is about, the [`Subject`].
//!
//! The programs of a tracepoint are called in the order in which they were attached, so that the first lane
//! takes every call that it sees, unless the program ahead of it has. In which order those of a function are called is
//! the kernel's own affair (the last one first, so far): there the first lane, too, leaves a call alone that has its
//! note.
//!
//! Each lane is a whole program. One that did the work for all of them, by tail calls, would be interrupted by
//! itself behind the kernel's back: from 6.13 on it may have its stack in a place of the CPU
//! (`bpf_enable_priv_stack`).

use aya_ebpf::EbpfContext;
use tracer_common::counter::Counter;

use super::Lane;
use crate::{
    maps::{CALLS, count, started},
    setting,
};

/// What a call is about: an address that it has as an argument, and what else tells it from the one before.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subject(pub u64, pub u64);

/// What the lane that takes a call leaves for the others.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Note {
    pub subject: Subject,
    /// [`Lane`]
    pub lane: u64,
}

/// What may be called before the first lane.
#[derive(Clone, Copy)]
pub enum Before {
    Nothing,
    /// The program [`ahead`](super::ahead).
    Ahead,
    /// The other lanes.
    Lanes,
}

/// The address of a call's arguments. They lie on the kernel's stack, in the same place for all programs of one call
/// ([`crate::audit`] says more).
#[inline(always)]
pub fn address(call: &impl EbpfContext) -> u64 {
    call.as_ptr() as u64
}

/// Whether the work for the call at `call` is to be done in `lane`.
#[inline(always)]
pub fn takes(call: u64, before: Before, subject: Subject, lane: Lane) -> bool {
    let is_first = matches!(lane, Lane::First);
    if setting!(tracepoints_preemptible) == 0 {
        return is_first;
    }
    // What another lane noted for an earlier call may be left where the program ahead was not called either.
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
    // The first lane leaves its note also before the start, when there is nothing to do yet: so that none takes
    // over what began before it. A call that sees one of the other lanes sees the first, too, which is attached
    // earlier (of a function, later: those who are inside it then see none).
    if !is_first && (taken || !started()) {
        return false;
    }
    // Without a note it would be done again by the next lane: so it is left to that one.
    if taken || CALLS.insert(call, Note { subject, lane: lane as u64 }, 0).is_err() {
        count(Counter::Declined);
        return false;
    }
    if !is_first {
        count(Counter::TakenOver);
    }
    true
}

/// The other lanes of a program: `$work` does what is to be done, in any of them.
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
