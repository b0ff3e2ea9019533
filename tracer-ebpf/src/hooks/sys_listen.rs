//! `__sys_listen(int fd, int backlog)`, or the system call. listen() has failed if its socket falls from `LISTEN` back
//! to `CLOSE` inside it, and the return says why.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};

use crate::{
    lifecycle::{listen_called, listen_returned},
    syscall,
};

#[fentry(function = "__sys_listen")]
pub fn listen__fentry(ctx: FEntryContext) -> i32 {
    let fd: i32 = ctx.arg(0);
    listen_called(fd as u32);
    0
}

#[fexit(function = "__sys_listen")]
pub fn listen__fexit(ctx: FExitContext) -> i32 {
    listen_returned(ctx.arg(2));
    0
}

#[kprobe(function = "__sys_listen")]
pub fn listen__kprobe(ctx: ProbeContext) -> u32 {
    if let Some(fd) = ctx.arg::<u32>(0) {
        listen_called(fd);
    }
    0
}

#[kretprobe(function = "__sys_listen")]
pub fn listen__kretprobe(ctx: RetProbeContext) -> u32 {
    listen_returned(ctx.ret());
    0
}

tracepoint! { "tracepoint/syscalls/sys_enter_listen" listen__syscall_enter => on_enter }

#[inline(always)]
fn on_enter(ctx: &TracePointContext) {
    if let Some((fd, _)) = syscall::arguments(ctx) {
        listen_called(fd as u32);
    }
}

tracepoint! { "tracepoint/syscalls/sys_exit_listen" listen__syscall_exit => on_exit }

#[inline(always)]
fn on_exit(ctx: &TracePointContext) {
    if let Some(result) = syscall::result(ctx) {
        listen_returned(result as i32);
    }
}
