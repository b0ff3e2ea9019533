//! The limit on drops reported one by one: a number per tenth of a second, for all CPUs together.
//!
//! A CPU draws a batch, so that CPUs seldom contend for the shared budget. It gives up the unused rest when the tenth
//! ends; the agent keeps the batches small, so this is little. Two CPUs that draw, or begin a tenth, at the same moment
//! may draw one batch beyond the budget; each packet is still counted.

use super::memory::SCRATCH;
use crate::{counter::add, setting};
use aya_ebpf::{macros::map, maps::Array};
use tracer_common::drops::Budget;

/// The common budget of drops reported one by one.
#[map]
pub static BUDGET: Array<Budget> = Array::with_max_entries(1, 0);

const TENTH_NS: u64 = 100_000_000;

/// Whether the budget of this tenth of a second allows one more report: 1 or 0. A global function: the verifier follows
/// its paths once, not again for each path to it (the program of the classic tracepoint: "Processed 1000001 insn").
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_tell(at: u64) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own place; the caller has marked it as busy.
    let scratch = unsafe { &mut *scratch };
    let tenth = at / TENTH_NS;
    if scratch.tenth != tenth {
        scratch.tenth = tenth;
        // SAFETY: as below.
        unsafe { core::ptr::write_volatile(&raw mut scratch.left, 0) };
    }
    // SAFETY: this CPU's own place. Volatile: LLVM 22 leaves out the store of the rest, and then there is no limit.
    unsafe {
        let place = &raw mut scratch.left;
        let mut left = core::ptr::read_volatile(place);
        if left == 0 {
            left = draw(tenth);
        }
        if left == 0 {
            return 0;
        }
        core::ptr::write_volatile(place, left - 1);
    }
    1
}

/// Takes a batch from the common budget; 0 if that is used up.
#[inline(always)]
fn draw(tenth: u64) -> u64 {
    let Some(budget) = BUDGET.get_ptr_mut(0) else { return 0 };
    // SAFETY: a live array slot. Other CPUs work on it: loads and stores of one word, and one atomic addition.
    unsafe {
        // A CPU interrupted between the two stores may still be in an earlier tenth: it draws from this one.
        if core::ptr::read_volatile(&raw const (*budget).tenth) < tenth {
            core::ptr::write_volatile(&raw mut (*budget).drawn, 0);
            core::ptr::write_volatile(&raw mut (*budget).tenth, tenth);
        }
        if core::ptr::read_volatile(&raw const (*budget).drawn) >= u64::from(setting!(drops_told)) {
            return 0;
        }
        let batch = u64::from(setting!(drops_drawn));
        add(&raw mut (*budget).drawn, batch);
        batch
    }
}
