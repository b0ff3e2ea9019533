//! A second program for the calls that the kernel keeps from the first one, where only a softirq comes in
//! between.
//!
//! Both programs are attached to the same tracepoint, the first one first. It notes what it was called for; the
//! second one does what is to be done if there is no such note, and else takes the note away.
//!
//! A note is the socket, in a place of the CPU. Neither program interrupts itself, so that a note has one
//! writer at a time. One that is left (of a call that came while the second program was at work) is
//! found again when the first one is next called for a socket at that address.

use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::counter::Counter;

use super::Lane;
use crate::{
    maps::{UNDERWAY, count, settled, started},
    setting,
};

/// Notes of one CPU.
const NOTES: usize = 1024;
/// Places in which a note may be.
const PLACES: usize = 4;

/// What is under way on one CPU.
#[repr(C)]
pub struct Underway {
    /// Sockets that the first program was called for, and the second one not yet; 0 for none.
    notes: [u64; NOTES],
    /// For addresses that are to become numbers, one for each program: the verifier forbids arithmetic
    /// on pointers.
    address: [u64; 2],
}

/// The first program begins with a call.
#[inline(always)]
pub fn begin(call: &BtfTracePointContext) {
    // Both programs are attached from then on.
    if setting!(tracepoints_preemptible) != 0 || !started() {
        return;
    }
    if let Some(underway) = UNDERWAY.get_ptr_mut(0) {
        // SAFETY: this CPU's own place.
        unsafe { note(underway, call.arg(0)) };
    }
}

/// Whether the second program has to do it.
#[inline(always)]
pub fn takes_over(call: &BtfTracePointContext) -> bool {
    let Some(underway) = UNDERWAY.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own place.
    let noted = unsafe { take_note(underway, call.arg(0)) };
    let takes_over = !noted && settled();
    if takes_over {
        count(Counter::TakenOver);
    }
    takes_over
}

/// Notes `sk`: where it is noted already, else where there is room.
///
/// # Safety
/// `underway` is this CPU's own place, and the first program is at work.
#[inline(always)]
unsafe fn note(underway: *mut Underway, sk: u64) {
    // SAFETY: by the caller's promise.
    unsafe {
        let first = first_place(underway, sk, Lane::First);
        let mut free = first;
        let mut is_free = false;
        for next in 0..PLACES {
            let place = (first + next) % NOTES;
            let noted = core::ptr::read_volatile(&raw const (*underway).notes[place]);
            if noted == sk {
                return;
            }
            if noted == 0 && !is_free {
                (free, is_free) = (place, true);
            }
        }
        core::ptr::write_volatile(&raw mut (*underway).notes[free % NOTES], sk);
    }
}

/// Takes the note of `sk` away; whether there was one.
///
/// # Safety
/// `underway` is this CPU's own place, and the second program is at work.
#[inline(always)]
unsafe fn take_note(underway: *mut Underway, sk: u64) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let first = first_place(underway, sk, Lane::Second);
        for next in 0..PLACES {
            let note = &raw mut (*underway).notes[(first + next) % NOTES];
            if core::ptr::read_volatile(note) == sk {
                core::ptr::write_volatile(note, 0);
                return true;
            }
        }
    }
    false
}

/// Where the note of `sk` is looked for first. Sockets are not smaller than a cache line.
///
/// # Safety
/// `underway` is this CPU's own place.
#[inline(always)]
unsafe fn first_place(underway: *mut Underway, sk: u64, lane: Lane) -> usize {
    // SAFETY: by the caller's promise.
    let address = unsafe {
        let place = &raw mut (*underway).address[lane as usize % 2];
        core::ptr::write_volatile(place, sk);
        core::ptr::read_volatile(place)
    };
    ((address >> 6) ^ (address >> 16)) as usize % NOTES
}
