//! A second program for the calls that the kernel keeps from the first one.
//!
//! From 6.2 on (05b24ff9b2cf) a program of a tracepoint that is at work on a CPU is not run once more
//! on that CPU, when a softirq comes in between. Both programs are attached to the same tracepoint, the
//! first one first. It notes the socket that it was called for; the second one does what is to be done
//! if there is no such note. What comes in between takes its own notes away again, so the notes of a
//! CPU are a stack; a note above the one that is looked for belongs to a call that is over.
//!
//! From 7.0 on (a46023d5616e) another task may come in between, too, and a task may go to another CPU
//! between the two programs. There the second one does only what is called while the first one says
//! that it is at work. On the few instructions before and after that a call stays missed, and is
//! counted: the misses of the first one, less what was taken over.

use tracer_common::counter::Counter;

use crate::{
    maps::{UNDERWAY, count, settled, started},
    setting,
};

/// Which of the two it is; added to a [`Site`](crate::identity::Site).
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Lane {
    First = 0,
    Second = 8,
}

/// Notes. A softirq within a task is two; the others are of what came while the second program was at
/// work, was not run for them, and did not take them away: it is not looked for then either.
const NOTES: u32 = 8;

/// What is under way on one CPU.
#[repr(C)]
pub struct Underway {
    sockets: [u64; NOTES as usize],
    /// How many of them there are.
    depth: u32,
    /// 1 while the first program is at work.
    at_work: u32,
}

/// The first program begins with the socket at `sk`.
#[inline(always)]
pub fn begin(sk: u64) {
    let Some(underway) = UNDERWAY.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own place. The note's place is taken before it is written: what comes in between
    // takes the next one.
    unsafe {
        if setting!(tracepoints_preemptible) != 0 {
            core::ptr::write_volatile(&raw mut (*underway).at_work, 1);
        } else {
            let depth = core::ptr::read_volatile(&raw const (*underway).depth);
            // Both programs are attached from then on.
            if depth < NOTES && started() {
                core::ptr::write_volatile(&raw mut (*underway).depth, depth + 1);
                core::ptr::write_volatile(&raw mut (*underway).sockets[depth as usize], sk);
            }
        }
    }
}

/// The first program has ended.
#[inline(always)]
pub fn end() {
    if setting!(tracepoints_preemptible) == 0 {
        return;
    }
    if let Some(underway) = UNDERWAY.get_ptr_mut(0) {
        // SAFETY: this CPU's own place.
        unsafe { core::ptr::write_volatile(&raw mut (*underway).at_work, 0) };
    }
}

/// Whether the second program has to do it.
#[inline(always)]
pub fn takes_over(sk: u64) -> bool {
    let Some(underway) = UNDERWAY.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own place.
    let takes_over = unsafe {
        if setting!(tracepoints_preemptible) != 0 {
            core::ptr::read_volatile(&raw const (*underway).at_work) != 0
        } else {
            !take_note(underway, sk)
        }
    } && settled();
    if takes_over {
        count(Counter::TakenOver);
    }
    takes_over
}

/// Takes the note of `sk` away, and those above it; whether there was one.
///
/// # Safety
/// `underway` is this CPU's own place.
#[inline(always)]
unsafe fn take_note(underway: *mut Underway, sk: u64) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let depth = core::ptr::read_volatile(&raw const (*underway).depth);
        for above in 1..=NOTES {
            if above > depth {
                break;
            }
            let place = (depth - above) % NOTES;
            if core::ptr::read_volatile(&raw const (*underway).sockets[place as usize]) == sk {
                core::ptr::write_volatile(&raw mut (*underway).depth, place);
                return true;
            }
        }
    }
    false
}
