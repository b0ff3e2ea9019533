//! Results and arguments from the classic tracepoints of system calls.
//!
//! The tracepoint's `format` file gives the offset of a field. On the context itself the verifier allows only an offset
//! that the instruction contains, and a helper takes longer than all the rest of most of these programs. So a program
//! loads a field at its usual offset directly, and reads a moved field with the helper. One of the two is dead code to
//! the verifier.

use aya_ebpf::{EbpfContext as _, programs::TracePointContext};

use crate::offset;

/// The usual offset: behind the `struct trace_entry` and the call's number (`include/trace/syscall.h`).
const USUAL: usize = 16;

/// Returns the call's result.
#[inline(always)]
pub fn result(ctx: &TracePointContext) -> Option<i64> {
    if offset!(sys_exit_ret) as usize == USUAL {
        return Some(load::<USUAL, i64>(ctx));
    }
    // SAFETY: the offset comes from the tracepoint's `format` file.
    unsafe { ctx.read_at(offset!(sys_exit_ret) as usize) }.ok()
}

/// Returns the first two arguments of the call. Each takes eight bytes.
#[inline(always)]
pub fn arguments(ctx: &TracePointContext) -> Option<(u64, u64)> {
    let at = offset!(sys_enter_args) as usize;
    if at == USUAL {
        return Some((load::<USUAL, u64>(ctx), load::<{ USUAL + 8 }, u64>(ctx)));
    }
    // SAFETY: as above.
    unsafe { Some((ctx.read_at(at).ok()?, ctx.read_at(at + 8).ok()?)) }
}

#[inline(always)]
fn load<const AT: usize, T: Copy>(ctx: &TracePointContext) -> T {
    // SAFETY: the verifier checks it against the size of the tracepoint's record; `T` is an integer.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u8>().add(AT).cast::<T>()) }
}
