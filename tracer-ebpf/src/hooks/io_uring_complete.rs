//! `io_uring_complete(ctx, req, …)`: accept and connect without a system call of their own. Only
//! attached if the functions themselves cannot be hooked.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_common::{
    audit::{Audited, Outcome},
    settings::ABSENT,
};

use crate::{
    audit, counting, fd,
    identity::Site,
    lane::Lane,
    lifecycle::{accept_failed, accepted, connect_failed_by_address, is_shortage, waits_for_accept},
    memory, offset,
};

/// `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` of `include/uapi/linux/io_uring.h`.
const OP_ACCEPT: u8 = 13;
const OP_CONNECT: u8 = 16;

counting! { audit_io_uring: "io_uring_complete" => IoUring }

/// Handles successful completions: accepts.
#[raw_tracepoint(tracepoint = "io_uring_complete")]
pub fn io_uring_complete__raw(ctx: RawTracePointContext) -> i32 {
    let result = result(&ctx);
    if result >= 0 {
        audit::settle(Audited::IoUring, &ctx, succeeded(&ctx, result));
    }
    0
}

/// Handles failed completions. A program of its own: before 6.13 a program's whole stack may take 512 bytes.
#[raw_tracepoint(tracepoint = "io_uring_complete")]
pub fn io_uring_failed__raw(ctx: RawTracePointContext) -> i32 {
    let result = result(&ctx);
    if result < 0 {
        audit::settle(Audited::IoUring, &ctx, failed(&ctx, -result));
    }
    0
}

#[inline(always)]
fn result(ctx: &RawTracePointContext) -> i32 {
    // 6.14 (commit 8cf0b459993e) passes the completion entry, earlier kernels its fields; up to 5.18
    // `user_data` precedes the result.
    if offset!(io_complete_has_cqe) == 1 { memory::read(ctx.arg(2), offset!(io_cqe_res)) } else { ctx.arg(3) }
}

#[inline(always)]
fn succeeded(ctx: &RawTracePointContext, result: i32) -> Outcome {
    let req: u64 = ctx.arg(1);
    // Only the last completion of a multishot request names its request.
    if req != 0 && memory::read::<u8>(req, offset!(io_opcode)) != OP_ACCEPT {
        return Outcome::Aside;
    }
    // Without a request, the result may be a descriptor, a number of bytes, or anything: the socket behind it
    // decides.
    match fd::socket(result as u32) {
        Some(socket) if req != 0 || waits_for_accept(socket.tcp()) => {
            accepted(socket.tcp(), Site::AcceptByIoUring, Lane::First)
        }
        _ => Outcome::Aside,
    }
}

#[inline(always)]
fn failed(ctx: &RawTracePointContext, errno: i32) -> Outcome {
    let req: u64 = ctx.arg(1);
    if req == 0 {
        return Outcome::Aside;
    }
    match memory::read::<u8>(req, offset!(io_opcode)) {
        OP_CONNECT => connect_failed(req, errno),
        OP_ACCEPT if is_shortage(errno) => match fd::of_file(memory::read(req, offset!(io_file))) {
            Some(socket) => accept_failed(socket.tcp(), errno),
            None => Outcome::Aside,
        },
        _ => Outcome::Aside,
    }
}

#[inline(always)]
fn connect_failed(req: u64, errno: i32) -> Outcome {
    if offset!(io_connect_addr) == ABSENT {
        return Outcome::Aside;
    }
    // A request that got as far as EINPROGRESS has sent its SYN: the transitions report the rest.
    if memory::read::<u8>(req, offset!(io_connect_in_progress)) == 0
        && let Some(socket) = fd::of_file(memory::read(req, offset!(io_file)))
    {
        return connect_failed_by_address(socket.tcp(), memory::read(req, offset!(io_connect_addr)), errno);
    }
    Outcome::Aside
}
