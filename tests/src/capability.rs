//! Capabilities: reads those of a process's threads, and starts programs with an exact set.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent::tracer_program;
use crate::netns::{leave_scratch, scratch, unique};
use crate::process::copy_program;

/// Their numbers: `include/uapi/linux/capability.h`.
pub const DAC_READ_SEARCH: u32 = 2;
/// See [`DAC_READ_SEARCH`].
pub const KILL: u32 = 5;
/// See [`DAC_READ_SEARCH`].
pub const NET_ADMIN: u32 = 12;
/// See [`DAC_READ_SEARCH`].
pub const SYS_PTRACE: u32 = 19;
/// See [`DAC_READ_SEARCH`].
pub const SYS_ADMIN: u32 = 21;
/// See [`DAC_READ_SEARCH`].
pub const SYS_RESOURCE: u32 = 24;
/// See [`DAC_READ_SEARCH`].
pub const SYSLOG: u32 = 34;
/// See [`DAC_READ_SEARCH`].
pub const PERFMON: u32 = 38;
/// See [`DAC_READ_SEARCH`].
pub const BPF: u32 = 39;

/// A set as the kernel writes it.
#[must_use]
pub fn set(capabilities: &[u32]) -> u64 {
    capabilities.iter().map(|capability| 1 << capability).sum()
}

/// The rights of a thread: its /proc/PID/task/TID/status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The thread's name.
    pub name: String,
    /// `CapInh`
    pub inheritable: u64,
    /// `CapPrm`
    pub permitted: u64,
    /// `CapEff`
    pub effective: u64,
    /// `CapBnd`
    pub bounding: u64,
    /// `CapAmb`
    pub ambient: u64,
    /// `NoNewPrivs`
    pub no_new_privs: bool,
    /// `Seccomp`: 2 is a filter.
    pub seccomp: u32,
}

impl Rights {
    /// The rights in a `status` file.
    ///
    /// # Panics
    /// If it lacks one.
    #[must_use]
    pub fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let of = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
            status.lines().find_map(of).unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        let set = |name: &str| u64::from_str_radix(&field(name), 16).expect("a set");
        Self {
            name: field("Name"),
            inheritable: set("CapInh"),
            permitted: set("CapPrm"),
            effective: set("CapEff"),
            bounding: set("CapBnd"),
            ambient: set("CapAmb"),
            no_new_privs: field("NoNewPrivs") == "1",
            seccomp: field("Seccomp").parse().expect("a number"),
        }
    }

    /// The rights of this test.
    ///
    /// # Panics
    /// If /proc is missing.
    #[must_use]
    pub fn own() -> Self {
        Self::parse(&fs::read_to_string("/proc/thread-self/status").expect("the status is read"))
    }

    /// The rights of every thread of a process.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Vec<Self> {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads are listed");
        // A thread that has just ended is left out.
        let status = |entry: io::Result<fs::DirEntry>| fs::read_to_string(entry.ok()?.path().join("status")).ok();
        threads.filter_map(status).map(|status| Self::parse(&status)).collect()
    }
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION: u32 = 0x2008_0522;

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs between fork and exec: becomes user `uid` with exactly these capabilities, which exec() keeps (the ambient
/// set). Only system calls.
fn become_user(uid: u32, capabilities: u64) -> io::Result<()> {
    let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
    let half = |set| Data { effective: set, permitted: set, inheritable: set };
    let (header, data) = (Header { version: VERSION, pid: 0 }, [half(low), half(high)]);
    // SAFETY: system calls with valid arguments; the structures outlive them.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0).into())?;
        check(libc::setgroups(0, std::ptr::null()).into())?;
        check(libc::setresgid(uid, uid, uid).into())?;
        check(libc::setresuid(uid, uid, uid).into())?;
        check(libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()))?;
        for capability in (0..64).filter(|capability| capabilities & 1 << capability != 0) {
            let raise = libc::PR_CAP_AMBIENT_RAISE;
            check(libc::prctl(libc::PR_CAP_AMBIENT, raise, capability as libc::c_ulong, 0, 0).into())?;
        }
    }
    Ok(())
}

/// `program` as user `uid` with exactly these capabilities. An open descriptor names it: the user may not be able to
/// reach its folder. Keep the file until the program has started.
///
/// # Errors
/// If the program cannot be opened.
pub fn command(program: &Path, uid: u32, capabilities: &[u32]) -> io::Result<(Command, File)> {
    let file = File::open(program)?;
    // Stays open until exec has read it.
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let capabilities = set(capabilities);
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(move || become_user(uid, capabilities)) };
    Ok((command, file))
}

/// A copy of the tracer that every user may execute. Removed when dropped.
#[derive(Debug)]
pub struct Public(PathBuf);

impl Public {
    /// Makes the copy.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a file")]
    pub fn new() -> Self {
        let path = scratch().join(format!("tracer-{}", unique()));
        copy_program(&tracer_program(), &path);
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        leave_scratch();
    }
}
