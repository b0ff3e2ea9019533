//! `bpf_obj_get_info_by_fd`: what the kernel says of an object of BPF.

use std::{mem, os::fd::RawFd};

/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd`.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

#[repr(C)]
struct InfoRequest {
    fd: u32,
    length: u32,
    info: u64,
}

/// The kernel's information about the program, map or link with this descriptor; `None` if it gives none. Fields that
/// an older kernel does not know are zero. `T` is one of its `bpf_*_info`.
pub(super) fn info<T: Copy>(fd: RawFd) -> Option<T> {
    // SAFETY: a structure of integers: zero is a value.
    let mut info: T = unsafe { mem::zeroed() };
    let mut request = InfoRequest {
        fd: u32::try_from(fd).ok()?,
        length: u32::try_from(size_of::<T>()).ok()?,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the request names a writable structure of the given length; the kernel refuses a descriptor that is not
    // BPF's.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut request, size_of::<InfoRequest>()) };
    (result == 0).then_some(info)
}
