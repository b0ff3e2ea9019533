//! The end of a socket.

use tracer_common::{
    audit::Outcome,
    counter::Counter,
    record::{
        CONNECTING_FAILED, COUNTERS_FIN_RECEIVED, COUNTERS_HAS_SOCKET, COUNTERS_KNOWN, COUNTERS_NO_ERRNO,
        COUNTERS_REPAIR, COUNTERS_SOCKET_KNOWN, CloseRecord, Connecting, FLAG_ACCEPTED, FLAG_CALL_FAILED,
        FLAG_CONNECT_TRACED, FLAG_FILTERED, FLAG_JOINED, FLAG_PREEXISTING, FLAG_RECOVERED, RecordKind, RecordRole,
        SocketState, TcpCounters, Tuple,
    },
    settings::{ABSENT, WANT_ACCEPT, WANT_CONNECT_EXIT},
};

use super::{
    CLOSE, LISTEN, NO_TUPLE, SYN_RECV, SYN_SENT, UNKNOWN, begin, connect::note, filtered, inode, limits::limits,
    listen::fails_inside_listen, now, send, silence, write,
};
use crate::{
    counter::count, emit, filter, globals::wants, identity, info, memory, offset, sock::Sock, sockets::SOCKETS,
};

/// Handles the transition to `CLOSE`.
#[inline(always)]
pub fn closed<S: Sock>(sock: S, old: u8) -> Outcome {
    // `tcp_abort` closes a listener a second time, after its end has been reported.
    if old == CLOSE {
        return Outcome::Aside;
    }
    let sk = sock.address();
    let known = SOCKETS.get_ptr_mut(sk);
    let mut state = UNKNOWN;
    let mut waits = false;
    if let Some(known) = known {
        // SAFETY: a live map value; our caller holds the socket's lock.
        let known = unsafe { &mut *known };
        if known.flags & FLAG_FILTERED != 0 {
            let _ = SOCKETS.remove(sk);
            return filtered();
        }
        if old == SYN_SENT && (fails_inside_connect(sock, known) || fails_in_a_ring(sock)) {
            known.closed = 1;
            return Outcome::Aside;
        }
        if old == LISTEN && fails_inside_listen(sock) {
            known.closed = 1;
            return Outcome::Aside;
        }
        // Reset before accept(): accept() may still hand it out, and then names its owner.
        waits = wants(WANT_ACCEPT)
            && known.role == RecordRole::Server as u8
            && known.flags & (FLAG_ACCEPTED | FLAG_JOINED) == 0;
        state = *known;
        if waits {
            known.closed = 1;
        }
    }
    let tuple = sock.tuple();
    if known.is_none()
        && let Some(outcome) = is_not_older(sock, old, &tuple, &mut state)
    {
        return outcome;
    }
    let outcome = send_close(sock, &state, &tuple, old, sock.u32(offset!(sk_err)) as i32);
    if known.is_some() && !waits {
        let _ = SOCKETS.remove(sk);
    }
    outcome
}

/// `SS_UNCONNECTED`: connect() makes it `SS_CONNECTING` only when `tcp_v4_connect` has returned.
const SS_UNCONNECTED: u32 = 1;

/// Whether a socket falls back from `SYN_SENT` without an error from the network, while its own task is
/// inside connect(): the return of connect() then reports the close with its errno.
#[inline(always)]
fn fails_inside_connect<S: Sock>(sock: S, known: &SocketState) -> bool {
    if !wants(WANT_CONNECT_EXIT) || known.flags & FLAG_CONNECT_TRACED == 0 || sock.u32(offset!(sk_err)) != 0 {
        return false;
    }
    let socket = sock.u64(offset!(sk_socket));
    if memory::read::<u32>(socket, offset!(socket_state)) != SS_UNCONNECTED {
        return false;
    }
    // The current task, which is inside `tcp_v4_connect`, holds the socket's lock.
    note(&Connecting {
        sk: sock.address(),
        progress: CONNECTING_FAILED,
        place: 0,
        addr: [0; 7],
        reserved: 0,
        tuple: sock.tuple(),
    });
    true
}

/// Whether a socket falls back from `SYN_SENT` before it has a port or a first sequence number, and outside
/// a traced connect(): `io_uring_complete` then reports why, or else its destruction ends it.
#[inline(always)]
fn fails_in_a_ring<S: Sock>(sock: S) -> bool {
    let no_port = offset!(inet_sport) != ABSENT && sock.lport() == 0;
    let no_sequence = offset!(write_seq) != ABSENT && sock.u32(offset!(write_seq)) == 0;
    offset!(sk_err) != ABSENT && sock.u32(offset!(sk_err)) == 0 && (no_port || no_sequence)
}

/// Fills `state` for a socket that is not in the table: it is older than the trace, or the table was
/// full. `Some` if its end needs no record.
#[inline(always)]
fn is_not_older<S: Sock>(sock: S, old: u8, tuple: &Tuple, state: &mut SocketState) -> Option<Outcome> {
    // A child that never finished its handshake is no connection.
    if old == SYN_RECV {
        return Some(Outcome::Aside);
    }
    let role = match old {
        LISTEN => RecordRole::Listener,
        SYN_SENT => RecordRole::Client,
        _ => RecordRole::Unknown,
    };
    if role != RecordRole::Unknown && !filter::socket_passes(role, tuple) {
        return Some(filtered());
    }
    begin(state, sock, identity::of_socket(sock.address()), role);
    state.flags |= FLAG_PREEXISTING;
    None
}

/// Handles `tcp_destroy_sock`, the last moment of every TCP socket.
#[inline(always)]
pub fn destroyed<S: Sock>(sock: S) -> Outcome {
    let sk = sock.address();
    let Some(known) = SOCKETS.get_ptr(sk) else { return Outcome::Aside };
    // SAFETY: a live map value; nothing else uses the socket any more.
    let mut state = unsafe { *known };
    let _ = SOCKETS.remove(sk);
    if state.flags & FLAG_FILTERED != 0 {
        return Outcome::Filtered;
    }
    if state.closed == 0 {
        // The trace missed the transition to CLOSE. The counters are still there, the reason is not.
        count(Counter::ClosesRecovered);
        info!("the close of the socket at {:x} was missed, its end is seen", identity::number(sk));
        state.flags |= FLAG_RECOVERED;
        send_close(sock, &state, &sock.tuple(), 0, sock.u32(offset!(sk_err)) as i32)
    } else if state.role == RecordRole::Listener as u8 {
        // listen() failed and the trace missed its result.
        state.flags |= FLAG_CALL_FAILED;
        send_close(sock, &state, &sock.tuple(), LISTEN, 0)
    } else if state.role == RecordRole::Client as u8 {
        // connect() failed and the trace missed its result.
        state.flags |= FLAG_CALL_FAILED;
        send_close(sock, &state, &sock.tuple(), SYN_SENT, 0)
    } else if state.role == RecordRole::Server as u8 && state.flags & FLAG_ACCEPTED == 0 {
        state.flags &= !tracer_common::record::FLAG_UNDECIDED;
        send(RecordKind::Destroyed, now(), &state, &sock.tuple(), 0, 0, 0, 0)
    } else {
        Outcome::Aside
    }
}

/// Ends the predecessor of a socket that begins at `sk`. An entry at `sk` belongs to the socket that used this memory
/// before and whose end the programs missed: it must not pass for the new socket, which has another owner.
#[inline(always)]
pub fn end_of_predecessor(sk: u64) -> Outcome {
    Outcome::from_number(end_predecessor(identity::number(sk)))
}

/// See [`end_of_predecessor`]. The verifier checks a global function once: its outcomes do not multiply the many paths
/// behind it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn end_predecessor(sk: u64) -> u32 {
    let Some(known) = SOCKETS.get_ptr(sk) else { return Outcome::Aside as u32 };
    // SAFETY: a live map value; nothing else uses the new socket yet, and the old one is gone.
    let known = unsafe { &*known };
    let mut outcome = Outcome::Aside;
    if known.flags & FLAG_FILTERED == 0 {
        if known.closed == 0 {
            count(Counter::ClosesRecovered);
        }
        // Sent even if its close has been reported. `send` skips an undecided connection: the agent does not know it.
        outcome = send(RecordKind::Destroyed, now(), known, &NO_TUPLE, 0, 0, 0, 0);
    }
    let _ = SOCKETS.remove(sk);
    info!("the end of the socket that was at {:x} before was missed", identity::number(sk));
    outcome as u32
}

/// Writes a [`CloseRecord`]; `state` is not filtered out.
#[inline(always)]
pub fn send_close<S: Sock>(sock: S, state: &SocketState, tuple: &Tuple, old: u8, errno: i32) -> Outcome {
    let place = emit::reserve::<CloseRecord>(Counter::LostLifecycle);
    if place.is_null() {
        return Outcome::Lost;
    }
    let detail = if state.flags & FLAG_PREEXISTING != 0 { inode(sock) } else { 0 };
    // SAFETY: reserved and not null; every byte is written.
    unsafe {
        write(&raw mut (*place).socket, RecordKind::Close, now(), state, tuple, old, CLOSE, errno, detail);
        (&raw mut (*place).tcp).write(counters(sock));
        (&raw mut (*place).limits).write(limits(sock));
        if old == SYN_SENT {
            (*place).tcp.flags |= silence::lock(sock);
            (&raw mut (*place).ending).write(silence::icmp_error(sock).pack());
        } else {
            (&raw mut (*place).ending).write(silence::silence(sock).pack());
        }
        emit::submit(place, Counter::SentLifecycle);
    }
    Outcome::Told
}

#[inline(always)]
fn counters<S: Sock>(sock: S) -> TcpCounters {
    let mut flags = 0;
    if offset!(sk_err) == ABSENT {
        flags |= COUNTERS_NO_ERRNO;
    }
    if offset!(bytes_acked) != ABSENT {
        flags |= COUNTERS_KNOWN;
    }
    if offset!(skc_flags) != ABSENT
        && offset!(sock_done_bit) != ABSENT
        && sock.u64(offset!(skc_flags)) >> (offset!(sock_done_bit) & 63) & 1 != 0
    {
        flags |= COUNTERS_FIN_RECEIVED;
    }
    if offset!(tcp_repair) != ABSENT && u32::from(sock.u8(offset!(tcp_repair))) & offset!(tcp_repair_mask) != 0 {
        flags |= COUNTERS_REPAIR;
    }
    if offset!(sk_socket) != ABSENT {
        flags |= COUNTERS_SOCKET_KNOWN;
        if sock.u64(offset!(sk_socket)) != 0 {
            flags |= COUNTERS_HAS_SOCKET;
        }
    }
    TcpCounters {
        bytes_acked: sock.u64(offset!(bytes_acked)),
        bytes_received: sock.u64(offset!(bytes_received)),
        bytes_sent: sock.u64(offset!(bytes_sent)),
        bytes_retrans: sock.u64(offset!(bytes_retrans)),
        snd_nxt: sock.u32(offset!(snd_nxt)),
        snd_una: sock.u32(offset!(snd_una)),
        write_seq: sock.u32(offset!(write_seq)),
        total_retrans: sock.u32(offset!(total_retrans)),
        srtt_us: sock.u32(offset!(srtt_us)),
        min_rtt_us: sock.u32(offset!(min_rtt_us)),
        sk_err_soft: sock.u32(offset!(sk_err_soft)) as i32,
        flags,
    }
}
