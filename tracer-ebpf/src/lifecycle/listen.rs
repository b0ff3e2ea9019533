//! listen() from its entry to its return, for a socket that falls back to `CLOSE` inside it.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use tracer_common::{
    audit::Outcome,
    record::{CALL_LISTEN, CALL_LISTEN_FAILED, Connecting, FLAG_CALL_FAILED},
};

use super::connect::CONNECTING;
use super::{LISTEN, NO_TUPLE, close::send_close, connect::note};
use crate::{
    fd, filter,
    sock::{Raw, Sock},
    sockets::SOCKETS,
};

/// Notes that listen() of `fd` begins in the current task.
#[inline(always)]
pub fn listen_called(fd: u32) {
    if filter::process_passes()
        && let Some(socket) = fd::socket(fd)
        && let Some(sock) = Raw::tcp(socket.tcp())
    {
        note(&Connecting {
            sk: sock.address(),
            progress: CALL_LISTEN,
            place: 0,
            addr: [0; 7],
            reserved: 0,
            tuple: NO_TUPLE,
        });
    }
}

/// Whether a socket goes from `LISTEN` to `CLOSE` inside its own listen(), whose return says why.
#[inline(always)]
pub(super) fn fails_inside_listen<S: Sock>(sock: S) -> bool {
    let Some(call) = CONNECTING.get_ptr_mut(bpf_get_current_pid_tgid()) else { return false };
    // SAFETY: this task's own entry: the transition happens in process context.
    let call = unsafe { &mut *call };
    if call.progress != CALL_LISTEN || call.sk != sock.address() {
        return false;
    }
    call.progress = CALL_LISTEN_FAILED;
    call.tuple = sock.tuple();
    true
}

/// Handles the return of listen() with `result` in the current task.
#[inline(always)]
pub fn listen_returned(result: i32) -> Outcome {
    let task = bpf_get_current_pid_tgid();
    let Some(call) = CONNECTING.get_ptr(task) else { return Outcome::Aside };
    // SAFETY: this task's own entry.
    let call = unsafe { *call };
    if call.progress != CALL_LISTEN && call.progress != CALL_LISTEN_FAILED {
        return Outcome::Aside;
    }
    let _ = CONNECTING.remove(task);
    if call.progress != CALL_LISTEN_FAILED {
        return Outcome::Aside;
    }
    let Some(known) = SOCKETS.get_ptr(call.sk) else { return Outcome::Aside };
    // SAFETY: a live map value; the socket belongs to this task, which is inside listen().
    let mut state = unsafe { *known };
    let _ = SOCKETS.remove(call.sk);
    state.flags |= FLAG_CALL_FAILED;
    send_close(Raw(call.sk), &state, &call.tuple, LISTEN, -result)
}
