//! Reads of kernel memory by address.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::settings::ABSENT;

/// Returns the `T` at `base + offset`; zero where the field is absent or the address is bad.
///
/// The helper refuses a null `base`, too: a comparison here would be one more path for the verifier each time.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    if offset == ABSENT {
        // SAFETY: every caller's `T` is an integer or an array of integers: zero is a value.
        return unsafe { core::mem::zeroed() };
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and writes `size_of::<T>()` bytes, zeros on a fault.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + u64::from(offset)) as *const core::ffi::c_void,
        );
        value.assume_init()
    }
}

/// Reads the `T` at `base + offset` into the caller's `place`; zero where the address is bad.
#[inline(always)]
pub fn read_into<T: Copy>(place: &mut T, base: u64, offset: u32) {
    // SAFETY: the helper checks the address and writes `size_of::<T>()` bytes, zeros on a fault; every
    // caller's `T` is an integer or an array of integers: zero is a value.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut *place).cast(),
            size_of::<T>() as u32,
            (base + u64::from(offset)) as *const core::ffi::c_void,
        );
    }
}

/// The first `WORDS * 8` bytes of a structure, read at once: one helper call for each field was most
/// of the cost of accept().
#[derive(Clone, Copy)]
pub struct Window<const WORDS: usize> {
    base: u64,
    words: MaybeUninit<[u64; WORDS]>,
}

impl<const WORDS: usize> Window<WORDS> {
    /// Reads the window at `base`; zeros where the address is bad.
    #[inline(always)]
    pub fn read(base: u64) -> Self {
        let mut words = MaybeUninit::<[u64; WORDS]>::uninit();
        // SAFETY: the helper checks the address and writes all of `words`, zeros on a fault.
        unsafe {
            bpf_probe_read_kernel(words.as_mut_ptr().cast(), (WORDS * 8) as u32, base as *const core::ffi::c_void);
        }
        Self { base, words }
    }

    /// Returns the `T` at `offset`, with a read of its own if it is not in the window.
    #[inline(always)]
    pub fn get<T: Copy>(&self, offset: u32) -> T {
        if u64::from(offset) + size_of::<T>() as u64 > (WORDS * 8) as u64 {
            return read(self.base, offset);
        }
        // SAFETY: inside of `words`, which the helper has written; `T` is an integer. Volatile, so
        // that the load stays at an offset that the verifier knows.
        unsafe { core::ptr::read_volatile(self.words.as_ptr().cast::<u8>().add(offset as usize).cast::<T>()) }
    }
}
