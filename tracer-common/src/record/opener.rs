//! The task that opened a socket.

/// The task that opened a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Opener {
    /// Process (thread group) id in the initial pid namespace; 0 if no task has opened the socket yet.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Effective uid in the initial user namespace; [`UID_UNKNOWN`] if unreadable.
    pub uid: u32,
    /// Real uid, as `bpf_get_current_uid_gid` gives it.
    pub real_uid: u32,
    /// Start of the process (not of the thread) on `CLOCK_BOOTTIME`, in nanoseconds; 0 if unknown.
    pub start_ns: u64,
    /// Id of the task's cgroup in the v2 hierarchy; 0 if unknown.
    pub cgroup_id: u64,
    /// The thread's `task->comm`, padded with zeros.
    pub comm: [u8; 16],
    /// The process's `task->group_leader->comm`; zeros if unreadable.
    pub process_comm: [u8; 16],
}

impl Opener {
    /// No task.
    pub const NOBODY: Self =
        Self { pid: 0, tid: 0, uid: 0, real_uid: 0, start_ns: 0, cgroup_id: 0, comm: [0; 16], process_comm: [0; 16] };
}

/// No user has this uid (`INVALID_UID`).
pub const UID_UNKNOWN: u32 = u32::MAX;

const _: () = assert!(size_of::<Opener>() == 64);
