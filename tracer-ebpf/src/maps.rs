//! Every map.

use crate::{
    drops::Scratch,
    identity,
    lane::{self, preempted::Note, second::Underway},
    lifecycle::Birth,
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, StackTrace},
};
use tracer_common::{
    audit::{NOTES, PLACES as AUDIT_PLACES},
    counter::{COUNTERS, Counter},
    drops::{Budget, FOLDS as PLACES, Fold, REASON_PLACES},
    record::{AcceptFailures, Connecting, SocketState},
    settings,
};

/// Lifecycle and process records. The agent sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Whether the agent sleeps until the next record (1), or looks by itself after a while (0); and in the
/// second place how many bytes waited in the ring at the most.
#[map]
pub static WAITING: Array<u32> = Array::with_max_entries(2, 0);

/// A ring holds `fill` bytes now. Two CPUs that find it fuller than ever may overwrite one another: they
/// are a record or two apart.
#[inline(always)]
pub fn filled(waiting: &Array<u32>, fill: u64) {
    if let Some(highest) = waiting.get_ptr_mut(1) {
        // SAFETY: a live array slot.
        unsafe {
            if fill > u64::from(core::ptr::read_volatile(highest)) {
                core::ptr::write_volatile(highest, fill as u32);
            }
        }
    }
}

/// 1 once every hook is attached. Until then the hooks that are attached already see connections of
/// which the others have seen nothing: they leave them alone. 2 once no call is under way that began
/// before.
#[map]
pub static STARTED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether every hook is attached.
#[inline(always)]
pub fn started() -> bool {
    // SAFETY: a live array slot, written once by the agent.
    STARTED.get_ptr(0).is_some_and(|started| unsafe { core::ptr::read_volatile(started) } != 0)
}

/// Whether every call that is under way has begun after that.
#[inline(always)]
pub fn settled() -> bool {
    // SAFETY: as above.
    STARTED.get_ptr(0).is_some_and(|started| unsafe { core::ptr::read_volatile(started) } == 2)
}

/// The state of every socket that is followed, by the address of its `struct sock`.
///
/// A hash and not socket storage: accept() returns through a program type that may not touch socket
/// storage (docs/kernel.md, "State of a socket"). An address does not inherit: the entry goes when the
/// socket closes, at the latest in `tcp_destroy_sock`, before the memory can be used again, and where the kernel has kept
/// both from the programs, when the next socket begins there (`lifecycle::close::end_predecessor`).
#[map]
pub static SOCKETS: HashMap<u64, SocketState> = HashMap::with_max_entries(1 << 18, BPF_F_NO_PREALLOC);

/// connect() and listen() calls in progress, by `pid_tgid`.
#[map]
pub static CONNECTING: HashMap<u64, Connecting> = HashMap::with_max_entries(1 << 14, BPF_F_NO_PREALLOC);

/// Failures of accept() by listener, task and errno. What is in it at the end has not been told.
#[map]
pub static ACCEPT_FAILURES: HashMap<[u64; 3], AcceptFailures> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// [`Counter`]s.
#[map]
pub static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// The last connection number given out, one counter a [`crate::identity::Site`] and
/// [`crate::lane::Lane`].
#[map]
pub static IDENTITIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(lane::PROGRAMS * identity::SITES, 0);

/// Which sockets a CPU is at; see [`crate::lane::second`].
#[map]
pub static UNDERWAY: PerCpuArray<Underway> = PerCpuArray::with_max_entries(1, 0);

/// The child of a listener that was born last on a CPU; see [`crate::lifecycle`].
#[map]
pub static BIRTHS: PerCpuArray<Birth> = PerCpuArray::with_max_entries(1, 0);

/// Calls that are under way and that a lane has taken, by the address of their arguments or socket; see
/// [`crate::lane::preempted`]. The agent makes it as small as can be where tasks are not preempted there.
#[map]
pub static CALLS: HashMap<u64, Note> = HashMap::with_max_entries(settings::CALLS, 0);

/// Whether the first lane is at work on a CPU; see [`crate::lane::ahead`].
#[map]
pub static AT_WORK: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Processes of `FILTER_PID`.
#[map]
pub static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);

/// Users of `FILTER_UID`.
#[map]
pub static UIDS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// Network namespaces of `FILTER_NETNS`.
#[map]
pub static NETNS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// Ports of `FILTER_*PORT`: sixteen ports an entry, four bits each.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(4096, 0);

/// IPv4 prefixes of `FILTER_*ADDR`.
#[map]
pub static PREFIXES4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// IPv6 prefixes of `FILTER_*ADDR`.
#[map]
pub static PREFIXES6: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Drops, retransmissions and resets: apart, so that a storm of them costs no lifecycle event. The
/// agent sets the size.
#[map]
pub static DROPS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// As [`WAITING`], of [`DROPS`].
#[map]
pub static DROPS_WAITING: Array<u32> = Array::with_max_entries(2, 0);

/// Where equal drops are counted. The agent makes it as small as can be if none are wanted.
#[map]
pub static FOLDS: PerCpuArray<Fold> = PerCpuArray::with_max_entries(PLACES, 0);

/// What becomes of drops by each reason ([`tracer_common::drops::ReasonAction`]), with `WANT_SOME_REASONS`. The agent
/// makes it as small as can be without.
#[map]
pub static REASONS: Array<u8> = Array::with_max_entries(REASON_PLACES, 0);

/// How many drops may still be told one by one.
#[map]
pub static BUDGET: Array<Budget> = Array::with_max_entries(1, 0);

/// Where one CPU works on one dropped packet.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Kernel stacks of drops. Of use only if they are asked for: else the agent makes it an array of one
/// number, because already the existence of such a map costs every CPU its buffers.
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// What every call of a hook came to; see [`crate::audit`].
#[map]
pub static AUDIT: PerCpuArray<u64> = PerCpuArray::with_max_entries(AUDIT_PLACES, 0);

/// 1 while the audit goes on.
#[map]
pub static AUDIT_OPEN: Array<u32> = Array::with_max_entries(1, 0);

/// Calls that are under way and not part of the audit, by the address of their arguments. The agent makes
/// it as small as can be if there is no audit.
#[map]
pub static AUDIT_NOTES: HashMap<u64, u8> = HashMap::with_max_entries(NOTES, 0);

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    add_one(COUNTS.get_ptr_mut(counter as u32));
}

/// Adds one to a place of [`AUDIT`].
#[inline(always)]
pub fn count_in_audit(place: u32) {
    add_one(AUDIT.get_ptr_mut(place));
}

#[inline(always)]
fn add_one(value: Option<*mut u64>) {
    if let Some(value) = value {
        add(value, 1);
    }
}

/// Adds to a number in a map, whoever else does.
#[inline(always)]
pub fn add(value: *mut u64, more: u64) {
    {
        // A softirq may come between a load and a store, and its count would be lost: so one atomic
        // instruction (BPF_XADD, in every kernel; `core`'s atomics do not exist on this target).
        // SAFETY: a valid, aligned slot of a map.
        unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) value, in(reg) more) };
    }
}
