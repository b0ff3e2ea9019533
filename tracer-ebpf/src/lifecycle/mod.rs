//! The life of a socket, whichever hook reports it: the only code that writes lifecycle records.
//!
//! Most transitions need no record (the last state before `CLOSE` shows which side closed first), so
//! the common path is: open, established, close.

mod bind;
mod child;
mod close;
mod connect;
mod limits;
mod listen;
mod listener;
mod open;
mod shortage;
mod silence;
mod sockmap;
mod subflow;

use aya_ebpf::bindings::BPF_NOEXIST;
use tracer_common::{
    audit::Outcome,
    counter::Counter,
    record::{
        FLAG_FILTERED, FLAG_KERNEL, FLAG_MPTCP, FLAG_PREEXISTING, FLAG_UNDECIDED, FLAG_UNTRACKED, RecordKind,
        RecordRole, SocketRecord, SocketState, Tuple,
    },
    settings::WANT_STATES,
    tcp::TcpState,
};

pub use self::{
    bind::{bind_failed_in_compat, bind_returned},
    close::destroyed,
    connect::{
        UserAddress, called, connect_entered, connect_failed_by_address, connect_failed_in_compat, connect_returned,
        user_address,
    },
    listen::{listen_called, listen_returned},
    open::{accepted, waits_for_accept},
    shortage::{accept_failed, is_shortage},
    sockmap::{put_into_map, put_into_map_by_call},
};
use crate::{
    counter::count,
    emit,
    globals::wants,
    identity, info, memory, offset,
    sock::Sock,
    sockets::SOCKETS,
    task::{self, NOBODY},
};

const ESTABLISHED: u8 = TcpState::Established as u8;
const SYN_SENT: u8 = TcpState::SynSent as u8;
const SYN_RECV: u8 = TcpState::SynRecv as u8;
const CLOSE: u8 = TcpState::Close as u8;
const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
const LISTEN: u8 = TcpState::Listen as u8;

/// Handles `inet_sock_set_state` of a TCP socket.
#[inline(always)]
pub fn transition<S: Sock>(sock: S, old: u8, new: u8) -> Outcome {
    // A listener's child: the kernel fills in its addresses only before ESTABLISHED.
    if new == SYN_RECV && old == LISTEN {
        child::born(sock);
        return if SOCKETS.get_ptr(sock.address()).is_some() {
            close::end_of_predecessor(sock.address())
        } else {
            Outcome::Aside
        };
    }
    let states = wants(WANT_STATES);
    let opens = new == SYN_SENT || new == LISTEN;
    let mut outcome = Outcome::Aside;
    if states && !opens && !(new == ESTABLISHED && old == SYN_RECV) {
        outcome = state(sock, old, new);
    }
    outcome = outcome.and(match new {
        SYN_SENT | LISTEN => open::opened(sock, new),
        ESTABLISHED => open::established(sock, old),
        CLOSE => close::closed(sock, old),
        _ => Outcome::Aside,
    });
    if states && (opens || (new == ESTABLISHED && old == SYN_RECV)) {
        outcome = state(sock, old, new).and(outcome);
    }
    outcome
}

/// Handles `inet_sk_error_report` of a TCP socket.
#[inline(always)]
pub fn error<S: Sock>(sock: S) -> Outcome {
    let errno = sock.u32(offset!(sk_err)) as i32;
    if errno == 0 {
        return Outcome::Aside;
    }
    let Some(known) = SOCKETS.get_ptr(sock.address()) else { return Outcome::Aside };
    // SAFETY: a live map value; our caller holds the socket's lock.
    let known = unsafe { &*known };
    // Its close record already has the error.
    if known.closed != 0 {
        return Outcome::Aside;
    }
    send(RecordKind::Error, now(), known, &sock.tuple(), 0, 0, errno, 0)
}

#[inline(always)]
fn state<S: Sock>(sock: S, old: u8, new: u8) -> Outcome {
    let Some(known) = SOCKETS.get_ptr(sock.address()) else { return Outcome::Aside };
    // SAFETY: a live map value; our caller holds the socket's lock.
    let known = unsafe { &*known };
    send(RecordKind::State, now(), known, &sock.tuple(), old, new, 0, 0)
}

/// A tuple of which nothing is known.
const NO_TUPLE: Tuple =
    Tuple { laddr: [0; 4], raddr: [0; 4], lport: 0, rport: 0, family: 0, reserved: [0; 3], netns: 0, ifindex: 0 };

/// The state of a socket before anything is known of it.
const UNKNOWN: SocketState = SocketState {
    id: 0,
    started_ns: 0,
    established_ns: 0,
    opener: NOBODY,
    role: RecordRole::Unknown as u8,
    closed: 0,
    flags: 0,
    parent: 0,
};

/// Fills in the state of a socket seen for the first time. In place: the stack is small.
#[inline(always)]
fn begin<S: Sock>(state: &mut SocketState, sock: S, id: u64, role: RecordRole) {
    state.id = id;
    state.started_ns = now();
    state.role = role as u8;
    if sock.is_mptcp() {
        state.flags |= FLAG_MPTCP;
    }
}

/// Fills in the current task. Only in process context.
#[inline(always)]
fn set_opener(state: &mut SocketState) {
    if !task::fill(&mut state.opener) {
        state.flags |= FLAG_KERNEL;
    }
}

/// Remembers the `state` of a socket that begins; marks it if there is no room.
#[inline(always)]
fn remember(sk: u64, state: &mut SocketState) -> Outcome {
    if SOCKETS.insert(sk, &*state, u64::from(BPF_NOEXIST)).is_ok() {
        return Outcome::Aside;
    }
    let outcome = close::end_of_predecessor(sk);
    if SOCKETS.insert(sk, &*state, 0).is_err() {
        no_room(sk, state);
    }
    outcome
}

/// Remembers `state`. If another CPU inserted first, returns its entry and drops `state`.
///
/// A child is in its listener's queue before it is `ESTABLISHED`: accept() may return it on one CPU while
/// another is about to make the transition. Both find no entry; the second CPU must not overwrite the first.
#[inline(always)]
fn remember_first(sk: u64, state: &mut SocketState) -> Option<*mut SocketState> {
    if SOCKETS.insert(sk, &*state, u64::from(BPF_NOEXIST)).is_ok() {
        return None;
    }
    let first = SOCKETS.get_ptr_mut(sk);
    if first.is_none() {
        no_room(sk, state);
    }
    first
}

/// Marks a socket that the map has no room for, and counts it if it began during the trace.
#[inline(always)]
fn no_room(sk: u64, state: &mut SocketState) {
    state.id = identity::of_socket(sk);
    state.flags |= FLAG_UNTRACKED;
    if state.flags & FLAG_PREEXISTING == 0 {
        count(Counter::SocketsUntracked);
    }
    info!("no room for the socket at {:x}", identity::number(sk));
}

/// Remembers only that a filter keeps this socket out, so that its end does not pass for the end of a
/// connection older than the trace.
#[inline(always)]
fn leave_out(sk: u64, state: &mut SocketState) -> Outcome {
    state.flags |= FLAG_FILTERED;
    remember(sk, state).and(filtered())
}

/// Counts an event that a filter keeps out.
#[inline(always)]
fn filtered() -> Outcome {
    count(Counter::Filtered);
    Outcome::Filtered
}

/// Writes a [`SocketRecord`], unless a filter keeps it out or cannot be decided yet.
#[inline(always)]
fn send(
    kind: RecordKind,
    at: u64,
    state: &SocketState,
    tuple: &Tuple,
    old: u8,
    new: u8,
    errno: i32,
    detail: u64,
) -> Outcome {
    if state.flags & (FLAG_FILTERED | FLAG_UNDECIDED) != 0 {
        // The accept reports an undecided socket.
        return if state.flags & FLAG_FILTERED != 0 { filtered() } else { Outcome::Aside };
    }
    tell(kind, at, state, tuple, old, new, errno, detail)
}

/// Writes a [`SocketRecord`] of a socket that no filter keeps out. It does not branch on the flags: so the verifier can
/// merge paths that differ only in them.
#[inline(always)]
fn tell(
    kind: RecordKind,
    at: u64,
    state: &SocketState,
    tuple: &Tuple,
    old: u8,
    new: u8,
    errno: i32,
    detail: u64,
) -> Outcome {
    let place = emit::reserve::<SocketRecord>(Counter::LostLifecycle);
    if place.is_null() {
        return Outcome::Lost;
    }
    // SAFETY: reserved and not null; every byte is written.
    unsafe {
        write(place, kind, at, state, tuple, old, new, errno, detail);
        emit::submit(place, Counter::SentLifecycle);
    }
    Outcome::Told
}

/// Writes a whole record, field by field: built as one value it would pass through the stack, which
/// has 512 bytes.
///
/// # Safety
/// `place` is valid for writes.
#[inline(always)]
unsafe fn write(
    place: *mut SocketRecord,
    kind: RecordKind,
    at: u64,
    state: &SocketState,
    tuple: &Tuple,
    old: u8,
    new: u8,
    errno: i32,
    detail: u64,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        (&raw mut (*place).header).write(emit::header(kind, at));
        (&raw mut (*place).state).write(*state);
        (&raw mut (*place).tuple).write(*tuple);
        (&raw mut (*place).old).write(old);
        (&raw mut (*place).new).write(new);
        (&raw mut (*place).reserved).write([0; 2]);
        (&raw mut (*place).errno).write(errno);
        (&raw mut (*place).detail).write(detail);
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments; permitted everywhere.
    unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns() }
}

/// Returns the inode of the socket's file; 0 if it has none (not accepted yet, or orphaned by close()).
#[inline(always)]
fn inode<S: Sock>(sock: S) -> u64 {
    let socket = sock.u64(offset!(sk_socket));
    memory::read(socket, offset!(socket_inode))
}
