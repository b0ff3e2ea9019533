//! `__sys_bind(int fd, struct sockaddr __user *umyaddr, int addrlen)`, or the system call: for bind() that fails.
//! Hooked only at the return, where a success costs a comparison.

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};

use crate::{lifecycle::bind_returned, syscall, task::UserRegisters};

#[fexit(function = "__sys_bind")]
pub fn bind__fexit(ctx: FExitContext) -> i32 {
    let (fd, addr): (i32, *const u8) = (ctx.arg(0), ctx.arg(1));
    bind_returned(fd as u32, addr as u64, ctx.arg(3));
    0
}

#[kretprobe(function = "__sys_bind")]
pub fn bind__kretprobe(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret());
    0
}

tracepoint! { "tracepoint/syscalls/sys_exit_bind" bind__syscall => on_exit }

#[inline(always)]
fn on_exit(ctx: &TracePointContext) {
    if let Some(result) = syscall::result(ctx) {
        returned(result as i32);
    }
}

#[inline(always)]
fn returned(result: i32) {
    if result < 0
        && let Some(registers) = UserRegisters::native()
    {
        bind_returned(registers.first() as u32, registers.second(), result);
    }
}
