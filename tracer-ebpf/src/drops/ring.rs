//! Writes records into the ring of drops.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ringbuf_output, bpf_ringbuf_query},
    macros::map,
    maps::{Array, RingBuf},
};
use tracer_common::audit::RingTaken;

use crate::{audit, emit::filled};

/// Drops, retransmissions and resets: apart, so that a storm of them costs no lifecycle event. The
/// agent sets the size.
#[map]
pub static DROPS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// As [`WAITING`], for [`DROPS`].
#[map]
pub static DROPS_WAITING: Array<u32> = Array::with_max_entries(2, 0);

/// A quarter of the agent's `DROPS_RING_BYTES`.
const WAKE_BYTES: u64 = 1 << 18;

/// Copies a record into the ring; returns whether there was room.
#[inline(always)]
pub fn output<T>(record: &T) -> bool {
    let ring = (&raw const DROPS).cast_mut().cast();
    // SAFETY: `DROPS` is a ring buffer map.
    let fill = unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) };
    filled(&DROPS_WAITING, fill);
    // See `emit::submit`.
    let crosses = fill >= WAKE_BYTES && fill < WAKE_BYTES + size_of::<T>() as u64 + 8;
    let flags = if crosses || finds_agent_asleep() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let data = (&raw const *record).cast_mut().cast();
    // SAFETY: as above; `data` is `size_of::<T>()` bytes long.
    let taken = unsafe { bpf_ringbuf_output(ring, data, size_of::<T>() as u64, u64::from(flags)) == 0 };
    if taken {
        audit::taken(RingTaken::Drops);
    }
    taken
}

#[inline(always)]
fn finds_agent_asleep() -> bool {
    let Some(waiting) = DROPS_WAITING.get_ptr_mut(0) else { return true };
    // SAFETY: a live array slot. Two CPUs may both see it set: then both wake the agent.
    unsafe {
        let asleep = core::ptr::read_volatile(waiting) != 0;
        if asleep {
            core::ptr::write_volatile(waiting, 0);
        }
        asleep
    }
}
