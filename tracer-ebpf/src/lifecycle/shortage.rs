//! accept() that fails for lack of descriptors or memory. A program may repeat it a million times a second, so each
//! thread reports it once a second, with a count.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, helpers::bpf_get_current_pid_tgid, macros::map, maps::HashMap};
use tracer_common::{
    audit::Outcome,
    counter::Counter,
    record::{AcceptFailures, FLAG_FILTERED, FLAG_PREEXISTING, RecordKind, RecordRole},
    settings::ABSENT,
};

use super::{LISTEN, UNKNOWN, begin, filtered, inode, now, send, set_opener};
use crate::{
    counter::count,
    filter, identity, offset,
    sock::{Raw, Sock},
    sockets::SOCKETS,
    started::started,
};

/// Failures of accept() by listener, task and errno. Its entries at the end are unreported.
#[map]
pub static ACCEPT_FAILURES: HashMap<[u64; 3], AcceptFailures> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

const SECOND: u64 = 1_000_000_000;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOMEM: i32 = 12;
const ENOBUFS: i32 = 105;

/// A static: the stack has no room for it.
static NONE_YET: AcceptFailures = AcceptFailures::NONE;

/// Whether accept() that fails with `errno` lacks descriptors or memory.
#[inline(always)]
pub fn is_shortage(errno: i32) -> bool {
    matches!(errno, ENFILE | EMFILE | ENOMEM | ENOBUFS)
}

/// Reports that accept() on the listener at `sk` has failed in the current task. A function of its own, like all code
/// that only failures reach, for a stack of its own.
#[inline(never)]
pub fn accept_failed(sk: u64, errno: i32) -> Outcome {
    if !started() {
        return Outcome::Aside;
    }
    let Some(sock) = Raw::tcp(sk) else { return Outcome::Aside };
    if offset!(skc_state) != ABSENT && sock.u8(offset!(skc_state)) != LISTEN {
        return Outcome::Aside;
    }
    if !filter::process_passes() {
        return filtered();
    }
    let key = [identity::number(sk), bpf_get_current_pid_tgid(), errno as u64];
    let at = now();
    let folded = ACCEPT_FAILURES.get_ptr_mut(key);
    if let Some(folded) = folded {
        // SAFETY: a live map value of this task alone.
        let folded = unsafe { &mut *folded };
        if at - folded.told_ns < SECOND {
            folded.record.detail += 1;
            folded.record.header.boot_ns = at;
            return Outcome::Folded;
        }
    }
    let tuple = sock.tuple();
    if !filter::socket_passes(RecordRole::Listener, &tuple) {
        return filtered();
    }
    if folded.is_none() && ACCEPT_FAILURES.insert(key, &NONE_YET, 0).is_err() {
        count(Counter::LostLifecycle);
        return Outcome::Lost;
    }
    let Some(folded) = ACCEPT_FAILURES.get_ptr_mut(key) else {
        // Removed meanwhile: only at the end of the trace.
        count(Counter::LostLifecycle);
        return Outcome::Lost;
    };
    // SAFETY: as above.
    let folded = unsafe { &mut *folded };
    let times = 1 + folded.record.detail;
    folded.told_ns = at;
    // In place: the stack has no room for it.
    let record = &mut folded.record;
    match SOCKETS.get_ptr(sk) {
        // SAFETY: a live map value; its file holds the listener.
        Some(known) if unsafe { (*known).flags } & FLAG_FILTERED == 0 => record.state = unsafe { *known },
        _ => {
            record.state = UNKNOWN;
            begin(&mut record.state, sock, identity::of_socket(sk), RecordRole::Listener);
            record.state.flags |= FLAG_PREEXISTING;
            record.state.parent = inode(sock) as u32;
        }
    }
    set_opener(&mut record.state);
    record.tuple = tuple;
    record.errno = errno;
    record.header.boot_ns = at;
    record.detail = 0;
    send(RecordKind::AcceptFailed, at, &record.state, &record.tuple, 0, 0, errno, times)
}
