//! connect() from its entry to its return: only for the failures that no transition shows.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user},
    macros::map,
    maps::HashMap,
};
use tracer_common::{
    audit::Outcome,
    counter::Counter,
    record::{CONNECTING_ENTERED, CONNECTING_FAILED, Connecting, FLAG_CALL_FAILED, RecordKind, RecordRole, Tuple},
};

use super::{NO_TUPLE, SYN_SENT, UNKNOWN, begin, close::send_close, filtered, send, set_opener};
use crate::{
    audit,
    counter::count,
    filter,
    identity::{self, Site},
    lane::Lane,
    memory, offset,
    sock::{AF_INET, AF_INET6, Raw, Sock},
    sockets::SOCKETS,
    started::started,
};

/// connect() and listen() calls in progress, by `pid_tgid`.
#[map]
pub static CONNECTING: HashMap<u64, Connecting> = HashMap::with_max_entries(1 << 14, BPF_F_NO_PREALLOC);

const EINTR: i32 = 4;
const EISCONN: i32 = 106;
const ECONNRESET: i32 = 104;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;
const EALREADY: i32 = 114;
const EINPROGRESS: i32 = 115;
/// `ERESTARTSYS` and its kin: the kernel's own errnos, a signal interrupted the call.
const ERESTART_FIRST: i32 = 512;
const ERESTART_LAST: i32 = 516;

/// The beginning of `struct sockaddr_in6`, also long enough for `struct sockaddr_in`.
type SockAddr = [u32; 7];

/// Notes that connect() on the TCP socket at `sk` begins in the current task; `addr` is its argument,
/// in the kernel's memory.
#[inline(always)]
pub fn connect_entered(sk: u64, addr: u64) {
    if filter::process_passes() {
        enter(sk, memory::read(addr, 0));
    }
}

#[inline(always)]
fn enter(sk: u64, addr: SockAddr) {
    note(&Connecting { sk, progress: CONNECTING_ENTERED, place: 0, addr, reserved: 0, tuple: NO_TUPLE });
}

/// Notes a call of connect() on the TCP socket at `sk`; `addr` is the address at `place` in the caller's memory, zeros
/// if that memory is not resident yet.
#[inline(always)]
pub fn called(sk: u64, place: u64, addr: SockAddr) {
    note(&Connecting { sk, progress: CONNECTING_ENTERED, place, addr, reserved: 0, tuple: NO_TUPLE });
}

#[inline(always)]
pub(super) fn note(attempt: &Connecting) {
    if CONNECTING.insert(bpf_get_current_pid_tgid(), attempt, 0).is_err() {
        count(Counter::CallsUnnoted);
        audit::connect_unnoted();
    }
}

/// The content of an address in the caller's memory.
#[derive(Clone, Copy)]
pub enum UserAddress {
    /// An address to connect to.
    Internet(SockAddr),
    /// An address of another family.
    Other,
    /// Unreadable: not resident yet, or not mapped.
    Unread,
}

/// Reads the address at `addr` in the caller's memory.
#[inline(always)]
pub fn user_address(addr: u64) -> UserAddress {
    let mut to: SockAddr = [0; 7];
    let from = addr as *const core::ffi::c_void;
    // SAFETY: the helper checks the address; `to` is 28 writable bytes. An IPv4 address near the end
    // of its page may not be followed by 28 readable bytes: then only its own 16 are read.
    unsafe {
        let place = (&raw mut to).cast();
        if bpf_probe_read_user(place, 28, from) != 0 && bpf_probe_read_user(place, 16, from) != 0 {
            return UserAddress::Unread;
        }
    }
    let family = family_of(&to);
    if family == AF_INET || family == AF_INET6 { UserAddress::Internet(to) } else { UserAddress::Other }
}

/// Reads the address again at the return of connect(). The kernel reads it between entry and return: an address that is
/// the same at both is certain. If the two differ or it is unreadable, clears it.
#[inline(always)]
fn given(attempt: &mut Connecting) {
    if attempt.place == 0 {
        return;
    }
    let unread = family_of(&attempt.addr) == 0;
    match user_address(attempt.place) {
        UserAddress::Internet(now) if unread || same(&attempt.addr, &now) => attempt.addr = now,
        _ => attempt.addr = [0; 7],
    }
}

/// Compares two addresses as far as their family reaches: the memory behind may hold anything.
#[inline(always)]
fn same(a: &SockAddr, b: &SockAddr) -> bool {
    a[0] == b[0]
        && (family_of(a) == AF_INET && a[1] == b[1]
            || a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5] && a[6] == b[6])
}

#[inline(always)]
fn family_of(addr: &SockAddr) -> u16 {
    addr[0].to_ne_bytes().first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

/// Returns the tuple that the socket at `sk` would have if connected to `addr`.
#[inline(always)]
pub(super) fn destination(sk: u64, addr: &SockAddr) -> Tuple {
    let mut tuple = Raw(sk).tuple();
    tuple.lport = Raw(sk).bound_port();
    // Clears the remote end of an earlier connection; an address of another family cannot be the
    // socket's.
    tuple.raddr = [0; 4];
    tuple.rport = 0;
    let [_, _, p, q] = addr[0].to_ne_bytes();
    let port = u16::from_be_bytes([p, q]);
    let family = family_of(addr);
    if family == AF_INET && tuple.family == 4 {
        tuple.raddr = [addr[1], 0, 0, 0];
        tuple.rport = port;
    } else if family == AF_INET6 && tuple.family == 6 {
        tuple.raddr = [addr[2], addr[3], addr[4], addr[5]];
        tuple.rport = port;
        if addr[6] != 0 {
            tuple.ifindex = addr[6];
        }
    }
    tuple
}

/// Handles the return of connect() with `result` (0 or a negative errno) in the current task, seen by `site`.
#[inline(always)]
pub fn connect_returned(result: i32, site: Site, lane: Lane) -> Outcome {
    let task = bpf_get_current_pid_tgid();
    let Some(attempt) = CONNECTING.get_ptr(task) else { return Outcome::Aside };
    // SAFETY: this task's own entry.
    let mut attempt = unsafe { *attempt };
    if attempt.progress != CONNECTING_ENTERED && attempt.progress != CONNECTING_FAILED {
        return Outcome::Aside;
    }
    let _ = CONNECTING.remove(task);
    if attempt.progress == CONNECTING_FAILED {
        failed_after_start(&attempt, -result)
    } else if is_failure(-result) {
        given(&mut attempt);
        connect_failed(attempt.sk, &destination(attempt.sk, &attempt.addr), -result, site, lane)
    } else {
        Outcome::Aside
    }
}

#[inline(always)]
fn is_failure(errno: i32) -> bool {
    errno > 0
        && !matches!(errno, EINTR | EISCONN | EALREADY | EINPROGRESS)
        && !(ERESTART_FIRST..=ERESTART_LAST).contains(&errno)
}

#[inline(always)]
fn failed_after_start(attempt: &Connecting, errno: i32) -> Outcome {
    let Some(known) = SOCKETS.get_ptr(attempt.sk) else { return Outcome::Aside };
    // SAFETY: a live map value; the socket belongs to this task, which is inside connect().
    let mut state = unsafe { *known };
    let _ = SOCKETS.remove(attempt.sk);
    state.flags |= FLAG_CALL_FAILED;
    send_close(Raw(attempt.sk), &state, &attempt.tuple, SYN_SENT, errno)
}

/// Reports a connect() on the socket at `sk` that failed before the socket left `CLOSE`.
#[inline(always)]
fn connect_failed(sk: u64, tuple: &Tuple, errno: i32, site: Site, lane: Lane) -> Outcome {
    if !started() {
        return Outcome::Aside;
    }
    if !filter::process_passes() || !filter::socket_passes(RecordRole::Client, tuple) {
        return filtered();
    }
    let mut state = UNKNOWN;
    begin(&mut state, Raw(sk), identity::next(site, lane), RecordRole::Client);
    state.flags |= FLAG_CALL_FAILED;
    set_opener(&mut state);
    send(RecordKind::ConnectFailed, state.started_ns, &state, tuple, 0, 0, errno, 0)
}

/// Reports a failed connect() whose destination is still in the caller's memory, or the close of its
/// socket if that had left `CLOSE` and is back there.
#[inline(always)]
pub fn connect_failed_by_address(sk: u64, addr: u64, errno: i32) -> Outcome {
    by_address(sk, addr, errno, Site::ConnectByIoUringFailed)
}

/// Does the same for a 32-bit system call, which may have waited for the network's answer.
#[inline(always)]
pub fn connect_failed_in_compat(sk: u64, addr: u64, errno: i32) -> Outcome {
    // A socket's first attempt draws a first sequence number once it has a port, and leaves it behind. A socket with
    // such a number has either reported the network's answer by its transitions, or this is a further attempt of an old
    // socket, and nothing shows whether it has left `CLOSE`.
    if SOCKETS.get_ptr(sk).is_none() && Raw(sk).u32(offset!(write_seq)) != 0 {
        if errno != ECONNREFUSED && errno != ETIMEDOUT && errno != ECONNRESET && is_failure(errno) {
            count(Counter::CallsUnnoted);
        }
        return Outcome::Aside;
    }
    by_address(sk, addr, errno, Site::Compat)
}

/// See [`super::accept_failed`].
#[inline(never)]
fn by_address(sk: u64, addr: u64, errno: i32, site: Site) -> Outcome {
    if !is_failure(errno) || Raw::tcp(sk).is_none() {
        return Outcome::Aside;
    }
    if let Some(known) = SOCKETS.get_ptr_mut(sk) {
        // SAFETY: a live map value; the request holds the socket.
        let known = unsafe { &mut *known };
        if known.closed == 0 || known.role != RecordRole::Client as u8 {
            return Outcome::Aside;
        }
        // In place: the stack has no room for a copy. The `Connect` record has the tuple.
        known.flags |= FLAG_CALL_FAILED;
        let outcome = send_close(Raw(sk), known, &NO_TUPLE, SYN_SENT, errno);
        let _ = SOCKETS.remove(sk);
        return outcome;
    }
    match user_address(addr) {
        UserAddress::Internet(addr) => connect_failed(sk, &destination(sk, &addr), errno, site, Lane::First),
        _ => Outcome::Aside,
    }
}
