//! `struct sk_psock *sk_psock_init(struct sock *sk, int node)`, or bpf() that puts a socket into a map: TCP's byte
//! counters do not see payload that programs move between such sockets.
//!
//! The kernel calls the function with the socket locked when a socket enters its first map, also from sock_ops
//! programs, which the system call does not show. At a socket's close no trace of it is left (`sock_map_close` comes
//! before TCP).

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext, TracePointContext},
};

use crate::{
    lifecycle::{put_into_map, put_into_map_by_call},
    syscall,
    task::UserRegisters,
};

/// `BPF_MAP_UPDATE_ELEM` of `include/uapi/linux/bpf.h`.
const BPF_MAP_UPDATE_ELEM: u32 = 2;

#[fentry(function = "sk_psock_init")]
pub fn psock__fentry(ctx: FEntryContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    put_into_map(sk as u64);
    0
}

#[kprobe(function = "sk_psock_init")]
pub fn psock__kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg::<*const u8>(0) {
        put_into_map(sk as u64);
    }
    0
}

tracepoint! { "tracepoint/syscalls/sys_exit_bpf" psock__syscall => on_exit }

#[inline(always)]
fn on_exit(ctx: &TracePointContext) {
    if syscall::result(ctx) == Some(0)
        && let Some(registers) = UserRegisters::native()
        && registers.first() as u32 == BPF_MAP_UPDATE_ELEM
    {
        put_into_map_by_call(registers.second());
    }
}
