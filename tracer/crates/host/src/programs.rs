//! BPF programs that others have attached to a device or to a control group: their numbers and names, by bpf(2)
//! (include/uapi/linux/bpf.h). The calls need `CAP_NET_ADMIN`, and `CAP_SYS_ADMIN` for the names.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use tracer_tables::programs::{Program, Way};

use crate::proc::cgroup::v2_root;

/// `enum bpf_cmd`.
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;
/// `enum bpf_attach_type`.
const CGROUP_INET_INGRESS: u32 = 0;
const CGROUP_INET_EGRESS: u32 = 1;
/// The most programs of one hook that are read; `BPF_MPROG_MAX` and `BPF_CGROUP_MAX_PROGS` of the kernel are 64.
const MOST: usize = 64;
/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS` (6.6). Earlier kernels refuse them with EINVAL.
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
/// `BPF_F_QUERY_EFFECTIVE`: also the programs of the groups above that apply to this group.
const EFFECTIVE: u32 = 1;

#[repr(C)]
struct Query {
    /// A descriptor of a control group, or the index of a device.
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    /// Zero: the kernel refuses anything else.
    reserved: u32,
}

#[repr(C)]
struct GetById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct GetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`, up to the name.
#[repr(C)]
struct ProgInfo {
    /// Kind, number, tag, lengths, code, time of loading, loader, maps.
    before: [u64; 8],
    name: [u8; 16],
}

const _: () = assert!(size_of::<Query>() == 32 && size_of::<ProgInfo>() == 80);

/// Returns the tcx programs of a device in the network namespace of this thread, in the order in which they run.
///
/// # Errors
/// Errors of bpf(2): `EINVAL` before 6.6, which has no such programs; `ENODEV` if the device is gone.
pub fn of_device(ifindex: u32, way: Way) -> io::Result<Vec<Program>> {
    let attach_type = match way {
        Way::In => TCX_INGRESS,
        Way::Out => TCX_EGRESS,
    };
    query(ifindex, attach_type, 0)
}

/// Returns the programs that packets of sockets in this control group run through, those of the groups above included.
///
/// # Errors
/// Errors of opening its directory and of bpf(2).
pub fn of_group(directory: &Path, way: Way) -> io::Result<Vec<Program>> {
    let directory = File::open(directory)?;
    let attach_type = match way {
        Way::In => CGROUP_INET_INGRESS,
        Way::Out => CGROUP_INET_EGRESS,
    };
    query(directory.as_raw_fd().cast_unsigned(), attach_type, EFFECTIVE)
}

/// Returns the control group (version 2) in a `/proc/PID/cgroup`: its path, and its directory below `mount`
/// (`/sys/fs/cgroup`). `None` if it has none there, or lies outside this process's cgroup namespace.
#[must_use]
pub fn group_of<'t>(text: &'t str, mount: &Path) -> Option<(&'t str, PathBuf)> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let relative = path.strip_prefix('/')?;
    if relative.split('/').any(|part| part == "..") {
        return None;
    }
    Some((path, v2_root(mount)?.join(relative)))
}

/// Returns the program with this number.
#[must_use]
pub fn program(id: u32) -> Program {
    Program { id, name: name(id).unwrap_or_default() }
}

fn query(target: u32, attach_type: u32, query_flags: u32) -> io::Result<Vec<Program>> {
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        target,
        attach_type,
        query_flags,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST as u32,
        reserved: 0,
    };
    match bpf(PROG_QUERY, &mut query) {
        Ok(_) => {}
        // There are more; the first ones were read.
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {}
        Err(error) => return Err(error),
    }
    let count = usize::try_from(query.prog_cnt).unwrap_or(MOST);
    Ok(ids.iter().take(count).filter(|id| **id != 0).map(|id| program(*id)).collect())
}

fn name(id: u32) -> io::Result<String> {
    let fd = bpf(PROG_GET_FD_BY_ID, &mut GetById { prog_id: id, next_id: 0, open_flags: 0 })?;
    // SAFETY: a new descriptor without any other owner.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = ProgInfo { before: [0; 8], name: [0; 16] };
    let length = u32::try_from(size_of::<ProgInfo>()).map_err(io::Error::other)?;
    let fd = program.as_raw_fd().cast_unsigned();
    bpf(OBJ_GET_INFO_BY_FD, &mut GetInfo { fd, length, info: (&raw mut info) as u64 })?;
    let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(info.name.len());
    Ok(String::from_utf8_lossy(info.name.get(..end).unwrap_or_default()).into_owned())
}

fn bpf<T>(command: u32, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are readable and writable for the given size, and their pointers name live memory of the
    // size that they give.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

/// Returns the control group of a process: its path and its directory.
#[must_use]
pub fn group_of_process(proc: &Path, pid: u32) -> Option<(String, PathBuf)> {
    let text = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
    group_of(&text, Path::new("/sys/fs/cgroup")).map(|(path, directory)| (path.to_owned(), directory))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_that_of_version_2() {
        let mount = std::env::temp_dir().join(format!("tracer-groups-{}", std::process::id()));
        let unified = mount.join("unified");
        fs::create_dir_all(&unified).unwrap();
        fs::write(unified.join("cgroup.controllers"), "").unwrap();
        let text = "4:memory:/docker/1\n1:name=systemd:/x\n0::/system.slice/a:b.service\n";
        let found = group_of(text, &mount);
        let none = [group_of("4:memory:/docker/1\n", &mount), group_of("0::/../other\n", &mount), group_of("", &mount)];
        let elsewhere = group_of(text, &unified);
        fs::remove_dir_all(&mount).unwrap();
        assert_eq!(found, Some(("/system.slice/a:b.service", unified.join("system.slice/a:b.service"))));
        assert_eq!(none, [None, None, None]);
        assert_eq!(elsewhere, Some(("/system.slice/a:b.service", unified.join("system.slice/a:b.service"))));
    }

    #[test]
    fn a_program_that_is_gone_has_no_name() {
        assert_eq!(program(u32::MAX), Program { id: u32::MAX, name: String::new() });
    }
}
