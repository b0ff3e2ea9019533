//! The course of a trace: drains the rings into the core, has the core's questions answered, and ends cleanly, whatever
//! the reason.

use std::{collections::HashSet, io, time::Duration};

use anyhow::Context as _;
use log::debug;
use tokio::{
    signal::unix::Signal,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

mod account;
mod backlog;
mod banner;
mod beginning;
mod counters;
mod course;
mod dispatch;
mod ending;
mod errand;
mod facts;
mod feed;
mod inlet;
mod losses;
mod merge;
mod names;
mod namespaces;
mod naming;
pub mod open;
mod outcome;
mod output;
mod owners;
mod plan;
mod ports;
mod questions;
pub mod queue;
mod records;
mod rehearsal;
pub mod running;
pub mod snapshot;
pub mod survey;
mod tables;
mod tape;

pub use self::{
    beginning::{Earlier, Seeding},
    course::{Command, Course, Limits, Ready, runtime},
    feed::PacketSession,
    open::{Asks, Opened},
    outcome::{Outcome, Stop},
    output::{Ended, Output, Presenter},
    rehearsal::Rehearsal,
    tape::Witness,
};
use self::{
    dispatch::{Arrived, Dispatch},
    feed::PacketFeed,
    inlet::Inlet,
    merge::Merge,
    names::Names,
    queue::Gauge,
};
use crate::{
    core::{Input, Lost, question::Topic},
    kernel::{
        backend::Degradation,
        debug_log::DebugLog,
        load::{Counters, Kernel},
        ring::Ring,
    },
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
};

/// The parts of a trace.
pub struct Trace<'p> {
    kernel: Kernel,
    ring: Ring,
    inlet: Inlet<'p>,
    outlet: Outlet,
    /// Dropped, retransmitted and reset packets; `None` if unwanted.
    feed: Option<PacketFeed>,
    root: ProcRoot,
    limits: Limits,
    /// SIGINT, SIGTERM, SIGHUP.
    signals: [Signal; 3],
    /// The records that wait: for the snapshot, and later for answers.
    merge: Merge,
    /// The core has the snapshot.
    taken_over: bool,
    /// Number of records that have waited since then; `None`: all are applied.
    unreconciled: Option<usize>,
    /// See [`records`].
    cut_ns: Option<u64>,
    /// The connections that the kernel side followed at the cut, if needed.
    followed: Option<HashSet<u64>>,
    /// A record waits for an answer.
    blocked: bool,
    /// More records can be applied at once.
    more: bool,
    dispatch: Dispatch,
    sandbox: Sandbox,
    earlier: Option<Earlier>,
    names: Names,
    debug_log: Option<DebugLog>,
    /// When the hooks were attached, `CLOCK_BOOTTIME` ns.
    attached_ns: u64,
    known: Counters,
    /// Drops that are lost because it is unknown whether the filter wants them.
    unplaced: u64,
    lost: Lost,
    /// The missing features.
    degradations: Vec<Degradation>,
    /// When the kernel side was open, `CLOCK_BOOTTIME` ns.
    opened_ns: u64,
}

impl Trace<'_> {
    /// Traces until a limit, a signal or an error ends it.
    ///
    /// # Errors
    /// If the ring fails.
    pub async fn run(mut self, mut command: Option<Command>) -> anyhow::Result<Outcome> {
        let mut snapshot = self.start_snapshot()?;
        go_first();
        self.give_up_privileges(command.as_ref().map(|command| command.pid));
        let deadline = self.limits.duration.map(|duration| Instant::now() + duration);
        let mut look = interval(Duration::from_secs(1));
        // After a stop (SIGSTOP, a frozen control group) one look makes up for all missed ones.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refresh = self.limits.refresh.map(interval);
        if let Some(refresh) = &mut refresh {
            refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let forwarding = command.is_some();
        let stop = loop {
            tokio::select! {
                ready = self.ring.ready(), if self.merge.lifecycle.takes_more(self.starts()) && self.outlet.has_room() => {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                ready = async { match &mut self.feed { Some(feed) => feed.ready().await, None => std::future::pending().await } },
                    if self.merge.packets.has_room() && self.outlet.has_room() =>
                {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                () = self.outlet.room(), if !self.outlet.has_room() => self.drain(),
                taken = async { match &mut snapshot { Some(taken) => taken.await, None => std::future::pending().await } } => {
                    snapshot = None;
                    self.take_over(taken.unwrap_or_default());
                    self.drain();
                }
                arrived = self.dispatch.arrived(&self.inlet) => self.take(arrived),
                () = std::future::ready(()), if self.more && self.outlet.has_room() => self.drain(),
                change = self.names.changed() => {
                    // Earlier records are judged by the name's former namespace.
                    self.drain();
                    self.inlet.apply(Input::Namespace(change));
                    let fresh = self.names.follow(change, &mut self.kernel);
                    self.dispatch.search(fresh.into_iter().collect());
                }
                passed = async { match &mut self.debug_log { Some(log) => log.pass_on().await, None => std::future::pending().await } } => {
                    passed.context("cannot poll the kernel side's debug log")?;
                }
                _ = look.tick() => {
                    self.look_for_losses();
                    self.dispatch.ask_each_second(&mut self.inlet);
                    self.drain();
                    self.settle_counters();
                    self.inlet.diagnose();
                }
                _ = async { match &mut refresh { Some(refresh) => refresh.tick().await, None => std::future::pending().await } } => {
                    self.look_for_losses();
                    self.drain();
                    self.inlet.presenter().refresh();
                }
                // `run` passes signals on to its command, and ends when that does.
                () = any_of(&mut self.signals), if !forwarding => break Stop::Signal,
                () = async { match deadline { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                    break Stop::Duration;
                }
                status = async { match &mut command { Some(command) => (&mut command.end).await, None => std::future::pending().await } } => {
                    break Stop::Command(status.context("cannot wait for the command")?);
                }
            }
            self.dispatch.ask(&mut self.inlet);
            self.inlet.presenter().flush();
            if self.inlet.is_full() {
                break Stop::Count;
            }
            if let Some(error) = self.inlet.error() {
                break Stop::Output(copy_of(error));
            }
        };
        debug!("stopping: {stop:?}");
        self.end(stop, snapshot).await
    }

    /// Gives up privileges once every hook is attached and every thread that needs them has started.
    fn give_up_privileges(&self, command: Option<u32>) {
        if self.sandbox == Sandbox::Off {
            return;
        }
        let kept = capabilities::for_agent(command.is_some(), || self.kernel.counters().is_ok());
        debug!("kept: {}", capabilities::names(kept));
        self.sandbox.confine(Duty::Agent { command }, kept);
    }

    /// Whether records from before the snapshot are still unapplied.
    const fn starts(&self) -> bool {
        !self.taken_over || self.unreconciled.is_some()
    }

    /// Takes what has come from another thread.
    fn take(&mut self, arrived: Arrived) {
        // A close that came before a look must not be credited with its result.
        if let Arrived::Done(Topic::Owners, _) = arrived {
            self.drain();
        }
        let replied = matches!(arrived, Arrived::Reply(_));
        self.dispatch.take(arrived, &mut self.inlet);
        if replied {
            self.drain();
        }
    }
}

/// Waits for one of these signals. Cancel safe.
async fn any_of([first, second, third]: &mut [Signal; 3]) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
        _ = third.recv() => {}
    }
}

/// Raises this thread's priority. On a host with all CPUs busy it may wait longer for a CPU than the ring has room for.
/// It needs little time, but needs it promptly. Only this thread: its helpers, and the command of `tracer run`, were
/// started before.
fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, -15) {
        debug!("cannot raise the priority: {error}");
    }
}

/// The presenter's output. While it is full everything stays in the rings.
struct Outlet(Option<Gauge>);

impl Outlet {
    fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(Gauge::has_room)
    }

    /// Cancel safe.
    async fn room(&self) {
        if let Some(gauge) = &self.0 {
            gauge.room().await;
        }
    }
}

/// An `io::Error` cannot be cloned.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
