//! The few commands of bpf(2) that the iterators need: `include/uapi/linux/bpf.h`.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::bpf_attach_type::BPF_TRACE_ITER;
use aya_obj::generated::bpf_cmd::{
    self, BPF_BTF_LOAD, BPF_ITER_CREATE, BPF_LINK_CREATE, BPF_MAP_CREATE, BPF_MAP_FREEZE, BPF_MAP_UPDATE_ELEM,
    BPF_PROG_LOAD,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_TRACING;

use super::description::FuncInfo;

/// `BPF_F_RDONLY_PROG`
const RDONLY_PROG: u32 = 1 << 7;

/// The beginning of the member of `union bpf_attr` for each command; the kernel takes the rest as zero.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

#[repr(C)]
struct BtfLoad {
    btf: u64,
    log_buf: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    /// Zero, as in [`LinkCreate`].
    reserved: u32,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    /// `union bpf_iter_link_info`; the only needed member is a map's descriptor.
    iter_info: u64,
    iter_info_len: u32,
    /// Zero: kernels that know only the length refuse anything else.
    reserved: u32,
}

#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

const _: () = assert!(size_of::<ProgLoad>() == 112);
const _: () = assert!(size_of::<LinkCreate>() == 32);

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn bpf<T>(command: bpf_cmd, attr: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are readable for the size given, and so is all that they point to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

fn descriptor(result: io::Result<libc::c_int>) -> io::Result<OwnedFd> {
    // SAFETY: a new descriptor without any other owner.
    result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a map of one value that neither programs nor this process can change.
pub(super) fn frozen_map(value: &[u8]) -> io::Result<OwnedFd> {
    let value_size = u32::try_from(value.len()).map_err(io::Error::other)?;
    let map_type = BPF_MAP_TYPE_ARRAY as u32;
    let create = MapCreate { map_type, key_size: 4, value_size, max_entries: 1, map_flags: RDONLY_PROG };
    let map = descriptor(bpf(BPF_MAP_CREATE, &create))?;
    let (fd, key) = (map.as_raw_fd().cast_unsigned(), 0_u32);
    let (key, value) = (std::ptr::from_ref(&key) as u64, value.as_ptr() as u64);
    bpf(BPF_MAP_UPDATE_ELEM, &MapUpdate { map_fd: fd, reserved: 0, key, value, flags: 0 })?;
    bpf(BPF_MAP_FREEZE, &fd)?;
    Ok(map)
}

/// Makes a map of `max_entries` numbers whose values do not matter.
pub(super) fn map_of(max_entries: u32) -> io::Result<OwnedFd> {
    let map_type = BPF_MAP_TYPE_ARRAY as u32;
    descriptor(bpf(BPF_MAP_CREATE, &MapCreate { map_type, key_size: 4, value_size: 8, max_entries, map_flags: 0 }))
}

/// Loads type information into the kernel.
pub(super) fn btf_load(types: &[u8]) -> io::Result<OwnedFd> {
    let size = u32::try_from(types.len()).map_err(io::Error::other)?;
    let load = BtfLoad { btf: types.as_ptr() as u64, log_buf: 0, size, log_size: 0, log_level: 0, reserved: 0 };
    descriptor(bpf(BPF_BTF_LOAD, &load))
}

/// Loads an iterator program. `description`: its type information and functions, if it has more than one. Writes the
/// verifier's messages into `log`.
pub(super) fn prog_load(
    instructions: &[u8],
    license: &[u8],
    btf_id: u32,
    description: Option<(BorrowedFd<'_>, &[FuncInfo])>,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    // SAFETY: a structure of integers: zero is a value.
    let mut attr: ProgLoad = unsafe { std::mem::zeroed() };
    attr.prog_type = BPF_PROG_TYPE_TRACING as u32;
    attr.expected_attach_type = BPF_TRACE_ITER as u32;
    attr.insn_cnt = u32::try_from(instructions.len() / 8).map_err(io::Error::other)?;
    attr.insns = instructions.as_ptr() as u64;
    attr.license = license.as_ptr() as u64;
    attr.attach_btf_id = btf_id;
    if let Some((types, functions)) = description {
        attr.prog_btf_fd = number(types);
        attr.func_info_rec_size = u32::try_from(size_of::<FuncInfo>()).map_err(io::Error::other)?;
        attr.func_info = functions.as_ptr() as u64;
        attr.func_info_cnt = u32::try_from(functions.len()).map_err(io::Error::other)?;
    }
    if !log.is_empty() {
        attr.log_level = 1;
        attr.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        attr.log_buf = log.as_mut_ptr() as u64;
    }
    descriptor(bpf(BPF_PROG_LOAD, &attr))
}

/// Attaches an iterator program; `map`: the map that it iterates over, if any.
pub(super) fn link_create(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let info = map.map(number);
    let (iter_info, iter_info_len) = match &info {
        Some(info) => (std::ptr::from_ref(info) as u64, 4),
        None => (0, 0),
    };
    let attach_type = BPF_TRACE_ITER as u32;
    let create = LinkCreate {
        prog_fd: number(program),
        target_fd: 0,
        attach_type,
        flags: 0,
        iter_info,
        iter_info_len,
        reserved: 0,
    };
    descriptor(bpf(BPF_LINK_CREATE, &create))
}

/// Opens a file whose reading runs the iterator once, over the namespace of this thread.
pub(super) fn iter_create(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    descriptor(bpf(BPF_ITER_CREATE, &IterCreate { link_fd: number(link), flags: 0 }))
}
