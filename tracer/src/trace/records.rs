//! The way of the records from the rings into the core: merged by time, each after the answers that it needs.

use std::task::Poll;

use log::debug;
use tracer_common::{
    decode::{DecodeError, Record, decode},
    drops::TOLD_OF_A_KIND,
    record::RecordKind,
};

use super::{
    Trace,
    dispatch::Dispatch,
    feed::PacketFeed,
    inlet::Inlet,
    merge::{Packets, Way},
};
use crate::{
    allocator, clock,
    core::{Input, Lost},
    kernel::ring::Ring,
};

/// The most records that are applied between two looks at signals and timers.
const TOLD_AT_ONCE: usize = 2048;
/// The most records behind a waiting one for which questions are asked ahead.
const ASKED_AHEAD: usize = 512;

/// The parts that a record passes through.
struct Records<'a, 'p> {
    feed: Option<&'a mut PacketFeed>,
    inlet: &'a mut Inlet<'p>,
    dispatch: &'a mut Dispatch,
    lost: &'a mut Lost,
    /// Later records of the lifecycle do not belong to the trace: some of the hooks were detached by then, so the
    /// records of the others are not complete.
    cut_ns: Option<u64>,
}

impl Way for Records<'_, '_> {
    fn pass(&mut self, record: Record<'_>) -> Poll<()> {
        let is_packet = matches!(record, Record::Drop(_) | Record::Segment(..));
        if !is_packet && self.cut_ns.is_some_and(|cut| record.boot_ns() > cut) {
            return Poll::Ready(());
        }
        let mut waits = false;
        for question in self.inlet.before(&record).into_iter().flatten() {
            waits |= self.dispatch.put(&question, self.inlet).is_pending();
        }
        if waits {
            return Poll::Pending;
        }
        self.inlet.apply(Input::Record(record));
        Poll::Ready(())
    }

    fn fetch(&mut self, packets: &mut Packets) {
        if let Some(feed) = &mut self.feed {
            feed.drain(packets, &mut self.lost.undecoded);
        }
    }

    fn fetch_folds(&mut self, id: u64, packets: &mut Packets) {
        if let Some(feed) = &mut self.feed
            && self.inlet.core().drops_of(id) >= TOLD_OF_A_KIND
        {
            feed.sweep_for_close(packets);
        }
    }

    fn refuse(&mut self, error: DecodeError) {
        debug!("{error}");
        self.lost.undecoded += 1;
    }
}

impl Trace<'_> {
    /// Drains one wake-up's worth.
    pub(super) fn drain(&mut self) {
        if !self.outlet.has_room() {
            return;
        }
        self.drain_anyway();
    }

    /// The same, independent of the room in the output. Returns whether more may be in the ring.
    pub(super) fn drain_anyway(&mut self) -> bool {
        let Self { kernel, ring, inlet, merge, lost, feed, dispatch, taken_over, unreconciled, cut_ns, .. } = self;
        // A later packet may belong to a connection whose records are still to come.
        let now_ns = clock::boot_ns();
        // Packets first: their connections are recorded by then.
        let mut more = true;
        while let Some(feed) = feed.as_mut().filter(|_| more && merge.packets.has_room()) {
            more = feed.drain(&mut merge.packets, &mut lost.undecoded);
            if feed.has_dropped() {
                dispatch.prepare_names();
            }
        }
        let mut way = Records { feed: feed.as_mut(), inlet, dispatch, lost, cut_ns: *cut_ns };
        // Bounded, so that signals and timers have their turn under a flood.
        let mut rest = true;
        for _ in 0..8 {
            // At the start the line is as long as the snapshot takes, and the ring must not fill up while it is
            // applied.
            if !merge.lifecycle.takes_more(!*taken_over || unreconciled.is_some()) {
                break;
            }
            let mut executed = false;
            let count = ring.drain(|bytes| {
                executed |= bytes.first() == Some(&(RecordKind::Exec as u8));
                merge.take(bytes, !*taken_over, &mut way);
            });
            if executed {
                kernel.wake_compat();
            }
            rest = Ring::is_full_batch(count);
            if !rest || way.inlet.core().is_full() {
                break;
            }
        }
        self.pass_waiting(Some(now_ns).filter(|_| !rest));
        rest
    }

    /// Applies the records that wait for an answer which has come. The ring has no record older than `until`.
    fn pass_waiting(&mut self, until: Option<u64>) {
        self.blocked = false;
        let Self { inlet, merge, lost, feed, dispatch, taken_over, cut_ns, .. } = self;
        self.more = false;
        if !*taken_over {
            return;
        }
        let mut way = Records { feed: feed.as_mut(), inlet, dispatch, lost, cut_ns: *cut_ns };
        let passed = merge.pass_waiting(TOLD_AT_ONCE, until, &mut way);
        if passed.waits {
            merge.lifecycle.look_ahead(ASKED_AHEAD, |bytes| {
                if let Ok(record) = decode(bytes) {
                    way.dispatch.ask_ahead(&record, way.inlet);
                }
            });
        } else if merge.lifecycle.is_empty() {
            way.dispatch.none_waits();
        }
        if let Some(left) = &mut self.unreconciled {
            *left = left.saturating_sub(passed.count);
            if *left == 0 || merge.lifecycle.is_empty() {
                self.unreconciled = None;
                way.inlet.apply(Input::Reconciled);
                // Loading and the first look at /proc took memory that will not be needed again.
                merge.lifecycle.give_back();
                allocator::give_back();
            }
        }
        self.more = passed.more;
        self.blocked = passed.waits;
    }

    /// Whether a record waits for an answer.
    pub(super) const fn waits(&self) -> bool {
        self.blocked
    }
}
