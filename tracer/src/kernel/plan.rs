//! What is to be loaded.

use tracer_common::settings::{Offsets, Settings};

use super::backend::{Backend, Hook, needs_resets_for_nobody};
use super::selection::Selection;

/// How to load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From the running kernel.
    pub offsets: Offsets,
    /// What the user wants.
    pub settings: Settings,
    /// What the filter maps hold.
    pub selection: Selection,
    /// Hash maps may be allocated on demand.
    pub maps_on_demand: bool,
    /// Size of the ring in bytes.
    pub ring_bytes: u32,
    /// Sockets followed at the most; `None`: as many as are usual.
    pub sockets: Option<u32>,
    /// Restricts hooks to one backend.
    pub forced: Vec<(Hook, Backend)>,
    /// What of packets is wanted: hooks that nobody wants are not attached.
    pub packets: Packets,
}

/// What of packets is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packets {
    /// Drops.
    pub drops: bool,
    /// Segments that are sent again.
    pub retransmits: bool,
    /// Resets.
    pub resets: bool,
}

impl Packets {
    /// Whether anything is.
    #[must_use]
    pub const fn any(self) -> bool {
        self.drops || self.retransmits || self.resets
    }

    /// Whether `hook` is needed, as far as packets are concerned.
    #[must_use]
    pub const fn want(self, hook: Hook, offsets: &Offsets) -> bool {
        match hook {
            Hook::Drop => self.drops,
            Hook::Retransmit | Hook::RetransmitSynAck => self.retransmits,
            Hook::SendReset | Hook::ReceiveReset => self.resets,
            Hook::SendResetForNobody => self.resets && needs_resets_for_nobody(offsets),
            _ => true,
        }
    }
}
