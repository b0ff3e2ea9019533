//! Writes records into the ring, counts failed reserves and batches wake-ups.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit},
    macros::map,
    maps::{Array, RingBuf},
};
use tracer_common::{
    audit::RingTaken,
    counter::Counter,
    record::{Header, RECORD_VERSION, RecordKind},
};

use crate::{audit, counter::count, setting};

/// Lifecycle and process records. The agent sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// First place: 1 while the agent sleeps until the next record, 0 while it looks by itself after a
/// while. Second place: the most bytes that ever waited in the ring.
#[map]
pub static WAITING: Array<u32> = Array::with_max_entries(2, 0);

/// Notes that a ring holds `fill` bytes now. Two CPUs that find a new maximum may overwrite each other: their
/// values are a record or two apart.
#[inline(always)]
pub fn filled(waiting: &Array<u32>, fill: u64) {
    if let Some(highest) = waiting.get_ptr_mut(1) {
        // SAFETY: a live array slot.
        unsafe {
            if fill > u64::from(core::ptr::read_volatile(highest)) {
                core::ptr::write_volatile(highest, fill as u32);
            }
        }
    }
}

/// Reserves room for a `T`; if there is none, counts the loss under `lost` and returns null.
#[inline(always)]
pub fn reserve<T>(lost: Counter) -> *mut T {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: `EVENTS` is a ring buffer map; a non-null result is `size_of::<T>()` writable bytes.
    let place = unsafe { bpf_ringbuf_reserve(ring, size_of::<T>() as u64, 0) }.cast::<T>();
    if place.is_null() {
        count(lost);
    }
    place
}

/// Hands `place` over to the agent.
///
/// A wake-up is an interrupt to this CPU, in a virtual machine one of microseconds. So only two records
/// wake the agent: the first one that finds it asleep (it then gathers for a while and drains them all)
/// and the one that crosses the fill mark. In between the agent looks by itself.
///
/// # Safety
/// `place` comes from [`reserve`], is not null and is fully written.
#[inline(always)]
pub unsafe fn submit<T>(place: *mut T, sent: Counter) {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: as above.
    let fill = unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) };
    filled(&WAITING, fill);
    let mark = setting!(wake_bytes);
    // The ring adds an eight-byte header to every record.
    let crosses = fill >= mark && fill < mark + size_of::<T>() as u64 + 8;
    let flags = if crosses || finds_agent_asleep() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    count(sent);
    audit::taken(RingTaken::Events);
    // SAFETY: reserved by the caller, submitted once.
    unsafe { bpf_ringbuf_submit(place.cast(), u64::from(flags)) };
}

/// Returns the header of a record of `kind` at `boot_ns`.
#[inline(always)]
pub const fn header(kind: RecordKind, boot_ns: u64) -> Header {
    Header { kind: kind as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns }
}

#[inline(always)]
fn finds_agent_asleep() -> bool {
    let Some(waiting) = WAITING.get_ptr_mut(0) else { return true };
    // SAFETY: a live array slot. Two CPUs may both see it set: then both wake the agent.
    unsafe {
        let asleep = core::ptr::read_volatile(waiting) != 0;
        if asleep {
            core::ptr::write_volatile(waiting, 0);
        }
        asleep
    }
}
