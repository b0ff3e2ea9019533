//! `sys_exit(struct pt_regs *regs, long ret)`: system calls of 32-bit programs, and `int 0x80` calls of any program.
//! The tracepoints of single calls do not show them (`perf_syscall_exit` leaves them out). Only attached if those
//! tracepoints hook connect() or accept().
//!
//! It runs for every system call of the host. Other calls cost one look at the number of the call, or, where that takes
//! longer, at the current thread; but the kernel's way to the program costs every call 60 to 100 ns. So the agent
//! attaches it once there is a 32-bit program: [`COMPAT`], and `iterators/task_size.rs` for those older than the trace.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user,
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::Array,
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::{audit::Outcome, settings::ABSENT};

use crate::{
    fd,
    identity::Site,
    lane::Lane,
    lifecycle::{accept_failed, accepted, bind_failed_in_compat, connect_failed_in_compat, is_shortage},
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

/// 1 once a 32-bit program has started.
#[map]
pub static COMPAT: Array<u32> = Array::with_max_entries(1, 0);

/// Whether a process with this `struct mm_struct` runs a 32-bit program: all its addresses are below 4 GiB.
#[inline(always)]
pub fn is_32_bit(mm: u64) -> bool {
    let end: u64 = memory::read(mm, offset!(mm_task_size));
    end != 0 && end <= 1 << 32
}

/// Notes a program that the current task starts, with its memory.
#[inline(always)]
pub fn note_program(mm: u64) {
    if offset!(mm_task_size) != ABSENT
        && is_32_bit(mm)
        && let Some(seen) = COMPAT.get_ptr_mut(0)
    {
        // SAFETY: a live array slot; every writer writes the same.
        unsafe { core::ptr::write_volatile(seen, 1) };
    }
}

#[btf_tracepoint(function = "sys_exit")]
pub fn compat__btf(ctx: BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    // SAFETY: the first argument is a `struct pt_regs *`, and the verifier checks the offset against the type.
    let call = unsafe { core::ptr::read_volatile(regs.add(offset!(regs_syscall) as usize).cast::<u64>()) } as u32;
    // Only one 64-bit call has any of these numbers: getuid().
    if matches!(call, SOCKETCALL | BIND | CONNECT | ACCEPT4) {
        returned(regs as u64, ctx.arg(1));
    }
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn compat__raw(ctx: RawTracePointContext) -> i32 {
    returned(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn returned(regs: u64, result: u64) {
    if task::is_in_compat_call() {
        let result = result as i32;
        if result >= 0 {
            succeeded(regs, result);
        } else {
            failed(regs, -result);
        }
    }
}

/// A function of its own, like [`failed`]: before 6.13 the stacks of both are too large for one function.
#[inline(never)]
fn succeeded(regs: u64, result: i32) -> Outcome {
    if let Some((ACCEPT4, _)) = call(regs)
        && let Some(socket) = fd::socket(result as u32)
    {
        return accepted(socket.tcp(), Site::Compat, Lane::First);
    }
    Outcome::Aside
}

#[inline(never)]
fn failed(regs: u64, errno: i32) -> Outcome {
    let Some((call, [first, second])) = call(regs) else { return Outcome::Aside };
    if call != CONNECT && call != BIND && !(call == ACCEPT4 && is_shortage(errno)) {
        return Outcome::Aside;
    }
    match (call, socket(first)) {
        (_, 0) => Outcome::Aside,
        (CONNECT, sk) => connect_failed_in_compat(sk, u64::from(second), errno),
        (BIND, sk) => bind_failed_in_compat(sk, u64::from(second), errno),
        (_, sk) => accept_failed(sk, errno),
    }
}

/// Returns the `struct sock` behind a descriptor; 0 if there is none. Not inlined, so that it frees its stack before
/// the caller needs more.
#[inline(never)]
fn socket(fd: u32) -> u64 {
    fd::socket(fd).map_or(0, |socket| socket.tcp())
}

/// Returns the number of the call and its first two arguments.
#[inline(always)]
fn call(regs: u64) -> Option<(u32, [u32; 2])> {
    let call: u32 = memory::read(regs, offset!(regs_syscall));
    let (first, second): (u32, u32) =
        (memory::read(regs, offset!(regs_compat_first)), memory::read(regs, offset!(regs_compat_second)));
    if call != SOCKETCALL {
        return Some((call, [first, second]));
    }
    let call = match first {
        SYS_BIND => BIND,
        SYS_CONNECT => CONNECT,
        SYS_ACCEPT | SYS_ACCEPT4 => ACCEPT4,
        _ => return None,
    };
    // socketcall() has its arguments in memory.
    let mut arguments = [0_u32; 2];
    // SAFETY: the helper checks the address; eight writable bytes.
    if unsafe { bpf_probe_read_user((&raw mut arguments).cast(), 8, second as usize as *const _) } != 0 {
        return None;
    }
    Some((call, arguments))
}
