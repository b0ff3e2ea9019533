//! The path of a dropped packet, the same for every hook: read, then folded or reported.
//!
//! Drops have their own ring and a limit on single reports, so that a storm of drops costs no
//! lifecycle event and little time. Every call of the tracepoint ends in exactly one count: told,
//! folded or lost.

mod attribution;
mod budget;
mod fold;
mod memory;
mod reason;
mod ring;
mod segment;
mod skb;
mod stack;

use tracer_common::{audit::Outcome, counter::Counter};

use self::memory::{SCRATCH, Scratch};
pub use self::{
    segment::{reset_received, reset_sent, reset_sent_for_nobody, retransmitted, synack_retransmitted},
    skb::{RawSkb, Skb, TrustedSkb},
};
use crate::{counter::count, started::started};

/// A dropped packet and the tracepoint's arguments.
#[derive(Clone, Copy)]
pub struct Dropped<S> {
    pub skb: S,
    /// The socket that was to receive it; 0 where the kernel does not report it.
    pub rx_sk: u64,
    pub location: u64,
    /// `NO_REASON` where this kernel has none.
    pub reason: u32,
    /// The program's own context, for helpers that take it.
    pub context: *mut core::ffi::c_void,
}

/// Handles `kfree_skb`, in any context, interrupts included.
#[inline(always)]
pub fn dropped<S: Skb>(drop: Dropped<S>) -> Outcome {
    if !started() {
        return Outcome::Aside;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return lost() };
    // SAFETY: this CPU's own place. An interrupt that drops a packet while we work on one finds it
    // busy and leaves it alone; before 6.2 the kernel itself does not prevent that (05b24ff9b2cf).
    unsafe {
        let busy = &raw mut (*scratch).busy;
        if core::ptr::read_volatile(busy) != 0 {
            return lost();
        }
        core::ptr::write_volatile(busy, 1);
        let outcome = fold::account(drop, &mut *scratch);
        core::ptr::write_volatile(busy, 0);
        outcome
    }
}

#[inline(always)]
fn lost() -> Outcome {
    count(Counter::LostDrop);
    Outcome::Lost
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments; permitted everywhere.
    unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns() }
}
