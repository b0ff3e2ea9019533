//! The beginning: connect, listen, the end of the handshake, accept.

use tracer_common::{
    record::{
        BACKLOG_UNKNOWN, CONNECTING_STARTED, FLAG_ACCEPTED, FLAG_ESTABLISHED_HELD, FLAG_FILTERED, FLAG_PREEXISTING,
        FLAG_UNDECIDED, FLAG_UNTRACKED, RecordKind, RecordRole,
    },
    settings::{ABSENT, FILTERS_OF_PROCESS, WANT_ACCEPT},
};

use super::{
    CLOSE, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT, UNKNOWN, begin, inode, leave_out, now, remember, send, set_opener,
};
use crate::{
    debug, filter,
    globals::{filters, wants},
    identity::{self, Site},
    maps::{CONNECTING, SOCKETS, started},
    offset,
    sock::{Raw, Sock},
};

/// `CLOSE → SYN_SENT`: in the context of the task that connects; the destination is set, the source
/// port only where one was bound.
#[inline(always)]
pub fn connecting<S: Sock>(sock: S) {
    if let Some(attempt) = CONNECTING.get_ptr_mut(aya_ebpf::helpers::bpf_get_current_pid_tgid()) {
        // SAFETY: this task's own entry.
        unsafe { (*attempt).progress = CONNECTING_STARTED };
    }
    let mut state = UNKNOWN;
    if !filter::process_passes() {
        leave_out(sock.address(), &mut state);
        return;
    }
    begin(&mut state, sock, identity::next(Site::Connect), RecordRole::Client);
    let mut tuple = sock.tuple();
    tuple.lport = sock.bound_port();
    if !filter::socket_passes(RecordRole::Client, &tuple) {
        leave_out(sock.address(), &mut state);
        return;
    }
    set_opener(&mut state);
    remember(sock.address(), &mut state);
    send(RecordKind::Connect, state.started_ns, &state, &tuple, CLOSE, SYN_SENT, 0, 0);
}

/// `CLOSE → LISTEN`: in the context of the task that listens.
#[inline(always)]
pub fn listening<S: Sock>(sock: S) {
    let mut state = UNKNOWN;
    begin(&mut state, sock, identity::next(Site::Listen), RecordRole::Listener);
    let tuple = sock.tuple();
    if !filter::process_passes() || !filter::socket_passes(RecordRole::Listener, &tuple) {
        leave_out(sock.address(), &mut state);
        return;
    }
    set_opener(&mut state);
    remember(sock.address(), &mut state);
    let backlog = if offset!(sk_max_ack_backlog) == ABSENT {
        BACKLOG_UNKNOWN
    } else {
        u64::from(sock.u32(offset!(sk_max_ack_backlog)))
    };
    send(RecordKind::Listen, state.started_ns, &state, &tuple, CLOSE, LISTEN, 0, backlog);
}

/// `→ ESTABLISHED`: mostly in softirq, so the current task says nothing.
#[inline(always)]
pub fn established<S: Sock>(sock: S, old: u8) {
    if let Some(known) = SOCKETS.get_ptr_mut(sock.address()) {
        // SAFETY: a live map value; the socket is locked by our caller.
        let known = unsafe { &mut *known };
        known.established_ns = now();
        let state = *known;
        send(RecordKind::Established, state.established_ns, &state, &sock.tuple(), old, ESTABLISHED, 0, 0);
        return;
    }
    let child = old == SYN_RECV;
    let role = if child { RecordRole::Server } else { RecordRole::Client };
    let id = if child { identity::next(Site::Established) } else { identity::of_socket(sock.address()) };
    let mut state = UNKNOWN;
    begin(&mut state, sock, id, role);
    state.established_ns = state.started_ns;
    if !child {
        // Its SYN left before the trace began.
        state.flags |= FLAG_PREEXISTING;
    }
    let tuple = sock.tuple();
    if !filter::socket_passes(role, &tuple) {
        leave_out(sock.address(), &mut state);
        return;
    }
    if child && filters(FILTERS_OF_PROCESS) && wants(WANT_ACCEPT) {
        // Whose connection it is will be known when somebody accepts it.
        state.flags |= FLAG_UNDECIDED | FLAG_ESTABLISHED_HELD;
        debug!("whose the socket at {:x} is will be known at accept()", identity::number(sock.address()));
    }
    remember(sock.address(), &mut state);
    if state.flags & FLAG_UNTRACKED != 0 {
        // accept() will not find it: the agent has to decide.
        state.flags &= !(FLAG_UNDECIDED | FLAG_ESTABLISHED_HELD);
    }
    let detail = if child { 0 } else { inode(sock) };
    send(RecordKind::Established, state.established_ns, &state, &tuple, old, ESTABLISHED, 0, detail);
}

/// accept() is about to hand the socket at `sk` to the current task.
#[inline(always)]
pub fn accepted(sk: u64) {
    if !started() {
        return;
    }
    let known = SOCKETS.get_ptr_mut(sk);
    // What is followed is a TCP socket.
    let sock = Raw(sk);
    if known.is_none() && Raw::tcp(sk).is_none() {
        return;
    }
    let mut state = UNKNOWN;
    if let Some(known) = known {
        // SAFETY: a live map value; of the fields that accept() writes, nobody else writes any.
        let known = unsafe { &mut *known };
        if known.closed == 0 && !filter::process_passes() {
            known.flags |= FLAG_FILTERED;
            return;
        }
        state = *known;
    } else {
        // Its close has been told already.
        if sock.u8(offset!(skc_state)) == CLOSE {
            return;
        }
        // Established before the trace, or a child that is accepted with its first data still in
        // SYN_RECV (TCP Fast Open).
        begin(&mut state, sock, identity::of_socket(sk), RecordRole::Server);
        if sock.u8(offset!(skc_state)) == SYN_RECV {
            state.id = identity::next(Site::Accept);
        } else {
            state.flags |= FLAG_PREEXISTING;
        }
    }
    if state.flags & (FLAG_FILTERED | FLAG_ACCEPTED) != 0 {
        return;
    }
    let tuple = sock.tuple();
    let closed = state.closed != 0;
    let passes = filter::process_passes() && (known.is_some() || filter::socket_passes(RecordRole::Server, &tuple));
    // A closed one was recorded already, undecided: the agent decides with the owner in hand.
    if !passes && !closed {
        state.flags |= FLAG_FILTERED;
    }
    state.flags = (state.flags | FLAG_ACCEPTED) & !FLAG_UNDECIDED;
    set_opener(&mut state);
    match known {
        Some(_) if closed => _ = SOCKETS.remove(sk),
        Some(known) => {
            // SAFETY: as above.
            unsafe {
                (*known).opener = state.opener;
                (*known).flags = state.flags;
            }
        }
        None => remember(sk, &mut state),
    }
    let detail = if state.flags & FLAG_PREEXISTING != 0 { inode(sock) } else { 0 };
    send(RecordKind::Accept, now(), &state, &tuple, 0, 0, 0, detail);
}
