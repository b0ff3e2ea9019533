//! The beginning: connect, listen, the end of the handshake, accept.

use tracer_common::{
    audit::Outcome,
    record::{
        BACKLOG_UNKNOWN, FLAG_ACCEPTED, FLAG_CONNECT_TRACED, FLAG_ESTABLISHED_HELD, FLAG_FILTERED, FLAG_PREEXISTING,
        FLAG_UNDECIDED, FLAG_UNTRACKED, RecordKind, RecordRole,
    },
    settings::{ABSENT, FILTERS_OF_PROCESS, WANT_ACCEPT, WANT_CONNECT_EXIT},
};

use super::connect::CONNECTING;
use super::{
    CLOSE, CLOSE_WAIT, ESTABLISHED, SYN_RECV, SYN_SENT, UNKNOWN, begin, child, filtered, inode, leave_out, listener,
    now, remember, remember_first, send, set_opener, subflow, tell,
};
use crate::{
    debug, filter,
    globals::{filters, wants},
    identity::{self, Site},
    lane::Lane,
    offset,
    sock::{Raw, Sock},
    sockets::SOCKETS,
    started::started,
};

/// Handles `CLOSE → SYN_SENT` and `CLOSE → LISTEN`, in the context of the task that connects or listens.
/// A client has its destination by now, but a source port only if it bound one.
#[inline(always)]
pub fn opened<S: Sock>(sock: S, new: u8) -> Outcome {
    let connects = new == SYN_SENT;
    let mut state = UNKNOWN;
    let joined = if connects { subflow::join(sock, &mut state) } else { None };
    // A filtered process has left no note of its connect() either. The opener of a further subflow is not its owner.
    if state.flags & FLAG_FILTERED != 0 || joined.is_none() && !filter::process_passes() {
        return leave_out(sock.address(), &mut state);
    }
    let (kind, role, site) = if connects {
        (RecordKind::Connect, RecordRole::Client, Site::Connect)
    } else {
        (RecordKind::Listen, RecordRole::Listener, Site::Listen)
    };
    let mut tuple = sock.tuple();
    if connects {
        tuple.lport = sock.bound_port();
    }
    begin(&mut state, sock, identity::next(site, sock.lane()), role);
    // From here on the socket's flag replaces the note: the call may wait for an answer as long as the caller likes,
    // and notes of such calls would take the room of others.
    if connects && wants(WANT_CONNECT_EXIT) && CONNECTING.remove(aya_ebpf::helpers::bpf_get_current_pid_tgid()).is_ok()
    {
        state.flags |= FLAG_CONNECT_TRACED;
    }
    if !filter::socket_passes(role, &tuple) {
        return leave_out(sock.address(), &mut state);
    }
    if joined.is_none() {
        set_opener(&mut state);
        // A client keeps `sk_err_soft` of an earlier connection: the kernel does not clear it (tcp_disconnect).
        state.parent = if connects { sock.u32(offset!(sk_err_soft)) } else { inode(sock) as u32 };
        if !connects {
            state.flags |= listener::flags(sock);
        }
    }
    let outcome = remember(sock.address(), &mut state);
    let detail = if connects {
        joined.unwrap_or(0)
    } else if offset!(sk_max_ack_backlog) == ABSENT {
        BACKLOG_UNKNOWN
    } else {
        u64::from(sock.u32(offset!(sk_max_ack_backlog)))
    };
    outcome.and(tell(kind, state.started_ns, &state, &tuple, CLOSE, new, 0, detail))
}

/// Handles the transition to `ESTABLISHED`, mostly in softirq, so the current task means nothing.
#[inline(always)]
pub fn established<S: Sock>(sock: S, old: u8) -> Outcome {
    let known = SOCKETS.get_ptr_mut(sock.address());
    let mut state = UNKNOWN;
    if let Some(known) = known {
        // SAFETY: a live map value; our caller holds the socket's lock.
        let known = unsafe { &mut *known };
        if known.flags & FLAG_FILTERED != 0 {
            return filtered();
        }
        known.established_ns = now();
        state = *known;
    }
    let mut detail = 0;
    if known.is_none() {
        let is_child = old == SYN_RECV;
        let role = if is_child { RecordRole::Server } else { RecordRole::Client };
        let id =
            if is_child { identity::next(Site::Established, sock.lane()) } else { identity::of_socket(sock.address()) };
        begin(&mut state, sock, id, role);
        state.established_ns = state.started_ns;
        let mut joined = false;
        if is_child {
            state.parent = child::listener(sock.address());
            if let Some(first) = subflow::join(sock, &mut state) {
                joined = true;
                detail = first;
            }
        } else {
            // Its SYN left before the trace began.
            state.flags |= FLAG_PREEXISTING;
            detail = inode(sock);
        }
        if state.flags & FLAG_FILTERED != 0 || filter::judges_sockets() && !filter::socket_passes(role, &sock.tuple()) {
            return leave_out(sock.address(), &mut state);
        }
        if is_child && !joined && filters(FILTERS_OF_PROCESS) && wants(WANT_ACCEPT) {
            // Its owner is known only at accept().
            state.flags |= FLAG_UNDECIDED | FLAG_ESTABLISHED_HELD;
            debug!("whose the socket at {:x} is will be known at accept()", identity::number(sock.address()));
        }
        if let Some(first) = remember_first(sock.address(), &mut state) {
            // SAFETY: a live map value; of the fields that this writes, accept() writes none.
            let first = unsafe { &mut *first };
            if first.flags & FLAG_FILTERED != 0 {
                return filtered();
            }
            first.established_ns = state.established_ns;
            first.parent = state.parent;
            state = *first;
        }
        if state.flags & FLAG_UNTRACKED != 0 {
            // accept() will not find it: the agent has to decide.
            state.flags &= !(FLAG_UNDECIDED | FLAG_ESTABLISHED_HELD);
        }
    }
    // The accept reports it, if at all: with a process filter, most of the host's connections come here.
    if state.flags & FLAG_UNDECIDED != 0 {
        return Outcome::Aside;
    }
    tell(RecordKind::Established, state.established_ns, &state, &sock.tuple(), old, ESTABLISHED, 0, detail)
}

/// Whether the socket at `sk` is a listener's child without a known accept(). If a task has a descriptor of such a
/// socket, it accepted the socket in a way that no hook shows.
#[inline(always)]
pub fn waits_for_accept(sk: u64) -> bool {
    match SOCKETS.get_ptr(sk) {
        // SAFETY: a live map value.
        Some(known) => unsafe { (*known).role == RecordRole::Server as u8 && (*known).flags & FLAG_ACCEPTED == 0 },
        None => false,
    }
}

/// Handles an accept(), seen by `site`, that is about to hand the socket at `sk` to the current task.
#[inline(always)]
pub fn accepted(sk: u64, site: Site, lane: Lane) -> Outcome {
    if !started() {
        return Outcome::Aside;
    }
    let known = SOCKETS.get_ptr_mut(sk);
    // A socket in the table is a TCP socket.
    let sock = Raw(sk);
    if known.is_none() && Raw::tcp(sk).is_none() {
        return Outcome::Aside;
    }
    let mut state = UNKNOWN;
    let process_passes = filter::process_passes();
    if let Some(known) = known {
        // SAFETY: a live map value; only accept() writes the fields that it writes.
        let known = unsafe { &mut *known };
        // accept() returns a listener's child, once. But a seccomp supervisor may make it return any descriptor.
        if known.flags & FLAG_FILTERED == 0
            && (known.role != RecordRole::Server as u8 || known.flags & FLAG_ACCEPTED != 0)
        {
            return Outcome::Aside;
        }
        if known.closed == 0 && !process_passes {
            known.flags |= FLAG_FILTERED;
            return Outcome::Filtered;
        }
        state = *known;
    } else {
        // Its close record is out already, or the socket is no fresh child of a listener.
        let now = sock.u8(offset!(skc_state));
        if offset!(skc_state) != ABSENT && now != ESTABLISHED && now != CLOSE_WAIT && now != SYN_RECV {
            return Outcome::Aside;
        }
        // Established before the trace, or a child accepted with its first data while still in
        // SYN_RECV (TCP Fast Open).
        begin(&mut state, sock, identity::of_socket(sk), RecordRole::Server);
        if now == SYN_RECV {
            state.id = identity::next(site, lane);
        } else {
            state.flags |= FLAG_PREEXISTING;
        }
    }
    if state.flags & (FLAG_FILTERED | FLAG_ACCEPTED) != 0 {
        return if state.flags & FLAG_FILTERED != 0 { Outcome::Filtered } else { Outcome::Aside };
    }
    let tuple = sock.tuple();
    let closed = state.closed != 0;
    let passes = process_passes && (known.is_some() || filter::socket_passes(RecordRole::Server, &tuple));
    // A closed socket has its record already, undecided: the agent decides once it has the owner.
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
        None => {
            if let Some(first) = remember_first(sk, &mut state) {
                // SAFETY: as above.
                let first = unsafe { &mut *first };
                first.opener = state.opener;
                first.flags = (first.flags | FLAG_ACCEPTED | state.flags & FLAG_FILTERED) & !FLAG_UNDECIDED;
                state = *first;
            }
        }
    }
    let detail = if state.flags & FLAG_PREEXISTING != 0 { inode(sock) } else { 0 };
    send(RecordKind::Accept, now(), &state, &tuple, 0, 0, 0, detail)
}
