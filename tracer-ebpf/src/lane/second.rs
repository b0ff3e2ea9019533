//! A second program for the calls that the kernel keeps from the first one, where only a softirq comes in
//! between.
//!
//! Both programs are attached to the same tracepoint, the first one first. The first one notes the socket of
//! each call. If the second one finds that note, it removes it; otherwise it does the work.
//!
//! Notes are per CPU. Neither program interrupts itself, so that a note has one writer at a time. A call
//! that comes while the second program is at work leaves its note; the first program finds it again at
//! its next call for a socket at that address.

use aya_ebpf::{macros::map, maps::PerCpuArray, programs::BtfTracePointContext};
use tracer_common::counter::Counter;

use super::Lane;
use crate::{counter::count, setting, started::settled, started::started};

/// Notes of one CPU.
const NOTES: usize = 1024;
/// Places that may hold the note of a socket.
const PLACES: usize = 4;

/// The calls under way on one CPU.
#[repr(C)]
pub struct Underway {
    /// Sockets whose call the first program has seen and the second one not yet; 0 for none.
    notes: [u64; NOTES],
    /// Turns addresses into numbers, one for each program: the verifier forbids arithmetic on pointers.
    address: [u64; 2],
}

/// The sockets that a CPU works on.
#[map]
pub static UNDERWAY: PerCpuArray<Underway> = PerCpuArray::with_max_entries(1, 0);

/// Notes a call at the beginning of the first program.
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

/// Whether the second program has to do the work.
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

/// Notes `sk`: keeps its old note, else uses a free place, else the first one.
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

/// Removes the note of `sk`; returns whether there was one.
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

/// Returns the first place for the note of `sk`. Sockets are not smaller than a cache line.
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
