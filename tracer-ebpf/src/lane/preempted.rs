//! Lanes where a task may be preempted inside a program, and go to another CPU between two programs of one
//! call (from 7.0 on).
//!
//! The lane that takes a call leaves a note of it: the address of the call's arguments. They lie on the kernel's
//! stack, in the same place for all programs of one call, and no other call has that place meanwhile
//! ([`crate::audit`] says more). The others find the note, and the last one takes it away. If the kernel keeps
//! the call from that one, the note stays; of a later call in the same place it is told by what the call is
//! about, the [`Subject`].
//!
//! The programs of a tracepoint are called in the order in which they were attached, so that the first lane
//! takes every call that it sees. In which order those of a function are called is the kernel's own affair (the
//! last one first, so far): there the first lane, too, leaves a call alone that has its note.
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

/// In which order the lanes are called.
#[derive(Clone, Copy)]
pub enum Order {
    /// The first one first.
    Known,
    /// Any.
    Unknown,
}

/// Whether the work for a call is to be done in `lane`.
#[inline(always)]
pub fn takes(call: &impl EbpfContext, order: Order, subject: Subject, lane: Lane) -> bool {
    let is_first = matches!(lane, Lane::First);
    if setting!(tracepoints_preemptible) == 0 {
        return is_first;
    }
    let call = call.as_ptr() as u64;
    let asks = !is_first || matches!(order, Order::Unknown);
    // SAFETY: a live map value.
    let taken = asks && CALLS.get_ptr(call).is_some_and(|taken| unsafe { *taken } == subject);
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
    if taken || CALLS.insert(call, subject, 0).is_err() {
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
