//! `sys_exit(struct pt_regs *regs, long ret)`: system calls of 32-bit programs, and by `int 0x80` of any, which pass the
//! tracepoints of no call by name (`perf_syscall_exit` leaves them out). Only attached where connect() or accept() is
//! hooked by those.
//!
//! It runs for every system call of the host: for all others it is one look at the current thread.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{
    fd,
    identity::Site,
    lane::Lane,
    lifecycle::{accept_failed, accepted, bind_returned_by, connect_failed_in_compat, is_shortage},
    memory, offset, task,
};

/// `arch/x86/entry/syscalls/syscall_32.tbl`.
const SOCKETCALL: u32 = 102;
const BIND: u32 = 361;
const CONNECT: u32 = 362;
const ACCEPT4: u32 = 364;
/// `include/uapi/linux/net.h`.
const SYS_BIND: u32 = 2;
const SYS_CONNECT: u32 = 3;
const SYS_ACCEPT: u32 = 5;
const SYS_ACCEPT4: u32 = 18;

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn compat__raw(ctx: RawTracePointContext) -> i32 {
    if task::is_in_compat_call() {
        returned(ctx.arg(0), ctx.arg::<u64>(1) as i32);
    }
    0
}

#[inline(always)]
fn returned(regs: u64, result: i32) {
    let mut call: u32 = memory::read(regs, offset!(regs_syscall));
    let (mut first, mut second): (u32, u32) =
        (memory::read(regs, offset!(regs_compat_first)), memory::read(regs, offset!(regs_compat_second)));
    if call == SOCKETCALL {
        // Which call it is; its arguments are in memory.
        call = match first {
            SYS_BIND => BIND,
            SYS_CONNECT => CONNECT,
            SYS_ACCEPT | SYS_ACCEPT4 => ACCEPT4,
            _ => return,
        };
        let mut arguments = [0_u32; 2];
        // SAFETY: the helper checks the address; eight writable bytes.
        if unsafe { bpf_probe_read_user((&raw mut arguments).cast(), 8, second as usize as *const _) } != 0 {
            return;
        }
        [first, second] = arguments;
    }
    match call {
        CONNECT if result < 0 => {
            if let Some(socket) = fd::socket(first) {
                connect_failed_in_compat(socket.tcp(), u64::from(second), -result);
            }
        }
        ACCEPT4 if result >= 0 => {
            if let Some(socket) = fd::socket(result as u32) {
                accepted(socket.tcp(), Site::Compat, Lane::First);
            }
        }
        ACCEPT4 if is_shortage(-result) => {
            if let Some(socket) = fd::socket(first) {
                accept_failed(socket.tcp(), -result);
            }
        }
        BIND => {
            bind_returned_by(first, u64::from(second), result, Site::Compat);
        }
        _ => {}
    }
}
