//! `io_uring_complete(ctx, req, …)`: accept and connect that enter by no system call of their own.
//! Only attached where the functions themselves cannot be hooked.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_common::{
    audit::{Audited, Outcome},
    settings::ABSENT,
};

use crate::{
    audit, fd,
    identity::Site,
    lane::Lane,
    lifecycle::{accept_failed, accepted, connect_failed_by_address, is_shortage, waits_for_accept},
    memory, offset,
};

/// `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` of `include/uapi/linux/io_uring.h`.
const OP_ACCEPT: u8 = 13;
const OP_CONNECT: u8 = 16;

#[raw_tracepoint(tracepoint = "io_uring_complete")]
pub fn io_uring_complete__raw(ctx: RawTracePointContext) -> i32 {
    audit::settle(Audited::IoUring, &ctx, completed(&ctx));
    0
}

#[inline(always)]
fn completed(ctx: &RawTracePointContext) -> Outcome {
    let req: u64 = ctx.arg(1);
    let opcode: u8 = memory::read(req, offset!(io_opcode));
    // Each completion but the last of a request that goes on (multishot) names no request.
    if req != 0 && opcode != OP_ACCEPT && opcode != OP_CONNECT {
        return Outcome::Aside;
    }
    // 6.14 (commit 8cf0b459993e) hands over the completion entry, before that its fields; up to 5.18
    // there is a `user_data` before the result.
    let result: i32 =
        if offset!(io_complete_has_cqe) == 1 { memory::read(ctx.arg(2), offset!(io_cqe_res)) } else { ctx.arg(3) };
    if opcode == OP_CONNECT && req != 0 {
        return if result < 0 { connect_failed(req, -result) } else { Outcome::Aside };
    }
    if result >= 0 {
        // Of a completion without a request it may be a descriptor, or bytes, or anything: what counts is what stands
        // behind it.
        return match fd::socket(result as u32) {
            Some(socket) if req != 0 || waits_for_accept(socket.tcp()) => {
                accepted(socket.tcp(), Site::AcceptByIoUring, Lane::First)
            }
            _ => Outcome::Aside,
        };
    }
    if req != 0
        && is_shortage(-result)
        && let Some(socket) = fd::of_file(memory::read(req, offset!(io_file)))
    {
        return accept_failed(socket.tcp(), -result);
    }
    Outcome::Aside
}

#[inline(always)]
fn connect_failed(req: u64, errno: i32) -> Outcome {
    if offset!(io_connect_addr) == ABSENT {
        return Outcome::Aside;
    }
    // A request that got as far as EINPROGRESS has sent its SYN: the transitions tell the rest.
    if memory::read::<u8>(req, offset!(io_connect_in_progress)) == 0
        && let Some(socket) = fd::of_file(memory::read(req, offset!(io_file)))
    {
        return connect_failed_by_address(socket.tcp(), memory::read(req, offset!(io_connect_addr)), errno);
    }
    Outcome::Aside
}
