//! Whether the trace has begun.

use aya_ebpf::{macros::map, maps::Array};

/// 1 once every hook is attached. Until then the attached hooks ignore every connection, because the
/// others have not seen its beginning. 2 once no call is under way that began before.
#[map]
pub static STARTED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether every hook is attached.
#[inline(always)]
pub fn started() -> bool {
    // SAFETY: a live array slot, written once by the agent.
    STARTED.get_ptr(0).is_some_and(|started| unsafe { core::ptr::read_volatile(started) } != 0)
}

/// Whether every call under way began after the last hook was attached.
#[inline(always)]
pub fn settled() -> bool {
    // SAFETY: as above.
    STARTED.get_ptr(0).is_some_and(|started| unsafe { core::ptr::read_volatile(started) } == 2)
}
