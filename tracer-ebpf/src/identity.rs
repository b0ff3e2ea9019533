//! Numbers for connections: unique in one run, without a shared counter.

use aya_ebpf::helpers::bpf_get_smp_processor_id;

use crate::maps::IDENTITIES;

/// Where a connection gets its number. Each site has its own per-CPU counter, and no site can
/// interrupt itself on one CPU: what runs in process context has preemption off, what runs in
/// softirq is not nested.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Site {
    Connect = 0,
    ConnectFailed = 1,
    Listen = 2,
    Established = 3,
    Accept = 4,
    Preexisting = 5,
    /// Any context; guarded by `drops::Scratch::busy`.
    Drop = 6,
}

/// A number that no other connection of this run has: counter, CPU (12 bits), site (4 bits).
#[inline(always)]
pub fn next(site: Site) -> u64 {
    let Some(last) = IDENTITIES.get_ptr_mut(site as u32) else { return 0 };
    // SAFETY: a valid per-CPU slot, written by this site on this CPU only.
    let number = unsafe {
        *last += 1;
        *last
    };
    // SAFETY: no arguments; always permitted.
    let cpu = u64::from(unsafe { bpf_get_smp_processor_id() });
    number << 16 | (cpu & 0xfff) << 4 | site as u64
}
