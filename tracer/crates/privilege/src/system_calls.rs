//! The system calls of each duty. The filter refuses all others with ENOSYS, which a C library that tries a
//! new call expects of an old kernel. It kills nothing for a call that the lists forgot.
//!
//! The lists leave out clone3() and openat2() because a filter cannot read their structures: the C library
//! falls back on clone() and openat().

use std::{collections::BTreeMap, env::consts::ARCH};

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The work of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Drains the rings and emits events; passes signals on to the command of `tracer run`, if there is one.
    Agent {
        /// The command's process id.
        command: Option<u32>,
    },
    /// Reads the state at the beginning of the trace: like [`Duty::Namespaces`], and with BPF iterators.
    Beginning,
    /// Reads /proc, and the tables of namespaces that it enters.
    Namespaces,
    /// Like [`Duty::Namespaces`], and names the attached BPF programs.
    Tables,
    /// Reads /proc.
    Looking,
    /// Writes the output to an open file.
    Output,
}

/// Calls of every duty: memory, threads, time, signals, and files that are already open.
const EVERY: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pwrite64,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    // A signal handler runs in any thread, and wakes the loop through its socket.
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls for reading files.
const READING: &[c_long] = &[
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    // Shows whether a thread has its own table of descriptors.
    libc::SYS_kcmp,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statfs,
    libc::SYS_statx,
];

/// Calls of the loop.
const LOOP: &[c_long] = &[
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_recvfrom,
    // For the end of the command of `tracer run`.
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Calls for entering a namespace and for netlink.
const ENTERING: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_setns,
    libc::SYS_setsockopt,
];

/// The same calls under older names, which other machines lack.
#[cfg(target_arch = "x86_64")]
mod older {
    use libc::c_long;

    pub const EVERY: &[c_long] = &[libc::SYS_getpgrp, libc::SYS_poll, libc::SYS_time];
    pub const READING: &[c_long] =
        &[libc::SYS_access, libc::SYS_dup2, libc::SYS_getdents, libc::SYS_lstat, libc::SYS_readlink, libc::SYS_stat];
    pub const LOOP: &[c_long] = &[libc::SYS_epoll_create, libc::SYS_epoll_wait];
}
#[cfg(not(target_arch = "x86_64"))]
mod older {
    use libc::c_long;

    pub const EVERY: &[c_long] = &[];
    pub const READING: &[c_long] = &[];
    pub const LOOP: &[c_long] = &[];
}

/// Commands of bpf() that work on open objects (`enum bpf_cmd` of `include/uapi/linux/bpf.h`). None of them loads a
/// program; one attaches a program that is loaded (`kernel/compat.rs`).
const LOOP_COMMANDS: [u32; 10] = {
    const MAP_LOOKUP_ELEM: u32 = 1;
    const MAP_UPDATE_ELEM: u32 = 2;
    const MAP_DELETE_ELEM: u32 = 3;
    const MAP_GET_NEXT_KEY: u32 = 4;
    const OBJ_GET_INFO_BY_FD: u32 = 15;
    const RAW_TRACEPOINT_OPEN: u32 = 17;
    const MAP_LOOKUP_AND_DELETE_ELEM: u32 = 21;
    const MAP_LOOKUP_BATCH: u32 = 24;
    const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
    const MAP_UPDATE_BATCH: u32 = 26;
    [
        MAP_LOOKUP_ELEM,
        MAP_UPDATE_ELEM,
        MAP_DELETE_ELEM,
        MAP_GET_NEXT_KEY,
        MAP_LOOKUP_AND_DELETE_ELEM,
        MAP_LOOKUP_BATCH,
        MAP_LOOKUP_AND_DELETE_BATCH,
        MAP_UPDATE_BATCH,
        OBJ_GET_INFO_BY_FD,
        RAW_TRACEPOINT_OPEN,
    ]
};

/// Commands of bpf() that name the programs of others. None of them loads or attaches.
const PROGRAM_COMMANDS: [u32; 3] = {
    const PROG_GET_FD_BY_ID: u32 = 13;
    const OBJ_GET_INFO_BY_FD: u32 = 15;
    const PROG_QUERY: u32 = 16;
    [PROG_QUERY, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD]
};

/// `_IO('$', 1)` of `include/uapi/linux/perf_event.h`: detaches a tracepoint.
const PERF_EVENT_IOC_DISABLE: u32 = 0x2401;
/// `struct termios2`: newer C libraries query a terminal with it.
const TCGETS2: u32 = 0x802c_542a;
/// `include/uapi/linux/prctl.h`: newer C libraries name their memory with it.
const PR_SET_VMA: u32 = 0x5356_4d41;

/// Requests to a terminal, a namespace, a probe.
#[expect(clippy::cast_possible_truncation, reason = "requests have 32 bits; the C library's type is wider")]
const REQUESTS: [u32; 8] = [
    libc::TCGETS as u32,
    TCGETS2,
    libc::TIOCGWINSZ as u32,
    libc::TIOCGPGRP as u32,
    libc::FIONBIO as u32,
    libc::FIOCLEX as u32,
    libc::NS_GET_NSTYPE as u32,
    PERF_EVENT_IOC_DISABLE,
];

/// Builds the filter of a duty.
///
/// # Errors
/// If seccompiler does not support this machine.
pub fn program(duty: Duty) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let filter = SeccompFilter::new(rules(duty)?, refused, SeccompAction::Allow, ARCH.try_into()?)?;
    filter.try_into()
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn rules(duty: Duty) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let mut allow = |calls: &[c_long]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    allow(EVERY);
    allow(older::EVERY);
    if duty != Duty::Output {
        allow(READING);
        allow(older::READING);
    }
    match duty {
        Duty::Agent { .. } => {
            allow(LOOP);
            allow(older::LOOP);
        }
        Duty::Beginning => {
            allow(ENTERING);
            allow(&[libc::SYS_bpf]);
        }
        Duty::Namespaces | Duty::Tables => allow(ENTERING),
        Duty::Looking | Duty::Output => {}
    }

    // All executable memory exists since the start.
    let no_code = || bits(2, libc::PROT_EXEC, 0);
    rules.insert(libc::SYS_mmap, vec![no_code()?]);
    rules.insert(libc::SYS_mprotect, vec![no_code()?]);
    let own = std::process::id();
    // abort()
    rules.insert(libc::SYS_tgkill, vec![is(0, own)?]);
    rules.insert(libc::SYS_prctl, one_of(0, [libc::PR_SET_NAME.cast_unsigned(), PR_SET_VMA])?);
    let get_limit = SeccompRule::new(vec![SeccompCondition::new(2, Qword, SeccompCmpOp::Eq, 0)?])?;
    rules.insert(libc::SYS_prlimit64, vec![get_limit]);
    rules.insert(
        libc::SYS_fcntl,
        one_of(
            1,
            [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL]
                .map(c_int::cast_unsigned),
        )?,
    );
    rules.insert(libc::SYS_ioctl, one_of(1, REQUESTS)?);
    if duty == Duty::Output {
        return Ok(rules);
    }

    // Allows threads, not processes, and only in the same namespaces.
    let thread = libc::CLONE_THREAD | libc::CLONE_VM;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    rules.insert(libc::SYS_clone, vec![bits(0, thread | namespaces, thread)?]);
    let to_write = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    rules.insert(libc::SYS_openat, vec![bits(2, to_write, libc::O_RDONLY)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![bits(1, to_write, libc::O_RDONLY)?]);
    match duty {
        Duty::Agent { command } => {
            rules.insert(libc::SYS_bpf, one_of(0, LOOP_COMMANDS)?);
            rules.insert(libc::SYS_membarrier, vec![is(0, libc::MEMBARRIER_CMD_GLOBAL.cast_unsigned())?]);
            if let Some(pid) = command {
                rules.insert(libc::SYS_kill, vec![is(0, pid)?]);
            }
        }
        Duty::Beginning | Duty::Namespaces | Duty::Tables => {
            rules.insert(libc::SYS_socket, vec![is(0, libc::AF_NETLINK.cast_unsigned())?]);
            if duty == Duty::Tables {
                rules.insert(libc::SYS_bpf, one_of(0, PROGRAM_COMMANDS)?);
            }
        }
        Duty::Looking | Duty::Output => {}
    }
    Ok(rules)
}

/// Matches if argument `index` is `value`.
fn is(index: u8, value: u32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, Dword, SeccompCmpOp::Eq, value.into())?])
}

/// Matches if argument `index`, masked with `mask`, is `value`.
fn bits(index: u8, mask: c_int, value: c_int) -> Result<SeccompRule, BackendError> {
    let masked = SeccompCmpOp::MaskedEq(mask.cast_unsigned().into());
    SeccompRule::new(vec![SeccompCondition::new(index, Dword, masked, value.cast_unsigned().into())?])
}

fn one_of<const N: usize>(index: u8, values: [u32; N]) -> Result<Vec<SeccompRule>, BackendError> {
    values.into_iter().map(|value| is(index, value)).collect()
}
