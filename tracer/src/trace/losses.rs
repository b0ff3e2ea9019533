//! What the kernel side counts: losses, folds, and the time of a look at the counters.

use log::warn;
use tracer_common::counter::Counter;

use super::Trace;
use crate::{clock, core::Input};

impl Trace<'_> {
    /// Runs once a second, and at the end.
    pub(super) fn look_for_losses(&mut self) {
        // The record of a 32-bit program's start may be lost, or filtered.
        self.kernel.wake_compat();
        let counters = match self.kernel.counters() {
            Ok(counters) => counters,
            Err(error) => {
                warn!("{error}");
                return;
            }
        };
        let boot_ns = clock::boot_ns();
        if let Some(feed) = &mut self.feed {
            feed.sweep(counters.get(Counter::FoldedDrop), &mut self.merge.packets);
        }
        for (counter, class) in [
            (Counter::LostLifecycle, "lifecycle"),
            (Counter::LostProcess, "process"),
            (Counter::LostDrop, "drop"),
            (Counter::LostSegment, "segment"),
        ] {
            let count = counters.get(counter) - self.known.get(counter);
            self.lose(boot_ns, class, count);
        }
        self.tell_unplaced(boot_ns);
        self.lost.lifecycle = counters.get(Counter::LostLifecycle);
        self.lost.process = counters.get(Counter::LostProcess);
        self.lost.drop = counters.get(Counter::LostDrop) + self.unplaced;
        self.lost.segment = counters.get(Counter::LostSegment);
        self.known = counters;
    }

    /// Runs once a second, when the folds of that second have come, too.
    pub(super) fn settle_counters(&mut self) {
        // The core subtracts drop events from a look two settlements later. Packets that wait for longer than that, for
        // names of their calls or for a slow reader, would count twice.
        let delayed = !self.outlet.has_room() || self.waits() && self.dispatch.names_due().is_some();
        // Until the records from before the snapshot are applied, all owners are unknown.
        if self.dispatch.counts() && self.taken_over && self.unreconciled.is_none() && !delayed {
            self.inlet.apply(Input::Settled);
            self.dispatch.watch_namespaces(&mut self.inlet);
        }
    }

    pub(super) fn tell_unplaced(&mut self, boot_ns: u64) {
        let count = self.inlet.core().unplaced_drops() - self.unplaced;
        self.unplaced += count;
        self.lost.drop += count;
        self.lose(boot_ns, "drop", count);
    }

    pub(super) fn lose(&mut self, boot_ns: u64, class: &'static str, count: u64) {
        if count > 0 {
            self.inlet.apply(Input::Lost { boot_ns, class, count });
        }
    }
}
