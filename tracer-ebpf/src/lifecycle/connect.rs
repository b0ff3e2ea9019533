//! connect() from its entry to its return: only for the failures that no transition shows.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_probe_read_kernel, bpf_probe_read_user},
};
use tracer_common::record::{
    CONNECTING_ENTERED, CONNECTING_FAILED, Connecting, FLAG_CONNECT_FAILED, RecordKind, RecordRole, Tuple,
};

use super::{SYN_SENT, UNKNOWN, begin, close::send_close, send, set_opener};
use crate::{
    filter,
    identity::{self, Site},
    maps::{CONNECTING, SOCKETS, started},
    sock::{AF_INET, AF_INET6, Raw, Sock},
};

const AF_UNSPEC: u16 = 0;
const EINTR: i32 = 4;
const EISCONN: i32 = 106;
const EALREADY: i32 = 114;
const EINPROGRESS: i32 = 115;
/// `ERESTARTSYS` and its kin: the kernel's own, a signal came.
const ERESTART_FIRST: i32 = 512;
const ERESTART_LAST: i32 = 516;

/// The beginning of `struct sockaddr_in6`, which is also long enough for `struct sockaddr_in`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SockAddr {
    family: u16,
    port: u16,
    /// IPv4 address, or IPv6 flow label.
    word: u32,
    addr6: [u32; 4],
    scope: u32,
}

/// connect() on the TCP socket at `sk` begins in the current task; `addr` is its argument.
#[inline(always)]
pub fn connect_entered(sk: u64, addr: u64, addr_in_user_memory: bool) {
    let Some(tuple) = destination(sk, addr, addr_in_user_memory) else { return };
    let attempt = Connecting { sk, progress: CONNECTING_ENTERED, tuple };
    let _ = CONNECTING.insert(bpf_get_current_pid_tgid(), &attempt, 0);
}

#[inline(always)]
fn destination(sk: u64, addr: u64, addr_in_user_memory: bool) -> Option<Tuple> {
    let mut to = SockAddr { family: 0, port: 0, word: 0, addr6: [0; 4], scope: 0 };
    let size = size_of::<SockAddr>() as u32;
    // SAFETY: the helpers check the address; `to` is `size` writable bytes. An IPv4 address near the
    // end of its page may not be followed by 28 readable bytes: then only its own 16 are read.
    unsafe {
        let place = (&raw mut to).cast();
        let from = addr as *const core::ffi::c_void;
        let failed = if addr_in_user_memory {
            bpf_probe_read_user(place, size, from) != 0 && bpf_probe_read_user(place, 16, from) != 0
        } else {
            bpf_probe_read_kernel(place, size, from) != 0 && bpf_probe_read_kernel(place, 16, from) != 0
        };
        if failed {
            return None;
        }
    }
    // AF_UNSPEC disconnects.
    if to.family == AF_UNSPEC {
        return None;
    }
    let mut tuple = Raw(sk).tuple();
    tuple.lport = Raw(sk).bound_port();
    // What the socket was connected to before is not what it is connected to now; an address of
    // another family is none of the socket's.
    tuple.raddr = [0; 4];
    tuple.rport = 0;
    if to.family == AF_INET && tuple.family == 4 {
        tuple.raddr = [to.word, 0, 0, 0];
        tuple.rport = u16::from_be(to.port);
    } else if to.family == AF_INET6 && tuple.family == 6 {
        tuple.raddr = to.addr6;
        tuple.rport = u16::from_be(to.port);
        if to.scope != 0 {
            tuple.ifindex = to.scope;
        }
    }
    Some(tuple)
}

/// connect() returns `result` (0 or a negative errno) in the current task.
#[inline(always)]
pub fn connect_returned(result: i32) {
    let task = bpf_get_current_pid_tgid();
    let Some(attempt) = CONNECTING.get_ptr(task) else { return };
    // SAFETY: this task's own entry.
    let attempt = unsafe { *attempt };
    let _ = CONNECTING.remove(task);
    if attempt.progress == CONNECTING_FAILED {
        failed_after_start(&attempt, -result);
    } else if attempt.progress == CONNECTING_ENTERED && is_failure(-result) {
        connect_failed(attempt.sk, &attempt.tuple, -result);
    }
}

#[inline(always)]
fn is_failure(errno: i32) -> bool {
    errno > 0
        && !matches!(errno, EINTR | EISCONN | EALREADY | EINPROGRESS)
        && !(ERESTART_FIRST..=ERESTART_LAST).contains(&errno)
}

#[inline(always)]
fn failed_after_start(attempt: &Connecting, errno: i32) {
    let Some(known) = SOCKETS.get_ptr(attempt.sk) else { return };
    // SAFETY: a live map value; the socket belongs to this task, which is inside connect().
    let mut state = unsafe { *known };
    let _ = SOCKETS.remove(attempt.sk);
    state.flags |= FLAG_CONNECT_FAILED;
    send_close(Raw(attempt.sk), &state, &attempt.tuple, SYN_SENT, errno);
}

/// connect() on the socket at `sk` failed before the socket left `CLOSE`.
#[inline(always)]
pub fn connect_failed(sk: u64, tuple: &Tuple, errno: i32) {
    if !started() {
        return;
    }
    if !filter::process_passes() || !filter::socket_passes(RecordRole::Client, tuple) {
        crate::maps::count(tracer_common::counter::Counter::Filtered);
        return;
    }
    let mut state = UNKNOWN;
    begin(&mut state, Raw(sk), identity::next(Site::ConnectFailed), RecordRole::Client);
    state.flags |= FLAG_CONNECT_FAILED;
    set_opener(&mut state);
    send(RecordKind::ConnectFailed, &state, tuple, 0, 0, errno, 0);
}

/// As [`connect_failed`], for a destination still in the caller's memory.
#[inline(always)]
pub fn connect_failed_by_address(sk: u64, addr: u64, errno: i32) {
    if !is_failure(errno) || Raw::tcp(sk).is_none() {
        return;
    }
    if let Some(tuple) = destination(sk, addr, true) {
        connect_failed(sk, &tuple, errno);
    }
}
