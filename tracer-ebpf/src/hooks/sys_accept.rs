//! `__sys_accept4(int fd, struct sockaddr *addr, int *addrlen, int flags)`, or the system calls: for accept() that lacks
//! descriptors or memory. Without a free descriptor the kernel does not even call `inet_csk_accept`. Hooked only at the
//! return, where any other result costs a comparison.
//!
//! Separate from the programs that see accepts: before 6.13 the stacks of both are too large for one program.

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};

use crate::{
    fd,
    lifecycle::{accept_failed, is_shortage},
    syscall,
    task::UserRegisters,
};

#[fexit(function = "__sys_accept4")]
pub fn accept_failed__fexit(ctx: FExitContext) -> i32 {
    let (fd, result): (i32, i32) = (ctx.arg(0), ctx.arg(4));
    if is_shortage(-result) {
        failed(fd as u32, -result);
    }
    0
}

#[kretprobe(function = "__sys_accept4")]
pub fn accept_failed__kretprobe(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret());
    0
}

tracepoint! { "tracepoint/syscalls/sys_exit_accept" accept_failed__syscall => on_exit }

/// Attached to the exit of accept4 as well.
#[inline(always)]
fn on_exit(ctx: &TracePointContext) {
    if let Some(result) = syscall::result(ctx) {
        returned(result as i32);
    }
}

#[inline(always)]
fn returned(result: i32) {
    if is_shortage(-result)
        && let Some(registers) = UserRegisters::native()
    {
        failed(registers.first() as u32, -result);
    }
}

#[inline(always)]
fn failed(fd: u32, errno: i32) {
    if let Some(socket) = fd::socket(fd) {
        accept_failed(socket.tcp(), errno);
    }
}
