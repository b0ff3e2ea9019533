//! `sched_process_fork`, `sched_process_exec`, `sched_process_exit`: the process set of `-f`, and
//! the program of each process, even of one that lives only a few milliseconds.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel_str, bpf_probe_read_user},
    helpers::{bpf_get_current_comm, bpf_get_current_uid_gid},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use tracer_common::{
    audit::{Audited, Outcome},
    counter::Counter,
    record::{EXEC_ARGS, EXEC_PATH, ExecRecord, ExitRecord, ForkRecord, RecordKind},
    settings::{ABSENT, FILTER_FOLLOW, FILTER_PID, WANT_PROCESSES},
};

use crate::{
    audit, counting, emit,
    filter::PIDS,
    globals::{filters, wants},
    hooks::compat,
    lane::{
        Lane,
        preempted::{self, Before, Subject, address},
    },
    lanes, memory, offset, pid_ns, task,
};

counting! { audit_fork: "sched_process_fork" => Fork }
counting! { audit_exit: "sched_process_exit" => Exit }
counting! { audit_exec: "sched_process_exec" => Exec }

/// sched_process_fork(struct task_struct *parent, struct task_struct *child)
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn fork__raw(ctx: RawTracePointContext) -> i32 {
    fork_in(&ctx, Lane::First);
    0
}

lanes! {
    raw_tracepoint(tracepoint = "sched_process_fork") RawTracePointContext => fork_in: fork__lane2 fork__lane3
}

#[inline(always)]
fn fork_in(ctx: &RawTracePointContext, lane: Lane) {
    if preempted::takes(address(ctx), Before::Nothing, Subject(ctx.arg(1), ctx.arg(0)), lane) {
        audit::settle_in(lane, Audited::Fork, ctx, fork(ctx));
    }
}

#[inline(always)]
fn fork(ctx: &RawTracePointContext) -> Outcome {
    let child: u64 = ctx.arg(1);
    if memory::read::<u32>(child, offset!(task_tgid)) != memory::read::<u32>(child, offset!(task_pid)) {
        return Outcome::Aside; // a thread
    }
    let parent: u64 = ctx.arg(0);
    let (pid, parent_pid) = (pid_ns::process(child), pid_ns::process(parent));
    if pid == 0 {
        return Outcome::Aside;
    }
    if filters(FILTER_PID) {
        if PIDS.get_ptr(parent_pid).is_none() {
            return Outcome::Filtered;
        }
        if filters(FILTER_FOLLOW) {
            let _ = PIDS.insert(pid, 1u8, 0);
        }
    }
    if !wants(WANT_PROCESSES) {
        return Outcome::Aside;
    }
    let place = emit::reserve::<ForkRecord>(Counter::LostProcess);
    if place.is_null() {
        return Outcome::Lost;
    }
    let record = ForkRecord {
        header: emit::header(RecordKind::Fork, now()),
        parent_pid,
        pid,
        parent_start_ns: task::process_start_ns(parent),
        start_ns: task::process_start_ns(child),
    };
    // SAFETY: reserved and not null; written whole.
    unsafe {
        place.write(record);
        emit::submit(place, Counter::SentProcess);
    }
    Outcome::Told
}

/// sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn exec__raw(ctx: RawTracePointContext) -> i32 {
    exec_in(&ctx, Lane::First);
    0
}

lanes! {
    raw_tracepoint(tracepoint = "sched_process_exec") RawTracePointContext => exec_in: exec__lane2 exec__lane3
}

#[inline(always)]
fn exec_in(ctx: &RawTracePointContext, lane: Lane) {
    if preempted::takes(address(ctx), Before::Nothing, Subject(ctx.arg(0), ctx.arg(2)), lane) {
        audit::settle_in(lane, Audited::Exec, ctx, exec(ctx));
    }
}

#[inline(always)]
fn exec(ctx: &RawTracePointContext) -> Outcome {
    // SAFETY: no arguments; permitted here.
    let current = unsafe { bpf_get_current_task() };
    let mm: u64 = memory::read(current, offset!(task_mm));
    compat::note_program(mm);
    let pid = task::current_pid();
    if !wants(WANT_PROCESSES) || pid == 0 {
        return Outcome::Aside;
    }
    if filters(FILTER_PID) && PIDS.get_ptr(pid).is_none() {
        return Outcome::Filtered;
    }
    let place = emit::reserve::<ExecRecord>(Counter::LostProcess);
    if place.is_null() {
        return Outcome::Lost;
    }
    let args: u64 = memory::read(mm, offset!(mm_arg_start));
    let end: u64 = memory::read(mm, offset!(mm_arg_end));
    let filename: u64 = memory::read(ctx.arg(2), offset!(binprm_filename));
    // SAFETY: reserved and not null. The program writes the arrays up to their lengths; the agent
    // reads no further.
    unsafe {
        (&raw mut (*place).header).write(emit::header(RecordKind::Exec, now()));
        (*place).pid = pid;
        (*place).uid = task::effective_uid();
        (*place).real_uid = bpf_get_current_uid_gid() as u32;
        (*place).reserved = 0;
        (*place).start_ns = task::process_start_ns(current);
        (*place).comm = bpf_get_current_comm().unwrap_or_default();
        let length = bpf_probe_read_kernel_str((&raw mut (*place).path).cast(), EXEC_PATH as u32, filename as *const _);
        // The helper counts the trailing zero.
        (*place).path_len = if length > 0 { length as u32 - 1 } else { 0 };
        let mut length = if args != 0 && end > args { end - args } else { 0 };
        if length > EXEC_ARGS as u64 {
            length = EXEC_ARGS as u64;
        }
        let failed = bpf_probe_read_user((&raw mut (*place).args).cast(), length as u32, args as *const _) != 0;
        (*place).args_len = if failed { 0 } else { length as u32 };
        emit::submit(place, Counter::SentProcess);
    }
    Outcome::Told
}

/// sched_process_exit(struct task_struct *p): for every thread; the process ends with the last one.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn exit__raw(ctx: RawTracePointContext) -> i32 {
    exit_in(&ctx, Lane::First);
    0
}

lanes! {
    raw_tracepoint(tracepoint = "sched_process_exit") RawTracePointContext => exit_in: exit__lane2 exit__lane3
}

#[inline(always)]
fn exit_in(ctx: &RawTracePointContext, lane: Lane) {
    if preempted::takes(address(ctx), Before::Nothing, Subject(ctx.arg(0), 0), lane) {
        audit::settle_in(lane, Audited::Exit, ctx, exit(ctx));
    }
}

#[inline(always)]
fn exit(ctx: &RawTracePointContext) -> Outcome {
    let exiting: u64 = ctx.arg(0);
    if offset!(signal_live) == ABSENT {
        return Outcome::Aside;
    }
    let signal: u64 = memory::read(exiting, offset!(task_signal));
    // do_exit() counts `live` down before it traces.
    if memory::read::<i32>(signal, offset!(signal_live)) != 0 {
        return Outcome::Aside;
    }
    let pid = task::current_pid();
    if pid == 0 {
        return Outcome::Aside;
    }
    if filters(FILTER_PID) && PIDS.remove(pid).is_err() {
        return Outcome::Filtered;
    }
    if !wants(WANT_PROCESSES) {
        return Outcome::Aside;
    }
    let place = emit::reserve::<ExitRecord>(Counter::LostProcess);
    if place.is_null() {
        return Outcome::Lost;
    }
    let header = emit::header(RecordKind::Exit, now());
    // SAFETY: reserved and not null; written whole.
    unsafe {
        place.write(ExitRecord { header, pid, reserved: 0, start_ns: task::process_start_ns(exiting) });
        emit::submit(place, Counter::SentProcess);
    }
    Outcome::Told
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments; permitted everywhere.
    unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns() }
}
