//! The opened kernel side of a trace.

use super::PacketSession;
use crate::kernel::{backend::Degradation, load::Kernel};

/// A loaded and attached kernel side, and its gaps.
#[derive(Debug)]
pub struct Opened {
    /// The programs.
    pub kernel: Kernel,
    /// The missing features.
    pub degradations: Vec<Degradation>,
    /// The tracing of packets, if any.
    pub packets: Option<PacketSession>,
    /// When it was open, `CLOCK_BOOTTIME` ns.
    pub opened_ns: u64,
}
