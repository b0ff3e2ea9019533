//! The numbers of processes in the pid namespace that the agent looks at /proc of.
//!
//! In the initial one they are the kernel's own, which costs nothing. A process of another namespace that is not below
//! the agent's has no number there: it is 0, nobody, because the kernel's own number may be that of another process.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use tracer_common::settings::ABSENT;

use crate::{memory, offset, setting};

/// Namespaces that are deeper than that have no numbers here. The kernel allows 32 (`MAX_PID_NS_LEVEL`); a container in a
/// container is at depth 2.
const DEEPEST: u32 = 6;
/// `sizeof(struct upid)`: a number and, aligned, a pointer.
const UPID: u64 = 16;

/// Numbers of the process and of the thread that the current task is.
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

/// Number of the process that the current task belongs to.
#[inline(always)]
pub fn current_process() -> u32 {
    if setting!(pid_ns) == 0 {
        return (bpf_get_current_pid_tgid() >> 32) as u32;
    }
    // SAFETY: as above.
    number_in_pid_ns(unsafe { bpf_get_current_task() }, 1)
}

/// Number of the process that `task` belongs to.
#[inline(always)]
pub fn process(task: u64) -> u32 {
    if setting!(pid_ns) == 0 {
        return memory::read(task, offset!(task_tgid));
    }
    number_in_pid_ns(task, 1)
}

/// The number of `task`, or of its process, in the agent's namespace. A global function: the verifier goes through it
/// once for each program, and not once for each way that leads here; its branches multiply no ways behind it.
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

/// The number of the `struct pid` at `pid` in the namespace at this depth, if that is the agent's; 0 if there is none so
/// deep.
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
