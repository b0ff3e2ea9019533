//! The end: records under way, losses, open connections.

use std::{collections::HashSet, future::pending, pin::pin, time::Duration};

use anyhow::Context as _;
use log::warn;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracer_common::{counter::Counter, decode::Record, record::RecordKind};

use super::{Outcome, Stop, Trace, beginning::Pictures, dispatch::Arrived, feed::PacketFeed};
use crate::{
    clock,
    core::{Input, question::Topic},
    kernel::{
        audit::{Accounts, Received},
        cost::{self, ProgramCost},
        detach::Detaching,
    },
};

/// How long the connections of an ended command may take to close, and then the last look at the counters, and the
/// hints of the last drops.
const LINGER: Duration = Duration::from_millis(500);
/// The same for the last look and the last drops after any other end: after Ctrl-C the user waits.
const SHORT_LINGER: Duration = Duration::from_millis(120);
/// How long the last look may take where every processor is busy: it takes a few milliseconds of work.
const LAST_COUNTERS: Duration = Duration::from_millis(300);
/// How long the hints may take, however long the look took.
const LAST_HINTS: Duration = Duration::from_millis(50);
/// How long the last survey of the host may take.
const LAST_SURVEY: Duration = Duration::from_secs(1);
/// How often, and after which time, the audit is read once more.
const LAST_LOOKS: u32 = 20;
const LAST_LOOK: Duration = Duration::from_millis(5);
/// The most drains of the rings at the end.
const LAST_DRAINS: usize = 256;

/// The longest time that a trace may take to end, whatever it would like to wait for; but for names in the kernel, which
/// take work and never hang (`naming::MOST_WAITED`).
const END: Duration = Duration::from_millis(700);

impl Trace<'_> {
    /// Ends the trace; `snapshot`: of the existing sockets, if it is still to come.
    pub(super) async fn end(
        mut self,
        stop: Stop,
        snapshot: Option<oneshot::Receiver<Pictures>>,
    ) -> anyhow::Result<Outcome> {
        // The end is bounded, whatever hangs.
        let end = Instant::now() + END;
        if let Some(taken) = snapshot {
            self.take_over(timeout_at(end, taken).await.ok().and_then(Result::ok).unwrap_or_default());
        }
        let end = if self.wants_more() { end + self.wait_for_names().await } else { end };
        if matches!(stop, Stop::Command(_)) {
            self.linger(end).await?;
        }
        let end = end + self.survey_again().await?;
        let patience = if matches!(stop, Stop::Command(_)) { LINGER } else { SHORT_LINGER };
        let soon = Instant::now() + patience;
        let wants_more = self.wants_more();
        if wants_more {
            let last = end.min(Instant::now() + LAST_COUNTERS.max(patience));
            self.look_at_counters_again(last).await?;
        }
        // First: what is taken over after this counts as missed rather than not at all.
        let [declined, taken_over] = self
            .kernel
            .counters()
            .map_or([0; 2], |counters| [Counter::Declined, Counter::TakenOver].map(|counter| counters.get(counter)));
        self.cut();
        let mut programs = self.kernel.detach_packets();
        programs.extend(self.kernel.costs());
        let programs = cost::by_first_lane(programs);
        self.lost.missed = cost::missed(&programs, declined, taken_over).saturating_sub(self.kernel.missed_before);
        if wants_more {
            let soon = soon.max(Instant::now() + LAST_HINTS);
            self.explain_last_drops(end.min(soon)).await;
        }
        Ok(self.finish(stop, programs, end).await)
    }

    /// Whether more events can be shown.
    fn wants_more(&self) -> bool {
        !self.inlet.core().is_full() && self.inlet.error().is_none()
    }

    /// Waits for the names that drops wait for, because only what the core has can have hints. Reading the kernel's
    /// symbols cannot hang. Returns how long that took.
    async fn wait_for_names(&mut self) -> Duration {
        let began = Instant::now();
        self.drain();
        while let Some(until) = self.dispatch.names_due().filter(|_| self.waits()) {
            tokio::select! {
                arrived = self.dispatch.replied() => self.take(arrived),
                () = sleep_until(until) => break,
            }
        }
        began.elapsed()
    }

    /// Looks at the kernel's counters once more, until `deadline`, while the rest of the trace goes on: discards that
    /// they count before the drop hooks are gone have drop events, too.
    async fn look_at_counters_again(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let Some(mut counters) = self.dispatch.take_counters() else { return Ok(()) };
        let mut last = pin!(counters.last(deadline));
        loop {
            self.dispatch.hurry();
            self.dispatch.ask(&mut self.inlet);
            tokio::select! {
                looks = &mut last => {
                    self.take(Arrived::Looks(looks));
                    return Ok(());
                }
                arrived = self.dispatch.arrived(&self.inlet) => self.take(arrived),
                ready = self.ring.ready(), if self.outlet.has_room() => {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                ready = async { match &mut self.feed { Some(feed) => feed.ready().await, None => pending().await } },
                    if self.merge.packets.has_room() && self.outlet.has_room() =>
                {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
            }
        }
    }

    /// Surveys the host once more, if causes are wanted, while the rest of the trace goes on: they are drawn from it.
    /// Returns how long that took.
    async fn survey_again(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let deadline = began + LAST_SURVEY;
        // One that is under way is older.
        let mut wanted = if self.dispatch.surveys() { 2 - u32::from(!self.dispatch.is_surveying()) } else { 0 };
        while wanted > 0 {
            self.dispatch.hurry_survey();
            self.dispatch.ask(&mut self.inlet);
            tokio::select! {
                arrived = self.dispatch.arrived(&self.inlet) => {
                    wanted -= u32::from(matches!(arrived, Arrived::Done(Topic::Survey, Some(_))));
                    self.take(arrived);
                }
                ready = self.ring.ready(), if self.outlet.has_room() => {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                ready = async { match &mut self.feed { Some(feed) => feed.ready().await, None => pending().await } },
                    if self.merge.packets.has_room() && self.outlet.has_room() =>
                {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                () = sleep_until(deadline) => break,
            }
        }
        Ok(began.elapsed())
    }

    /// Waits until `deadline` for the hints of the last drops, and for the holders of ports. The time that the last
    /// drops wait for names is not part of it.
    async fn explain_last_drops(&mut self, mut deadline: Instant) {
        self.look_for_losses();
        self.drain();
        loop {
            // A drop that waits for a name has no question yet.
            let named = self.dispatch.names_due().filter(|_| self.waits());
            if named.is_none() && !self.inlet.core().waits() {
                break;
            }
            self.dispatch.hurry();
            self.dispatch.ask(&mut self.inlet);
            let began = Instant::now();
            tokio::select! {
                arrived = self.dispatch.arrived(&self.inlet) => self.take(arrived),
                () = sleep_until(named.unwrap_or(deadline)) => break,
            }
            if named.is_some() {
                deadline += began.elapsed();
            }
            self.drain();
        }
        self.dispatch.end_hints();
    }

    /// Gives the last connections of the ended command a moment to close, so that they are not reported as open.
    async fn linger(&mut self, end: Instant) -> anyhow::Result<()> {
        let deadline = end.min(Instant::now() + LINGER);
        loop {
            self.drain();
            if self.inlet.core().open_connections() == 0 && !self.waits() {
                return Ok(());
            }
            tokio::select! {
                ready = self.ring.ready() => ready.context("cannot poll the BPF ring buffer")?,
                arrived = self.dispatch.replied() => self.take(arrived),
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    /// Cuts the trace off now if all hooks are about to be detached, one after the other, which takes a while.
    fn cut(&mut self) {
        if !self.kernel.is_audited() {
            return;
        }
        self.cut_ns = Some(clock::boot_ns());
        self.look_for_losses();
        self.followed = self.still_followed();
    }

    /// The connections that the kernel side follows, if records of the lifecycle were lost.
    fn still_followed(&self) -> Option<HashSet<u64>> {
        if self.lost.lifecycle == 0 {
            return None;
        }
        self.kernel.followed().inspect_err(|error| warn!("{error}")).ok()
    }

    /// Applies all that the rings have and all waiting records, which may wait for answers until `end`.
    async fn drain_to_the_end(&mut self, end: Instant) {
        let (mut over, mut drains) = (false, 0);
        // Bounded: records may come all the time. Answers are not counted: after `end` only names are waited for, and
        // the kernel has so many calls and stacks.
        while drains < LAST_DRAINS {
            let rest = self.drain_anyway();
            if !self.waits() {
                if rest || self.more || !self.merge.packets.is_empty() {
                    drains += 1;
                    continue;
                }
                return;
            }
            tokio::select! {
                arrived = self.dispatch.replied() => self.take(arrived),
                () = sleep_until(end), if !over => {
                    self.dispatch.end();
                    over = true;
                }
            }
        }
    }

    /// The audit's result. Programs that were running when they were detached may need a moment.
    async fn accounts(&mut self, end: Instant) -> Option<Accounts> {
        for _ in 0..LAST_LOOKS {
            let accounts = self.look_at_accounts()?;
            if accounts.is_exact() {
                return Some(accounts);
            }
            sleep(LAST_LOOK).await;
            self.drain_to_the_end(end).await;
            self.look_for_losses();
        }
        self.look_at_accounts()
    }

    fn look_at_accounts(&self) -> Option<Accounts> {
        let (drops, folded) = self.feed.as_ref().map_or((0, 0), PacketFeed::received);
        let received = Received { events: self.ring.received(), drops, folded };
        self.kernel.accounts(received).unwrap_or_else(|error| {
            warn!("{error}");
            None
        })
    }

    /// Emits the accept() failures since the last such event of each listener.
    fn tell_accept_failures(&mut self) {
        let failures = self.kernel.accept_failures().unwrap_or_else(|error| {
            warn!("{error}");
            Vec::new()
        });
        for failure in &failures {
            let record = Record::Socket(RecordKind::AcceptFailed, failure);
            self.inlet.apply(Input::Record(record));
        }
    }

    /// Applies the rest of the ring, reports the losses, and closes all open connections.
    async fn finish(mut self, stop: Stop, programs: Vec<ProgramCost>, end: Instant) -> Outcome {
        self.drain_to_the_end(end).await;
        self.look_for_losses();
        let accounts = self.accounts(end).await;
        if let Some(log) = &mut self.debug_log {
            log.flush();
        }
        // Records from the last look at the folds.
        self.drain_to_the_end(end).await;
        self.tell_accept_failures();
        // Later than all emitted events: an open connection is still open after its own events.
        let end_ns = clock::boot_ns();
        self.tell_unplaced(end_ns);
        self.lose(end_ns, "missed", self.lost.missed);
        self.lose(end_ns, "undecoded", self.lost.undecoded);
        let followed = self.followed.take().or_else(|| self.still_followed());
        self.inlet.apply(Input::End { boot_ns: end_ns, followed });
        self.inlet.diagnose();
        self.inlet.presenter().flush();
        let account = self.account(end_ns, programs, accounts);
        self.inlet.apply(Input::Account(Box::new(account)));
        let (core, rehearsal) = self.inlet.into_parts();
        Outcome {
            stop,
            summary: core.into_summary(),
            lost: self.lost.any(),
            rehearsal,
            end_ns,
            detaching: Detaching::begin(self.kernel),
        }
    }
}
