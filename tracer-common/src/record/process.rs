//! Records of processes.

use super::Header;

/// `sched_process_fork` of a new process (not of a thread).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ForkRecord {
    /// Common to all records.
    pub header: Header,
    /// The parent's process id.
    pub parent_pid: u32,
    /// The child's process id.
    pub pid: u32,
    /// Start of the parent, `CLOCK_BOOTTIME` ns.
    pub parent_start_ns: u64,
    /// Start of the child, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
}

/// Bytes kept of the path in an [`ExecRecord`].
pub const EXEC_PATH: usize = 256;
/// Bytes kept of the arguments in an [`ExecRecord`].
pub const EXEC_ARGS: usize = 512;

/// `sched_process_exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExecRecord {
    /// Common to all records.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Effective uid; [`UID_UNKNOWN`](super::UID_UNKNOWN) if unreadable.
    pub uid: u32,
    /// Real uid.
    pub real_uid: u32,
    /// Zero.
    pub reserved: u32,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
    /// `task->comm` after the exec.
    pub comm: [u8; 16],
    /// Bytes of `path` in use (without a trailing zero).
    pub path_len: u32,
    /// Bytes of `args` in use.
    pub args_len: u32,
    /// `linux_binprm.filename`: as given to execve, so it may be relative; cut at [`EXEC_PATH`].
    pub path: [u8; EXEC_PATH],
    /// The arguments, each ended by a zero; cut at [`EXEC_ARGS`].
    pub args: [u8; EXEC_ARGS],
}

/// `sched_process_exit` of a process's last (leading) thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExitRecord {
    /// Common to all records.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
}

const _: () = {
    assert!(size_of::<ForkRecord>() == 40);
    assert!(size_of::<ExecRecord>() == 64 + EXEC_PATH + EXEC_ARGS && align_of::<ExecRecord>() == 8);
    assert!(size_of::<ExitRecord>() == 32);
};
