//! The current task, which opens a socket.

use aya_ebpf::helpers::{
    bpf_get_current_uid_gid,
    generated::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf,
        bpf_task_pt_regs,
    },
};
use tracer_common::{
    record::{Opener, UID_UNKNOWN},
    settings::ABSENT,
};

use crate::{memory, offset, pid_ns};

/// The current task. Reads plain members directly where the kernel has `bpf_get_current_task_btf`, else
/// by address.
#[derive(Clone, Copy)]
pub struct Current(*const u8);

impl Current {
    /// Returns the current task.
    #[inline(always)]
    pub fn get() -> Self {
        // SAFETY: no arguments; permitted in all program types used here. Where the kernel has no
        // `bpf_get_current_task_btf` the verifier never sees that branch.
        Self(unsafe {
            if offset!(task_btf) == 1 { bpf_get_current_task_btf().cast() } else { bpf_get_current_task() as *const u8 }
        })
    }

    /// Returns the number at `offset`. Not for pointers: for each pointer the verifier searches the names of
    /// all the kernel's types several times (`btf_nested_type_is_trusted`), which takes milliseconds.
    #[inline(always)]
    fn number<T: Copy>(self, offset: u32) -> T {
        if offset!(task_btf) != 1 || offset == ABSENT {
            return memory::read(self.0 as u64, offset);
        }
        // SAFETY: the verifier checks `offset` against `struct task_struct`.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast::<T>()) }
    }

    /// Returns the effective uid; [`UID_UNKNOWN`] where the offsets are absent.
    #[inline(always)]
    fn effective_uid(self) -> u32 {
        if offset!(task_cred) == ABSENT || offset!(cred_euid) == ABSENT {
            return UID_UNKNOWN;
        }
        memory::read(self.pointer(offset!(task_cred)), offset!(cred_euid))
    }

    /// Returns the pointer at `offset`.
    #[inline(always)]
    pub fn pointer(self, offset: u32) -> u64 {
        memory::read(self.0 as u64, offset)
    }
}

/// The arguments of the system call that the current task is in.
#[derive(Clone, Copy)]
pub struct UserRegisters(u64);

impl UserRegisters {
    /// Returns the registers of a native call; `None` where the kernel lacks the helper, and in a 32-bit call, which
    /// has its arguments elsewhere.
    #[inline(always)]
    pub fn native() -> Option<Self> {
        if offset!(task_pt_regs) != 1 || offset!(task_btf) != 1 || is_in_compat_call() {
            return None;
        }
        // SAFETY: the argument is a task. Where the kernel has no such helper the verifier never sees that branch.
        let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
        Some(Self(registers as u64))
    }

    /// Returns the first argument.
    #[inline(always)]
    pub fn first(self) -> u64 {
        memory::read(self.0, offset!(regs_first))
    }

    /// Returns the second argument.
    #[inline(always)]
    pub fn second(self) -> u64 {
        memory::read(self.0, offset!(regs_second))
    }
}

/// `TS_COMPAT` of `arch/x86/include/asm/thread_info.h`.
const TS_COMPAT: u32 = 2;

/// Whether the current task is in a 32-bit system call.
#[inline(always)]
pub fn is_in_compat_call() -> bool {
    offset!(thread_status) != ABSENT && Current::get().number::<u32>(offset!(thread_status)) & TS_COMPAT != 0
}

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The empty opener.
pub const NOBODY: Opener = Opener::NOBODY;

/// Returns the process id of the current task; 0 if the agent does not see its pid namespace.
#[inline(always)]
pub fn current_pid() -> u32 {
    pid_ns::current_process()
}

/// Returns the effective uid of the current task; [`UID_UNKNOWN`] where the offsets are absent.
#[inline(always)]
pub fn effective_uid() -> u32 {
    Current::get().effective_uid()
}

/// Returns the start of the process of `task`; 0 where the offset is absent.
#[inline(always)]
pub fn process_start_ns(task: u64) -> u64 {
    if offset!(task_start_boottime) == ABSENT {
        return 0;
    }
    let leader: u64 = memory::read(task, offset!(task_group_leader));
    memory::read(leader, offset!(task_start_boottime))
}

/// Fills in the current task; returns `false` if it is a kernel thread (no call from user space).
///
/// Call only in process context: in softirq the current task is the interrupted one. In place,
/// because the 512 bytes of stack have no room for a copy.
#[inline(always)]
pub fn fill(opener: &mut Opener) -> bool {
    let task = Current::get();
    if task.number::<u32>(offset!(task_flags)) & PF_KTHREAD != 0 {
        return false;
    }
    (opener.pid, opener.tid) = pid_ns::current();
    opener.uid = task.effective_uid();
    opener.real_uid = bpf_get_current_uid_gid() as u32;
    // SAFETY: no arguments; and sixteen writable bytes.
    unsafe {
        opener.cgroup_id = bpf_get_current_cgroup_id();
        bpf_get_current_comm((&raw mut opener.comm).cast(), 16);
    }
    if opener.pid == opener.tid {
        opener.start_ns = task.number(offset!(task_start_boottime));
        opener.process_comm = opener.comm;
    } else {
        let leader = task.pointer(offset!(task_group_leader));
        opener.start_ns = memory::read(leader, offset!(task_start_boottime));
        if offset!(task_comm) != ABSENT && leader != 0 {
            memory::read_into(&mut opener.process_comm, leader, offset!(task_comm));
        } else {
            opener.process_comm = [0; 16];
        }
    }
    true
}
