//! Plain loads from any address.
//!
//! A helper that reads memory is a call: the processor waits for its result before it begins the next read, or nearly.
//! With plain loads it begins the next ones while it waits. `bpf_rdonly_cast` (from 6.2) turns any number into a
//! pointer to a structure of a given type, and the verifier lets a program load that structure's members; a fault gives
//! zero.

use aya_ebpf::Global;
use tracer_common::iterator::RDONLY_CAST;

/// The number of a structure type that begins with an eight-byte number.
#[unsafe(no_mangle)]
pub static WINDOW: Global<u32> = Global::new(0);

/// Returns the eight bytes at `base + offset`; zero where there is no memory.
#[inline(always)]
pub fn word(base: u64, offset: u32) -> u64 {
    // SAFETY: `Global` is `repr(transparent)` over the number. The loader replaces this call by one of
    // `bpf_rdonly_cast`; the verifier checks the load against the structure.
    unsafe {
        let window = core::ptr::read_volatile((&raw const WINDOW).cast::<u32>());
        let cast: unsafe extern "C" fn(u64, u32) -> *const u64 = core::mem::transmute(RDONLY_CAST as usize);
        core::ptr::read_volatile(cast(base + u64::from(offset), window))
    }
}
