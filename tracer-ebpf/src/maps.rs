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

/// First place: 1 while the agent sleeps until the next record, 0 while it looks by itself after a
/// while. Second place: the most bytes that ever waited in the ring.
#[map]
pub static WAITING: Array<u32> = Array::with_max_entries(2, 0);

/// Notes that a ring holds `fill` bytes now. Two CPUs that find a new maximum may overwrite each other: their
/// values are a record or two apart.
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

/// 1 once every hook is attached. Until then the attached hooks ignore every connection, because the
/// others have not seen its beginning. 2 once no call is under way that began before.
#[map]
pub static STARTED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether every hook is attached.
#[inline(always)]
pub fn started() -> bool {
    // SAFETY: a live array slot, written once by the agent.
    STARTED.get_ptr(0).is_some_and(|started| unsafe { core::ptr::read_volatile(started) } != 0)
}

/// Whether every call under way began after the last hook was attached.
#[inline(always)]
pub fn settled() -> bool {
    // SAFETY: as above.
    STARTED.get_ptr(0).is_some_and(|started| unsafe { core::ptr::read_volatile(started) } == 2)
}

/// The state of every followed socket, by the address of its `struct sock`.
///
/// A hash and not socket storage: accept() returns through a program type that may not touch socket storage
/// (docs/kernel.md, "State of a socket"). A new socket at the same address inherits nothing: the entry goes when the
/// socket closes, at the latest in `tcp_destroy_sock`, before the kernel can reuse the memory. If the programs miss
/// both, it goes when the next socket begins there (`lifecycle::close::end_predecessor`).
#[map]
pub static SOCKETS: HashMap<u64, SocketState> = HashMap::with_max_entries(1 << 18, BPF_F_NO_PREALLOC);

/// connect() and listen() calls in progress, by `pid_tgid`.
#[map]
pub static CONNECTING: HashMap<u64, Connecting> = HashMap::with_max_entries(1 << 14, BPF_F_NO_PREALLOC);

/// Failures of accept() by listener, task and errno. Its entries at the end are unreported.
#[map]
pub static ACCEPT_FAILURES: HashMap<[u64; 3], AcceptFailures> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// [`Counter`]s.
#[map]
pub static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// The last connection number in use, one counter for each [`crate::identity::Site`] and
/// [`crate::lane::Lane`].
#[map]
pub static IDENTITIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(lane::PROGRAMS * identity::SITES, 0);

/// The sockets that a CPU works on; see [`crate::lane::second`].
#[map]
pub static UNDERWAY: PerCpuArray<Underway> = PerCpuArray::with_max_entries(1, 0);

/// The listener's child born last on a CPU; see [`crate::lifecycle`].
#[map]
pub static BIRTHS: PerCpuArray<Birth> = PerCpuArray::with_max_entries(1, 0);

/// Calls under way that a lane has taken, by the address of their arguments or socket; see
/// [`crate::lane::preempted`]. The agent gives it the least size where the kernel preempts no task there.
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

/// Ports of `FILTER_*PORT`: sixteen ports per entry, four bits each.
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

/// As [`WAITING`], for [`DROPS`].
#[map]
pub static DROPS_WAITING: Array<u32> = Array::with_max_entries(2, 0);

/// Counts of equal drops. The agent gives it the least size if the user wants no drops.
#[map]
pub static FOLDS: PerCpuArray<Fold> = PerCpuArray::with_max_entries(PLACES, 0);

/// The [`tracer_common::drops::ReasonAction`] for each reason, with `WANT_SOME_REASONS`. The agent gives it the least
/// size without.
#[map]
pub static REASONS: Array<u8> = Array::with_max_entries(REASON_PLACES, 0);

/// The common budget of drops reported one by one.
#[map]
pub static BUDGET: Array<Budget> = Array::with_max_entries(1, 0);

/// Working memory of one CPU for one dropped packet.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Kernel stacks of drops. If the user does not ask for them, the agent makes it an array of one
/// number, because the mere existence of such a map costs every CPU its buffers.
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// Outcomes of all calls of the hooks; see [`crate::audit`].
#[map]
pub static AUDIT: PerCpuArray<u64> = PerCpuArray::with_max_entries(AUDIT_PLACES, 0);

/// 1 while the audit goes on.
#[map]
pub static AUDIT_OPEN: Array<u32> = Array::with_max_entries(1, 0);

/// Calls under way that are not part of the audit, by the address of their arguments. The agent gives it
/// the least size without an audit.
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

/// Adds to a number in a map that other programs change at the same time.
#[inline(always)]
pub fn add(value: *mut u64, more: u64) {
    {
        // A softirq between a load and a store would lose its count: so one atomic instruction
        // (BPF_XADD, in every kernel; `core`'s atomics do not exist on this target).
        // SAFETY: a valid, aligned slot of a map.
        unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) value, in(reg) more) };
    }
}
