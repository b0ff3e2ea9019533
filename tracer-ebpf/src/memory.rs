//! Reads of kernel memory by address.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::settings::ABSENT;

/// The `T` at `base + offset`; zero where the field is absent or the address is bad.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    // SAFETY: `T` is an integer or an array of integers wherever this is used: zero is a value.
    let mut value: T = unsafe { core::mem::zeroed() };
    if offset == ABSENT || base == 0 {
        return value;
    }
    // SAFETY: the helper checks the address and writes `size_of::<T>()` bytes, zeros on a fault.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            (base + u64::from(offset)) as *const core::ffi::c_void,
        );
    }
    value
}
