//! A record's way from the ring into the core. It waits if /proc has to be asked first, and the records behind it wait,
//! too: the core gets them in the order in which they came.

use std::task::Poll;

use log::debug;
use tracer_common::{
    decode::{Record, decode},
    drops::TOLD_OF_A_KIND,
    record::RecordKind,
};

use super::{Lost, Presenter, Trace, questions::Questions};
use crate::{
    allocator, clock,
    core::{Core, Input},
    filter::Filter,
    kernel::ring::Ring,
    shown::Shown,
    stream::{Event, Sink},
    trace::feed::PacketFeed,
};

/// The most records that are applied between two looks at signals and timers.
const TOLD_AT_ONCE: usize = 2048;
/// The most records behind a waiting one for which questions are asked ahead.
const ASKED_AHEAD: usize = 512;

/// The parts that a record passes through.
pub(super) struct Way<'a, 'p> {
    pub(super) feed: Option<&'a mut PacketFeed>,
    pub(super) core: &'a mut Core<Filter>,
    pub(super) questions: &'a mut Questions,
    pub(super) shown: &'a mut Shown,
    pub(super) presenter: &'a mut (dyn Presenter + 'p),
    pub(super) lost: &'a mut Lost,
    /// Later records do not belong to the trace: some of the hooks were detached by then, so the records of the others
    /// are not complete.
    pub(super) cut_ns: Option<u64>,
}

impl Way<'_, '_> {
    /// Applies one record from the ring, after the packets before it.
    fn tell(&mut self, bytes: &[u8]) -> Poll<()> {
        match self.release_before(bytes) {
            Poll::Ready(()) => self.take(bytes),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Applies the packets before `until`.
    fn release(&mut self, until: Option<u64>) -> Poll<()> {
        let Some(feed) = &mut self.feed else { return Poll::Ready(()) };
        feed.release(until, self.core, self.questions, &mut self.shown.sink(self.presenter))
    }

    /// Applies the packets before the record in `bytes`. All packets of a connection that closes are in their own ring
    /// by then.
    fn release_before(&mut self, bytes: &[u8]) -> Poll<()> {
        let Some(feed) = &mut self.feed else { return Poll::Ready(()) };
        let closes = bytes.first() == Some(&(RecordKind::Close as u8));
        if closes && feed.has_room() {
            feed.drain(&mut self.lost.undecoded);
        }
        if !closes && !feed.is_waiting() {
            return Poll::Ready(());
        }
        let Ok(record) = decode(bytes) else { return Poll::Ready(()) };
        let until = Some(record.boot_ns());
        if self.release(until).is_pending() {
            return Poll::Pending;
        }
        // The kernel side may still be counting its last ones.
        if let Record::Close(close) = record
            && self.core.drops_of(close.socket.state.id) >= TOLD_OF_A_KIND
        {
            if let Some(feed) = &mut self.feed {
                feed.sweep_for_close();
            }
            return self.release(until);
        }
        Poll::Ready(())
    }

    /// Applies one record from the ring, after the answers that it needs.
    fn take(&mut self, bytes: &[u8]) -> Poll<()> {
        let record = match decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                debug!("{error}");
                self.lost.undecoded += 1;
                return Poll::Ready(());
            }
        };
        if self.cut_ns.is_some_and(|cut| record.boot_ns() > cut) {
            return Poll::Ready(());
        }
        if let Some(process) = self.core.wants(&record)
            && self.questions.process(process, self.core).is_pending()
        {
            return Poll::Pending;
        }
        if let Record::Fork(_) | Record::Exec(_) | Record::Exit(_) = record {
            self.core.apply(Input::Record(record), &mut Nowhere);
        } else {
            self.core.apply(Input::Record(record), &mut self.shown.sink(self.presenter));
        }
        Poll::Ready(())
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
        // The record of the program's start woke this thread.
        self.kernel.wake_compat();
        let Self {
            ring, core, presenter, shown, line, lost, feed, questions, taken_over, unreconciled, cut_ns, ..
        } = self;
        // A later packet may belong to a connection whose records are still to come.
        let now_ns = clock::boot_ns();
        // Packets first: their connections are recorded by then.
        let mut more = true;
        while let Some(feed) = feed.as_mut().filter(|feed| more && feed.has_room()) {
            more = feed.drain(&mut lost.undecoded);
        }
        let mut way = Way { feed: feed.as_mut(), core, questions, shown, presenter: *presenter, lost, cut_ns: *cut_ns };
        // Bounded, so that signals and timers have their turn under a flood.
        let mut rest = true;
        for _ in 0..8 {
            // At the start the line is as long as the snapshot takes, and the ring must not fill up while it is
            // applied.
            if !line.takes_more(!*taken_over || unreconciled.is_some()) {
                break;
            }
            let count = ring.drain(|bytes| {
                if !*taken_over || !line.is_empty() || way.tell(bytes).is_pending() {
                    line.push(bytes);
                }
            });
            rest = Ring::is_full_batch(count);
            if !rest || way.shown.is_full() {
                break;
            }
        }
        self.tell_waiting(Some(now_ns).filter(|_| !rest));
        rest
    }

    /// Applies the records that wait for an answer which has come. The ring has no record older than `until`.
    fn tell_waiting(&mut self, until: Option<u64>) {
        self.blocked = false;
        let Self { core, presenter, shown, line, lost, feed, questions, taken_over, cut_ns, .. } = self;
        self.more = false;
        if !*taken_over {
            return;
        }
        let mut way = Way { feed: feed.as_mut(), core, questions, shown, presenter: *presenter, lost, cut_ns: *cut_ns };
        let (mut told, mut waits) = (0, false);
        while let Some(bytes) = line.front() {
            if told == TOLD_AT_ONCE {
                self.more = true;
                break;
            }
            if way.tell(bytes).is_pending() {
                waits = true;
                break;
            }
            line.pop();
            told += 1;
        }
        if line.is_empty() && until.is_some() {
            waits = way.release(until).is_pending();
        }
        if waits {
            line.look_ahead(ASKED_AHEAD, |bytes| {
                if let Ok(record) = decode(bytes) {
                    way.questions.ask_ahead(&record, way.core);
                }
            });
        } else if line.is_empty() {
            way.questions.none_waits();
        }
        if let Some(left) = &mut self.unreconciled {
            *left = left.saturating_sub(told);
            if *left == 0 || line.is_empty() {
                self.unreconciled = None;
                way.core.apply(Input::Reconciled, &mut Nowhere);
                // Loading and the first look at /proc took memory that will not be needed again.
                line.give_back();
                allocator::give_back();
            }
        }
        self.blocked = waits;
    }

    /// Whether a record waits for an answer.
    pub(super) const fn waits(&self) -> bool {
        self.blocked
    }
}

/// A sink for inputs without events.
pub struct Nowhere;

impl Sink for Nowhere {
    fn event(&mut self, _: &Event<'_>) {}
}
