//! The parts of bpf(2) that the tests need: whether an object still exists, the contents of a map, and a program that
//! forbids connect().

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::errno;
use crate::netns::unique;
use crate::skip::lacks;

mod dropping;
mod map;
mod sockmap;

pub use dropping::{At, Dropping, NAME, Of};
pub use map::Map;
pub use sockmap::Sockmap;

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_GET_NEXT_ID: u32 = 11;
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
const LINK_GET_FD_BY_ID: u32 = 30;
const LINK_GET_NEXT_ID: u32 = 31;
const PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const CGROUP_INET4_CONNECT: u32 = 10;

/// An address or another number of 64 bits, as two words of the attributes.
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// One call; `attributes` are the first 32-bit words of `union bpf_attr`.
fn bpf(command: u32, attributes: &[u32]) -> Result<i32, i32> {
    let mut union = [0_u32; 32];
    union[..attributes.len()].copy_from_slice(attributes);
    // SAFETY: the pointer and size describe `union`; pointers in it are to live values of the callers.
    let value = unsafe { libc::syscall(libc::SYS_bpf, command, union.as_mut_ptr(), size_of_val(&union)) };
    i32::try_from(value).ok().filter(|value| *value >= 0).ok_or_else(errno::last)
}

/// A program, map or link, by the key under which `/proc/PID/fdinfo` has its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    key: &'static str,
    id: u32,
}

impl Object {
    /// Whether it is still in the kernel.
    ///
    /// # Panics
    /// If the kernel gives no answer.
    #[must_use]
    pub fn exists(self) -> bool {
        let command = match self.key {
            "prog_id" => PROG_GET_FD_BY_ID,
            "map_id" => MAP_GET_FD_BY_ID,
            _ => LINK_GET_FD_BY_ID,
        };
        match bpf(command, &[self.id]) {
            Ok(fd) => {
                // SAFETY: the descriptor was just made.
                unsafe { libc::close(fd) };
                true
            }
            Err(libc::ENOENT) => false,
            Err(other) => panic!("{self:?}: {}", errno::name(other)),
        }
    }
}

/// The programs, maps and links that a process holds.
#[must_use]
pub fn objects_of(pid: u32) -> Vec<Object> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            let Some((key, id)) = line.split_once(':') else { continue };
            let Some(key) = ["prog_id", "map_id", "link_id"].into_iter().find(|known| *known == key) else { continue };
            objects.extend(id.trim().parse().ok().map(|id| Object { key, id }));
        }
    }
    objects.sort_unstable();
    objects.dedup();
    objects
}

/// All programs and links in the kernel, of any process.
///
/// # Panics
/// If the kernel gives no answer.
#[must_use]
pub fn all_objects() -> std::collections::BTreeSet<Object> {
    let mut objects = std::collections::BTreeSet::new();
    for (key, next) in [("prog_id", PROG_GET_NEXT_ID), ("link_id", LINK_GET_NEXT_ID)] {
        let mut id = 0;
        loop {
            // start_id; the kernel writes next_id.
            let mut union = [0_u32; 32];
            union[0] = id;
            // SAFETY: the pointer and size describe `union`.
            let value = unsafe { libc::syscall(libc::SYS_bpf, next, union.as_mut_ptr(), size_of_val(&union)) };
            if value != 0 {
                let why = errno::last();
                assert_eq!(why, libc::ENOENT, "the next {key} after {id}: {}", errno::name(why));
                break;
            }
            id = union[1];
            objects.insert(Object { key, id });
        }
    }
    objects
}

/// A control group whose processes may not connect() over IPv4. Removed when dropped, if it is empty.
#[derive(Debug)]
pub struct DeniedGroup {
    dir: PathBuf,
}

impl DeniedGroup {
    /// Makes the group.
    ///
    /// # Errors
    /// The reason to skip.
    pub fn new() -> Result<Self, String> {
        let root = crate::cgroup::root()?;
        let dir = root.join(format!("tracer-test-{}-{}", std::process::id(), unique()));
        std::fs::create_dir(&dir).map_err(|e| lacks("cgroup2", format!("{}: {e}", dir.display())))?;
        let group = Self { dir };
        // r0 = 0; exit: "no".
        let code: [u64; 2] = [0xb7, 0x95];
        let licence = c"GPL";
        let (code_at, licence_at) = (code.as_ptr() as u64, licence.as_ptr() as u64);
        let [c0, c1] = halves(code_at);
        let [l0, l1] = halves(licence_at);
        let mut load = [0_u32; 19];
        load[..6].copy_from_slice(&[PROG_TYPE_CGROUP_SOCK_ADDR, code.len() as u32, c0, c1, l0, l1]);
        // expected_attach_type
        load[17] = CGROUP_INET4_CONNECT;
        let program = bpf(PROG_LOAD, &load)
            .map_err(|e| lacks("cgroup/connect4", format!("BPF_PROG_LOAD: {}", errno::name(e))))?;
        let directory = File::open(&group.dir).map_err(|e| lacks("cgroup2", e))?;
        let attached = bpf(PROG_ATTACH, &[directory.as_raw_fd() as u32, program as u32, CGROUP_INET4_CONNECT, 0]);
        // SAFETY: the descriptor was just made; the group holds the program from here on.
        unsafe { libc::close(program) };
        attached.map_err(|e| lacks("cgroup/connect4", format!("BPF_PROG_ATTACH: {}", errno::name(e))))?;
        Ok(group)
    }

    /// Moves a process into it.
    ///
    /// # Panics
    /// If it cannot be moved.
    pub fn take(&self, pid: u32) {
        let mut procs = File::options().write(true).open(self.dir.join("cgroup.procs")).expect("the group opens");
        write!(procs, "{pid}").expect("the process moves");
    }
}

impl Drop for DeniedGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.dir);
    }
}
