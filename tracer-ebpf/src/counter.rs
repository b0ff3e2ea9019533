//! The counters of everything that the kernel side does not report one by one.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::counter::{COUNTERS, Counter};

/// [`Counter`]s.
#[map]
pub static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    add_one(COUNTS.get_ptr_mut(counter as u32));
}

/// Adds one to a number in a map, if there is one.
#[inline(always)]
pub fn add_one(value: Option<*mut u64>) {
    if let Some(value) = value {
        add(value, 1);
    }
}

/// Adds to a number in a map that other programs change at the same time.
#[inline(always)]
pub fn add(value: *mut u64, more: u64) {
    {
        // A softirq between a load and a store would lose its count: so one atomic instruction
        // (BPF_XADD, in every kernel; `core`'s atomics do not exist on this target).
        // SAFETY: a valid, aligned slot of a map.
        unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) value, in(reg) more) };
    }
}
