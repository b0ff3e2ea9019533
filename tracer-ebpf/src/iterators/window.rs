//! Plain loads from any address.
//!
//! A helper that reads memory is a call, and what it reads is waited for before the next one can be asked for, or
//! nearly. Of plain loads the processor begins the next ones while it waits. `bpf_rdonly_cast` (from 6.2)
//! makes a pointer of any number, from which the verifier lets a program load what the structure has there
//! that it is said to point to; a fault gives zero.

use aya_ebpf::Global;
use tracer_common::iterator::RDONLY_CAST;

/// Number of the type of a structure that begins with a number of eight bytes.
#[unsafe(no_mangle)]
pub static WINDOW: Global<u32> = Global::new(0);

/// The eight bytes at `base + offset`; zero where there is no memory.
#[inline(always)]
pub fn word(base: u64, offset: u32) -> u64 {
    // SAFETY: `Global` is `repr(transparent)` over the number. The loader makes a call of `bpf_rdonly_cast` out of the
    // one here; the verifier checks the load against the structure.
    unsafe {
        let window = core::ptr::read_volatile((&raw const WINDOW).cast::<u32>());
        let cast: unsafe extern "C" fn(u64, u32) -> *const u64 = core::mem::transmute(RDONLY_CAST as usize);
        core::ptr::read_volatile(cast(base + u64::from(offset), window))
    }
}
