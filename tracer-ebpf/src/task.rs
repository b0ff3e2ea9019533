//! The current task: who opens a socket.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task},
};
use tracer_common::{record::Opener, settings::ABSENT};

use crate::{memory, offset};

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Nobody yet.
pub const NOBODY: Opener = Opener { pid: 0, tid: 0, uid: 0, reserved: 0, start_ns: 0, cgroup_id: 0, comm: [0; 16] };

/// Process id of the current task.
#[inline(always)]
pub fn current_pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Start of the process that `task` belongs to.
#[inline(always)]
pub fn process_start_ns(task: u64) -> u64 {
    if offset!(task_start_boottime) == ABSENT {
        return 0;
    }
    let leader: u64 = memory::read(task, offset!(task_group_leader));
    memory::read(leader, offset!(task_start_boottime))
}

/// Fills in the current task; `false` if it is a kernel thread (nobody in user space asked).
///
/// Call only in process context: in softirq the current task is whoever was interrupted. In place,
/// because a copy on the 512 bytes of stack is one too many.
#[inline(always)]
pub fn fill(opener: &mut Opener) -> bool {
    // SAFETY: no arguments; permitted in all program types used here.
    let task = unsafe { bpf_get_current_task() };
    if memory::read::<u32>(task, offset!(task_flags)) & PF_KTHREAD != 0 {
        return false;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    opener.pid = (pid_tgid >> 32) as u32;
    opener.tid = pid_tgid as u32;
    opener.uid = bpf_get_current_uid_gid() as u32;
    opener.start_ns = process_start_ns(task);
    // SAFETY: no arguments; and sixteen writable bytes.
    unsafe {
        opener.cgroup_id = bpf_get_current_cgroup_id();
        bpf_get_current_comm((&raw mut opener.comm).cast(), 16);
    }
    true
}
