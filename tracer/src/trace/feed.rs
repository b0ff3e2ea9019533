//! The ring of packets.

use std::{
    io,
    time::{Duration, Instant},
};

use log::debug;
use tracer_common::decode::{Record, decode};
use tracer_tables::reasons::Reasons;

use super::merge::Packets;
use crate::kernel::{
    folds::Folds,
    ring::{Fill, Ring},
    symbols::KernelSymbols,
};

/// Least interval between reads of the folds for a single connection: a read takes a millisecond.
const SWEEP: Duration = Duration::from_millis(50);

/// The data needed for events of packets.
#[derive(Debug)]
pub struct PacketSession {
    /// Names of reasons.
    pub reasons: Reasons,
    /// Names of call sites.
    pub symbols: KernelSymbols,
    /// Whether the kernel's stacks are recorded.
    pub stacks: bool,
}

/// The packets' ring.
pub struct PacketFeed {
    ring: Ring,
    folds: Folds,
    swept: Option<Instant>,
    /// Packets in folds so far.
    folded: u64,
    /// A drop has come.
    dropped: bool,
}

impl std::fmt::Debug for PacketFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketFeed").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl PacketFeed {
    /// Takes over the ring.
    #[must_use]
    pub const fn new(ring: Ring, folds: Folds) -> Self {
        Self { ring, folds, swept: None, folded: 0, dropped: false }
    }

    /// Waits until a drain is worth while. Cancel safe.
    ///
    /// # Errors
    /// If polling fails.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.ring.ready().await
    }

    /// Takes the records in the ring; counts the undecodable ones in `undecoded`. Returns whether more may be there.
    pub fn drain(&mut self, packets: &mut Packets, undecoded: &mut u64) -> bool {
        let Self { ring, folds, folded, dropped, .. } = self;
        let count = ring.drain(|bytes| match decode(bytes) {
            Ok(Record::Drop(record)) => {
                *dropped = true;
                if let Some(record) = folds.settle(record) {
                    *folded += if record.fold == 0 { 0 } else { record.count };
                    packets.push_drop(record);
                }
            }
            Ok(Record::Segment(kind, record)) => packets.push_segment(kind, *record),
            other => {
                debug!("not a packet's record: {other:?}");
                *undecoded += 1;
            }
        });
        Ring::is_full_batch(count)
    }

    /// Whether a drop has come.
    pub const fn has_dropped(&self) -> bool {
        self.dropped
    }

    /// Takes the folds of the kernel side; `folded` is its count.
    pub fn sweep(&mut self, folded: u64, packets: &mut Packets) {
        self.take_folded(Some(folded), packets);
    }

    /// The same before the end of a connection with many drops, unless it was done a moment ago.
    pub fn sweep_for_close(&mut self, packets: &mut Packets) {
        if self.swept.is_none_or(|last| last.elapsed() >= SWEEP) {
            self.swept = Some(Instant::now());
            self.take_folded(None, packets);
        }
    }

    fn take_folded(&mut self, folded: Option<u64>, packets: &mut Packets) {
        for record in self.folds.sweep(folded) {
            self.folded += record.count;
            packets.insert(record);
        }
    }

    /// Number of records from the ring, and of packets in folds.
    #[must_use]
    pub const fn received(&self) -> (u64, u64) {
        (self.ring.received(), self.folded)
    }

    /// The highest fill of the ring.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.ring.fill()
    }
}
