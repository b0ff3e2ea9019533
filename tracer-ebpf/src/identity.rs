//! Numbers for connections: unique in one run, without a shared counter.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, generated::bpf_probe_read_kernel},
    macros::map,
    maps::PerCpuArray,
};
use tracer_common::identity::{CPU_BITS, OF_SOCKET, PLACE_BITS, of_address};

use crate::lane::{self, Lane};

/// The last connection number in use, one counter for each [`crate::identity::Site`] and
/// [`crate::lane::Lane`].
#[map]
pub static IDENTITIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(lane::PROGRAMS * SITES, 0);

/// The place where a connection gets its number. Each site has its own per-CPU counter in each [`Lane`]. No two
/// programs that use a counter are under way on one CPU. Either it is one program, which the kernel does not let
/// interrupt itself (if the kernel preempts a task inside it, the program misses the next call), or two programs that
/// are never attached at the same time.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Site {
    Connect = 0,
    Listen = 1,
    Established = 2,
    Accept = 3,
    AcceptByIoUring = 4,
    Connect4Failed = 5,
    Connect6Failed = 6,
    Connect4Forbidden = 7,
    Connect6Forbidden = 8,
    ConnectByIoUringFailed = 9,
    /// Any context; guarded by `drops::Scratch::busy`.
    Drop = 10,
    Bind = 11,
    Compat = 12,
}

/// Room for sites in a lane.
pub const SITES: u32 = 16;
const _: () =
    assert!((Site::Compat as u32) < SITES && SITES * (lane::PROGRAMS - 1) + (Site::Compat as u32) < OF_SOCKET as u32);

/// Returns the number of a socket that is not in `SOCKETS`, because it is older than the trace or found
/// no room: all its events have the same number.
#[inline(always)]
pub fn of_socket(sk: u64) -> u64 {
    of_address(number(sk))
}

/// Turns an address into a number. In a BTF tracepoint the verifier treats it as a pointer and says "pointer
/// arithmetic with <<= operator prohibited"; the helper's copy is a number.
#[inline(always)]
pub fn number(sk: u64) -> u64 {
    let mut address = 0u64;
    // SAFETY: eight bytes from the stack to the stack.
    unsafe { bpf_probe_read_kernel((&raw mut address).cast(), 8, (&raw const sk).cast()) };
    address
}

/// Returns a number that no other connection of this run has: counter, CPU, site and lane.
#[inline(always)]
pub fn next(site: Site, lane: Lane) -> u64 {
    let slot = site as u32 + lane as u32 * SITES;
    let Some(last) = IDENTITIES.get_ptr_mut(slot) else { return 0 };
    // SAFETY: a valid per-CPU slot, written by this site on this CPU only.
    let number = unsafe {
        *last += 1;
        *last
    };
    // SAFETY: no arguments; always permitted.
    let cpu = u64::from(unsafe { bpf_get_smp_processor_id() });
    number << (PLACE_BITS + CPU_BITS) | (cpu & ((1 << CPU_BITS) - 1)) << PLACE_BITS | u64::from(slot)
}
