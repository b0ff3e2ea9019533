//! The end: what is still under way, what was lost, what is still open.

use std::time::Duration;

use anyhow::Context as _;
use log::warn;
use tokio::time::{Instant, sleep_until};
use tracer_common::counter::Counter;

use super::{Agent, Outcome, Stop, records::tell};
use crate::{
    clock,
    core::Input,
    feed::PacketFeed,
    kernel::{
        audit::{Accounts, Received},
        cost::ProgramCost,
        ring::{Fill, Ring},
    },
    present::summary::Incomplete,
};

/// How long the connections of a command that has ended may take to close, and what explains the last
/// drops to be read.
pub(super) const LINGER: Duration = Duration::from_millis(500);
/// The same of the last drops, where a signal has asked for the end.
pub(super) const SHORT_LINGER: Duration = Duration::from_millis(150);
/// How often, and after which time, the audit is looked at once more.
const LAST_LOOKS: u32 = 20;
const LAST_LOOK: Duration = Duration::from_millis(5);

impl Agent<'_> {
    /// The last drops may wait for what explains them: give them a moment, less of it to who wants to end.
    pub(super) async fn explain_last_drops(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.look_for_losses();
        self.drain();
        while self.core.waits_for_hints() {
            self.reading.hurry();
            self.reading.start(&self.core, &self.root, &self.namespaces);
            tokio::select! {
                found = self.reading.done(false) => {
                    self.reading.tell(found, &mut self.core, &mut self.shown.sink(self.presenter));
                }
                () = sleep_until(deadline) => break,
            }
            self.drain();
        }
        self.reading.end();
    }

    /// The command is gone, its last connections are just being closed: give them a moment, so that
    /// they are not said to be open.
    pub(super) async fn linger(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LINGER;
        loop {
            self.drain();
            if self.core.open_connections() == 0 {
                return Ok(());
            }
            tokio::select! {
                ready = self.ring.ready() => ready.context("cannot poll the BPF ring buffer")?,
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    /// All that the rings have.
    fn drain_to_the_end(&mut self) {
        let Self { ring, core, presenter, shown, root, lost, feed, .. } = self;
        while feed.as_mut().is_some_and(|feed| feed.drain(&mut lost.undecoded)) {}
        for _ in 0..64 {
            let count = ring.drain(|bytes| {
                let sink = &mut shown.sink(*presenter);
                tell(bytes, feed.as_mut(), core, root, sink, lost);
            });
            if !Ring::is_full_batch(count) {
                break;
            }
        }
    }

    /// What the audit has found. Programs that were at work when they were detached may have a moment
    /// still.
    fn accounts(&mut self) -> Option<Accounts> {
        for _ in 0..LAST_LOOKS {
            let accounts = self.look_at_accounts()?;
            if accounts.is_exact() {
                return Some(accounts);
            }
            std::thread::sleep(LAST_LOOK);
            self.drain_to_the_end();
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

    /// How full each ring was.
    fn fills(&self) -> Vec<(&'static str, Fill, u64)> {
        let drops = self.feed.as_ref().map(|feed| ("drops", feed.fill(), feed.received().0));
        [("events", self.ring.fill(), self.ring.received())].into_iter().chain(drops).collect()
    }

    /// What is still in the ring, what was lost, what is still open.
    pub(super) fn finish(mut self, stop: Stop, programs: Vec<ProgramCost>) -> Outcome {
        self.drain_to_the_end();
        self.look_for_losses();
        let accounts = self.accounts();
        if let Some(log) = &mut self.debug_log {
            log.flush();
        }
        if let Some(feed) = &mut self.feed {
            feed.release(None, &mut self.core, &self.root, &mut self.shown.sink(self.presenter));
        }
        // Later than all that was told: what is open is open at the end of its own events, too.
        let end_ns = clock::boot_ns();
        self.tell_unplaced(end_ns);
        self.lose(end_ns, "missed", self.lost.missed);
        self.lose(end_ns, "undecoded", self.lost.undecoded);
        let followed = (self.lost.lifecycle > 0)
            .then(|| self.kernel.followed())
            .and_then(|followed| followed.inspect_err(|error| warn!("{error}")).ok());
        self.core.apply(Input::End { boot_ns: end_ns, followed }, &mut self.shown.sink(self.presenter));
        self.presenter.flush();
        Outcome {
            stop,
            lost: self.lost,
            incomplete: Incomplete {
                sockets_untracked: self.known.get(Counter::SocketsUntracked),
                closes_recovered: self.known.get(Counter::ClosesRecovered),
                connects_unnoted: self.known.get(Counter::ConnectsUnnoted),
                stacks_missing: self.known.get(Counter::StacksMissing),
                findings_untold: self.shown.findings_untold(),
                hints_given_up: self.core.hints_given_up(),
            },
            filtered: self.core.filtered() + self.shown.hidden() + self.known.get(Counter::Filtered),
            programs,
            accounts,
            rings: self.fills(),
            findings: self.shown.findings(),
            tally: self.shown.into_tally(),
            end_ns,
        }
    }
}
