//! `tcp_v4_connect` and `tcp_v6_connect`, entry and return, and the functions that may forbid a
//! connect() before them; or the connect() system call.
//!
//! The transition to `SYN_SENT` shows a successful attempt; these hooks add the attempts that never
//! get there, and why.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};

use tracer_common::audit::{Audited, Outcome};

use crate::{
    audit, fd, filter,
    identity::Site,
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes,
    lifecycle::{UserAddress, called, connect_entered, connect_returned, user_address},
    sock::Raw,
    syscall,
};

/// match-proto: int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
#[inline(always)]
fn entered(sk: u64, addr: u64) {
    if Raw::tcp(sk).is_some() {
        connect_entered(sk, addr);
    }
}

/// Marks of a note: entry and return of one call have their arguments in the same place, but separate notes.
const ENTRY: u64 = 1;
const RETURN: u64 = 2;

#[fentry(function = "tcp_v4_connect")]
pub fn connect4__fentry(ctx: FEntryContext) -> i32 {
    entry(&ctx, Lane::First);
    0
}

lanes! {
    fentry(function = "tcp_v4_connect") FEntryContext => entry: connect4_entry__lane2 connect4_entry__lane3
}

#[fexit(function = "tcp_v4_connect")]
pub fn connect4__fexit(ctx: FExitContext) -> i32 {
    result4(&ctx, Lane::First);
    0
}

lanes! {
    fexit(function = "tcp_v4_connect") FExitContext => result4: connect4_return__lane2 connect4_return__lane3
}

#[fentry(function = "tcp_v6_connect")]
pub fn connect6__fentry(ctx: FEntryContext) -> i32 {
    entry(&ctx, Lane::First);
    0
}

lanes! {
    fentry(function = "tcp_v6_connect") FEntryContext => entry: connect6_entry__lane2 connect6_entry__lane3
}

#[fexit(function = "tcp_v6_connect")]
pub fn connect6__fexit(ctx: FExitContext) -> i32 {
    result6(&ctx, Lane::First);
    0
}

lanes! {
    fexit(function = "tcp_v6_connect") FExitContext => result6: connect6_return__lane2 connect6_return__lane3
}

#[inline(always)]
fn entry(ctx: &FEntryContext, lane: Lane) {
    let (sk, addr): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    if preempted::takes(address(ctx), Before::Lanes, Subject(sk as u64, ENTRY), lane) {
        entered(sk as u64, addr as u64);
    }
}

#[inline(always)]
fn result4(ctx: &FExitContext, lane: Lane) {
    result(ctx, Site::Connect4Failed, lane);
}

#[inline(always)]
fn result6(ctx: &FExitContext, lane: Lane) {
    result(ctx, Site::Connect6Failed, lane);
}

#[inline(always)]
fn result(ctx: &FExitContext, site: Site, lane: Lane) {
    let sk: *const u8 = ctx.arg(0);
    if preempted::takes(address(ctx), Before::Lanes, Subject(sk as u64, RETURN), lane) {
        connect_returned(ctx.arg(3), site, lane);
    }
}

#[kprobe(function = "tcp_v4_connect")]
pub fn connect4__kprobe(ctx: ProbeContext) -> u32 {
    entered(ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u64>(1).unwrap_or(0));
    0
}

#[kretprobe(function = "tcp_v4_connect")]
pub fn connect4__kretprobe(ctx: RetProbeContext) -> u32 {
    connect_returned(ctx.ret(), Site::Connect4Failed, Lane::First);
    0
}

#[kprobe(function = "tcp_v6_connect")]
pub fn connect6__kprobe(ctx: ProbeContext) -> u32 {
    entered(ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u64>(1).unwrap_or(0));
    0
}

#[kretprobe(function = "tcp_v6_connect")]
pub fn connect6__kretprobe(ctx: RetProbeContext) -> u32 {
    connect_returned(ctx.ret(), Site::Connect6Failed, Lane::First);
    0
}

/// match-proto: int tcp_v4_pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
///
/// A control group's BPF programs may forbid a connect() there, before `tcp_v4_connect`. The kernel
/// does not call it without such programs.
#[inline(always)]
fn forbidden(sk: u64, addr: u64, result: i32, site: Site) {
    if result != 0 {
        entered(sk, addr);
        connect_returned(result, site, Lane::First);
    }
}

#[fexit(function = "tcp_v4_pre_connect")]
pub fn pre_connect4__fexit(ctx: FExitContext) -> i32 {
    let (sk, addr): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    forbidden(sk as u64, addr as u64, ctx.arg(3), Site::Connect4Forbidden);
    0
}

#[fexit(function = "tcp_v6_pre_connect")]
pub fn pre_connect6__fexit(ctx: FExitContext) -> i32 {
    let (sk, addr): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    forbidden(sk as u64, addr as u64, ctx.arg(3), Site::Connect6Forbidden);
    0
}

#[kprobe(function = "tcp_v4_pre_connect")]
pub fn pre_connect4__kprobe(ctx: ProbeContext) -> u32 {
    entered(ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u64>(1).unwrap_or(0));
    0
}

#[kretprobe(function = "tcp_v4_pre_connect")]
pub fn pre_connect4__kretprobe(ctx: RetProbeContext) -> u32 {
    connect_returned(ctx.ret(), Site::Connect4Forbidden, Lane::First);
    0
}

#[kprobe(function = "tcp_v6_pre_connect")]
pub fn pre_connect6__kprobe(ctx: ProbeContext) -> u32 {
    entered(ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u64>(1).unwrap_or(0));
    0
}

#[kretprobe(function = "tcp_v6_pre_connect")]
pub fn pre_connect6__kretprobe(ctx: RetProbeContext) -> u32 {
    connect_returned(ctx.ret(), Site::Connect6Forbidden, Lane::First);
    0
}

/// `SS_UNCONNECTED`: a second connect() only asks for the progress of the first.
const SS_UNCONNECTED: u32 = 1;

tracepoint! { "tracepoint/syscalls/sys_enter_connect" connect__syscall_enter => syscall_enter }

#[inline(always)]
fn syscall_enter(ctx: &TracePointContext) {
    let Some((fd, addr)) = syscall::arguments(ctx) else { return };
    // Cheapest first: the process, then the family (a host connects many Unix sockets), then the socket.
    if !filter::process_passes() {
        return;
    }
    let given = match user_address(addr) {
        UserAddress::Internet(given) => given,
        UserAddress::Other => return,
        // The kernel will make it resident, or fail.
        UserAddress::Unread => [0; 7],
    };
    let Some(socket) = fd::socket(fd as u32) else { return };
    if socket.state() == SS_UNCONNECTED
        && let Some(sk) = socket.only_tcp()
    {
        called(sk, addr, given);
    }
}

tracepoint! { "tracepoint/syscalls/sys_exit_connect" connect__syscall_exit => syscall_exit }

#[inline(always)]
fn syscall_exit(ctx: &TracePointContext) {
    let outcome = match syscall::result(ctx) {
        // No other program sees a connect() return where this one is attached.
        Some(result) => connect_returned(result as i32, Site::Connect4Failed, Lane::First),
        None => Outcome::Aside,
    };
    audit::settle_classic(Audited::ConnectReturn, outcome);
}
