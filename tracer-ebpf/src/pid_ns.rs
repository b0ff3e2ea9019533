//! The numbers of processes in the pid namespace of the agent's /proc.
//!
//! In the initial namespace they are the kernel's own, at no cost. A process of a namespace that is not below the
//! agent's has no number there: it gets 0, because the kernel's own number may be that of another process.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use tracer_common::settings::ABSENT;

use crate::{memory, offset, setting};

/// The deepest namespace with numbers here. The kernel allows 32 (`MAX_PID_NS_LEVEL`); a container in a container is at
/// depth 2.
const DEEPEST: u32 = 6;
/// `sizeof(struct upid)`: a number and an aligned pointer.
const UPID: u64 = 16;

/// Returns the numbers of the current task's process and thread.
#[inline(always)]
pub fn current() -> (u32, u32) {
    if setting!(pid_ns) == 0 {
        let pid_tgid = bpf_get_current_pid_tgid();
        return ((pid_tgid >> 32) as u32, pid_tgid as u32);
    }
    // SAFETY: no arguments; permitted in all program types used here.
    let task = unsafe { bpf_get_current_task() };
    (number_in_pid_ns(task, 1), number_in_pid_ns(task, 0))
}

/// Returns the number of the current task's process.
#[inline(always)]
pub fn current_process() -> u32 {
    if setting!(pid_ns) == 0 {
        return (bpf_get_current_pid_tgid() >> 32) as u32;
    }
    // SAFETY: as above.
    number_in_pid_ns(unsafe { bpf_get_current_task() }, 1)
}

/// Returns the number of the process of `task`.
#[inline(always)]
pub fn process(task: u64) -> u32 {
    if setting!(pid_ns) == 0 {
        return memory::read(task, offset!(task_tgid));
    }
    number_in_pid_ns(task, 1)
}

/// Returns the number of `task`, or of its process, in the agent's namespace. A global function: the verifier checks it
/// once for each program, not once for each path to it; its branches multiply no paths behind it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn number_in_pid_ns(task: u64, of_process: u32) -> u32 {
    if setting!(pid_ns) == 0 || offset!(pid_level) == ABSENT {
        return 0;
    }
    let leader: u64 = memory::read(task, offset!(task_group_leader));
    let pid: u64 = memory::read(if of_process != 0 { leader } else { task }, offset!(task_thread_pid));
    let level: u32 = memory::read(pid, offset!(pid_level));
    // The number at level 0 is the kernel's own. No loop: that took the verifier a second for each program.
    if let Some(number) = at(pid, level, 1) {
        return number;
    }
    if let Some(number) = at(pid, level, 2) {
        return number;
    }
    if let Some(number) = at(pid, level, 3) {
        return number;
    }
    if let Some(number) = at(pid, level, 4) {
        return number;
    }
    if let Some(number) = at(pid, level, 5) {
        return number;
    }
    at(pid, level, DEEPEST).unwrap_or(0)
}

/// Returns the number of the `struct pid` at `pid` in the namespace at `depth`, if that is the agent's; 0 if the pid
/// has no namespace so deep.
#[inline(always)]
fn at(pid: u64, level: u32, depth: u32) -> Option<u32> {
    if depth > level {
        return Some(0);
    }
    let (mut ns, mut inode, mut number) = (0_u64, 0_u32, 0_u32);
    let place = pid + UPID * u64::from(depth);
    memory::read_into(&mut ns, place, offset!(pid_ns));
    memory::read_into(&mut inode, ns, offset!(pid_ns_inum));
    memory::read_into(&mut number, place, offset!(pid_number));
    if inode == setting!(pid_ns) { Some(number) } else { None }
}
