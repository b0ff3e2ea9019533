//! The plan for loading the kernel side.

use tracer_common::settings::{Offsets, Settings};

use super::{
    backend::needs_resets_for_nobody,
    hooks::{Backend, Hook, Wanted},
    selection::Selection,
};

/// The choices for loading.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From the running kernel.
    pub offsets: Offsets,
    /// The user's settings.
    pub settings: Settings,
    /// The contents of the filter maps.
    pub selection: Selection,
    /// Hash maps may be allocated on demand.
    pub maps_on_demand: bool,
    /// Size of the ring in bytes.
    pub ring_bytes: u32,
    /// The most sockets that are followed; `None`: the default.
    pub sockets: Option<u32>,
    /// Restricts hooks to one backend.
    pub forced: Vec<(Hook, Backend)>,
    /// The wanted packet events: hooks without any use are not attached.
    pub packets: Packets,
}

/// The wanted packet events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packets {
    /// Drops.
    pub drops: bool,
    /// Retransmitted segments.
    pub retransmits: bool,
    /// Resets.
    pub resets: bool,
}

impl Packets {
    /// Whether any is wanted.
    #[must_use]
    pub const fn any(self) -> bool {
        self.drops || self.retransmits || self.resets
    }

    /// Whether `hook` is needed for these packet events.
    #[must_use]
    pub const fn want(self, hook: Hook, offsets: &Offsets) -> bool {
        match hook.descriptor().wanted {
            Wanted::Always => true,
            Wanted::Drops => self.drops,
            Wanted::Retransmits => self.retransmits,
            Wanted::Resets => self.resets,
            Wanted::ResetsForNobody => self.resets && needs_resets_for_nobody(offsets),
        }
    }
}
