//! Records of packets on their way into the core: from their own ring, in the order of time with the lifecycle's, and
//! after the answers that the core needs first.

use std::{
    collections::VecDeque,
    io,
    task::Poll,
    time::{Duration, Instant},
};

use log::debug;
use tracer_common::{
    decode::{Record, decode},
    drops::{DropRecord, SegmentRecord},
    record::RecordKind,
};

use crate::{
    core::{Core, Gate, Input},
    kernel::{
        folds::Folds,
        reasons::Reasons,
        ring::{Fill, Ring},
        stacks::Stacks,
        symbols::KernelSymbols,
    },
    stream::Sink,
    trace::Questions,
};

/// The most records that wait; above it they stay in the ring, where a loss is counted.
const MOST_WAITING: usize = 1 << 16;
/// Least interval between reads of the folds for a single connection: a read takes a millisecond.
const SWEEP: Duration = Duration::from_millis(50);

enum Waiting {
    Drop(Box<DropRecord>),
    Segment(RecordKind, SegmentRecord),
}

impl Waiting {
    fn boot_ns(&self) -> u64 {
        match self {
            Self::Drop(record) => record.header.boot_ns,
            Self::Segment(_, record) => record.header.boot_ns,
        }
    }
}

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

/// The packets' ring with its waiting records.
pub struct PacketFeed {
    ring: Ring,
    folds: Folds,
    symbols: KernelSymbols,
    /// `None` if unwanted.
    stacks: Option<Stacks>,
    waiting: VecDeque<Waiting>,
    swept: Option<Instant>,
    /// Packets in folds so far.
    folded: u64,
}

impl std::fmt::Debug for PacketFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketFeed").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl PacketFeed {
    /// An empty feed.
    #[must_use]
    pub fn new(ring: Ring, folds: Folds, symbols: KernelSymbols, stacks: Option<Stacks>) -> Self {
        Self { ring, folds, symbols, stacks, waiting: VecDeque::new(), swept: None, folded: 0 }
    }

    /// Whether there is room for more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MOST_WAITING
    }

    /// Waits until a drain is worth while. Cancel safe.
    ///
    /// # Errors
    /// If polling fails.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.ring.ready().await
    }

    /// Takes the records in the ring; counts the undecodable ones in `undecoded`. Returns whether more may be there.
    pub fn drain(&mut self, undecoded: &mut u64) -> bool {
        let Self { ring, folds, symbols, waiting, folded, .. } = self;
        let count = ring.drain(|bytes| match decode(bytes) {
            Ok(Record::Drop(record)) => {
                symbols.begin();
                let settled = folds.settle(record);
                *folded += settled.as_ref().filter(|record| record.fold != 0).map_or(0, |record| record.count);
                waiting.extend(settled.map(|record| Waiting::Drop(Box::new(record))));
            }
            Ok(Record::Segment(kind, record)) => waiting.push_back(Waiting::Segment(kind, *record)),
            other => {
                debug!("not a packet's record: {other:?}");
                *undecoded += 1;
            }
        });
        Ring::is_full_batch(count)
    }

    /// Takes the folds of the kernel side; `folded` is its count.
    pub fn sweep(&mut self, folded: u64) {
        self.take_folded(Some(folded));
    }

    /// The same before the end of a connection with many drops, unless it was done a moment ago.
    pub fn sweep_for_close(&mut self) {
        if self.swept.is_none_or(|last| last.elapsed() >= SWEEP) {
            self.swept = Some(Instant::now());
            self.take_folded(None);
        }
    }

    /// Inserts the folds in the order of time: records that came from the ring meanwhile may be later.
    fn take_folded(&mut self, folded: Option<u64>) {
        for record in self.folds.sweep(folded) {
            self.folded += record.count;
            let at = self.waiting.partition_point(|waiting| waiting.boot_ns() <= record.header.boot_ns);
            self.waiting.insert(at, Waiting::Drop(Box::new(record)));
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

    /// Whether a record waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Applies the records before `until`, or all, unless one has to wait for an answer from /proc. Records of the
    /// lifecycle are applied afterwards: a packet belongs to the connections that existed when it was dropped.
    pub fn release<G: Gate>(
        &mut self,
        until: Option<u64>,
        core: &mut Core<G>,
        questions: &mut Questions,
        sink: &mut dyn Sink,
    ) -> Poll<()> {
        while self.waiting.front().is_some_and(|first| until.is_none_or(|until| first.boot_ns() <= until)) {
            let Some(first) = self.waiting.pop_front() else { break };
            let record = match &first {
                Waiting::Drop(record) => Record::Drop(record),
                Waiting::Segment(kind, record) => Record::Segment(*kind, record),
            };
            if self.apply(record, core, questions, sink).is_pending() {
                self.waiting.push_front(first);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn apply<G: Gate>(
        &mut self,
        record: Record<'_>,
        core: &mut Core<G>,
        questions: &mut Questions,
        sink: &mut dyn Sink,
    ) -> Poll<()> {
        let wanted = core.wants_of_packet(&record);
        if let Some(address) = wanted.symbol {
            let name = self.symbols.get().name(address);
            core.apply(Input::Symbol(address, name), sink);
        }
        if let Some((number, location)) = wanted.stack {
            let frames = self.stacks.as_ref().and_then(|all| all.names(number, location, self.symbols.get()));
            core.apply(Input::Stack { number, location, frames }, sink);
        }
        if let Some(inode) = wanted.holders
            && questions.holders(inode, core).is_pending()
        {
            return Poll::Pending;
        }
        core.apply(Input::Record(record), sink);
        Poll::Ready(())
    }
}
