//! The memory that the programs of drops work in: the folds, and a place of each CPU.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{
    drops::{FOLDS as PLACES, Fold},
    packet::{Packet, Window},
};

/// Working memory of one CPU for one packet.
#[repr(C)]
pub struct Scratch {
    /// The packet's first bytes.
    pub window: Window,
    /// The parsed `window`.
    pub packet: Packet,
    /// 1 while a program works here.
    pub busy: u32,
    /// The tenth of a second that `left` belongs to.
    pub tenth: u64,
    /// Packets that this CPU may still report in that tenth, drawn from the common budget.
    pub left: u64,
    /// Turns pointers into numbers: the verifier forbids arithmetic on pointers.
    pub pointer: u64,
}

/// See [`Scratch`].
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Counts of equal drops. The agent gives it the least size if the user wants no drops.
#[map]
pub static FOLDS: PerCpuArray<Fold> = PerCpuArray::with_max_entries(PLACES, 0);
