//! The course of a trace: drains the rings into the core, has the core's questions answered, and ends cleanly, whatever
//! the reason.

use std::{collections::HashSet, io, process::ExitStatus, time::Duration};

use anyhow::Context as _;
use log::{debug, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tracer_common::counter::Counter;

mod account;
mod backlog;
mod beginning;
mod counters;
mod dispatch;
mod ending;
mod errand;
mod facts;
mod feed;
mod inlet;
mod merge;
mod names;
mod namespaces;
mod opened;
mod outcome;
mod owners;
mod ports;
mod questions;
pub mod queue;
mod records;
mod rehearsal;
pub mod snapshot;
mod tables;
mod tape;

pub use self::{
    beginning::{Earlier, Seeding},
    feed::PacketSession,
    opened::Opened,
    outcome::{Outcome, Stop},
    rehearsal::Rehearsal,
};
use self::{
    counters::Counters as KernelCounters,
    dispatch::{Arrived, Dispatch},
    feed::PacketFeed,
    inlet::Inlet,
    merge::Merge,
    names::Names,
    namespaces::Namespaces,
};
use crate::{
    clock,
    core::{Input, Lost, discards::Counting, question::Topic},
    filter::Filter,
    kernel::{
        backend::{Degradation, Hook},
        cost,
        debug_log::DebugLog,
        load::{Counters, Kernel},
        ring::Ring,
    },
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
    stream::Sink,
    trace::queue::Gauge,
};

/// A sink that can report errors and fill levels.
pub trait Presenter: Sink {
    /// Passes on buffered output.
    fn flush(&mut self);
    /// Shows the current state ([`Limits::refresh`]).
    fn refresh(&mut self) {}
    /// Whether it needs no more events.
    fn is_full(&self) -> bool {
        false
    }
    /// The amount of output that waits to be written, if that may grow.
    fn gauge(&self) -> Option<Gauge> {
        None
    }
    /// The first write error.
    fn error(&self) -> Option<&io::Error>;
}

/// When to stop, and other settings that depend on time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// After this time.
    pub duration: Option<Duration>,
    /// After this many events.
    pub count: Option<u64>,
    /// Do not watch the kernel's counters of discards.
    pub no_counters: bool,
    /// Interval at which the presenter is refreshed, once everything before it is counted.
    pub refresh: Option<Duration>,
}

/// The longest time that a trace may take to end, whatever it would like to wait for.
const END: Duration = Duration::from_millis(700);

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

/// The command of `tracer run`.
pub struct Command<'f> {
    /// Its process.
    pub pid: u32,
    /// Passes signals on to it, and ends when it does.
    pub end: std::pin::Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + 'f>>,
}

impl std::fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl<'p> Trace<'p> {
    /// Takes over a loaded kernel side, and from now on the signals that end a trace. Call inside the runtime.
    ///
    /// # Errors
    /// If the ring cannot be polled, or a signal cannot be caught.
    pub fn new(
        opened: Opened,
        earlier: Earlier,
        filter: Filter,
        root: ProcRoot,
        limits: Limits,
        presenter: &'p mut dyn Presenter,
    ) -> anyhow::Result<Self> {
        let Opened { mut kernel, degradations, packets, opened_ns } = opened;
        let sandbox = earlier.sandbox;
        let mut inlet = Inlet::new(filter.apart(), limits.count, presenter);
        let ring = kernel.ring()?;
        let debug_log = kernel.debug_log()?;
        let attached_ns = kernel.started_ns;
        let counters = if filter.wants_counters() && !limits.no_counters {
            let drops = packets.is_some() && kernel.backend(Hook::Drop).is_some();
            let accepts = kernel.backend(Hook::Accept).is_some() && filter.wants_every_connection();
            inlet.apply(Input::Counting(Counting { drops, accepts, began_ns: attached_ns }));
            Some(KernelCounters::start(&root, &filter, sandbox).context("cannot start a thread")?)
        } else {
            None
        };
        inlet.apply(Input::Hooked { accept: kernel.backend(Hook::Accept).is_some() });
        let namespaces = Namespaces::start(sandbox).context("cannot start a thread")?;
        let names = Names::start(&filter, sandbox).context("cannot start a thread")?;
        let feed = match packets {
            Some(PacketSession { reasons, symbols, stacks }) => {
                let drops = kernel.backend(Hook::Drop).is_some();
                inlet.apply(Input::Packets { reasons, drops });
                let stacks = if stacks { Some(kernel.stacks()?) } else { None };
                Some(PacketFeed::new(kernel.drops_ring()?, kernel.folds()?, symbols, stacks))
            }
            None => None,
        };
        Ok(Self {
            kernel,
            ring,
            feed,
            outlet: Outlet(inlet.gauge()),
            inlet,
            dispatch: Dispatch::new(root.clone(), earlier.readers.clone(), namespaces, counters),
            root,
            limits,
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
            merge: Merge::default(),
            taken_over: false,
            unreconciled: None,
            cut_ns: None,
            followed: None,
            blocked: false,
            more: false,
            sandbox,
            earlier: Some(earlier),
            names,
            debug_log,
            attached_ns,
            known: Counters::default(),
            unplaced: 0,
            lost: Lost::default(),
            degradations,
            opened_ns,
        })
    }

    /// Traces until a limit, a signal or an error ends it.
    ///
    /// # Errors
    /// If the ring fails.
    pub async fn run(mut self, mut command: Option<Command<'_>>) -> anyhow::Result<Outcome> {
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
                ready = self.ring.ready(), if self.merge.line.takes_more(self.starts()) && self.outlet.has_room() => {
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
        // The end is bounded, whatever hangs.
        let end = Instant::now() + END;
        if let Some(taken) = snapshot {
            self.take_over(timeout_at(end, taken).await.ok().and_then(Result::ok).unwrap_or_default());
        }
        if matches!(stop, Stop::Command(_)) {
            self.linger(end).await?;
        }
        let patience = if matches!(stop, Stop::Command(_)) { ending::LINGER } else { ending::SHORT_LINGER };
        let soon = Instant::now() + patience;
        let wants_more = !self.inlet.core().is_full() && self.inlet.error().is_none();
        if wants_more {
            let last = end.min(Instant::now() + ending::LAST_COUNTERS.max(patience));
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
            let soon = soon.max(Instant::now() + ending::LAST_HINTS);
            self.explain_last_drops(end.min(soon)).await;
        }
        Ok(self.finish(stop, programs, end).await)
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

    fn look_for_losses(&mut self) {
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
    fn settle_counters(&mut self) {
        // Until the records from before the snapshot are applied, all owners are unknown.
        if self.dispatch.counts() && self.taken_over && self.unreconciled.is_none() {
            self.inlet.apply(Input::Settled);
            self.dispatch.watch_namespaces(&mut self.inlet);
        }
    }

    fn tell_unplaced(&mut self, boot_ns: u64) {
        let count = self.inlet.core().unplaced_drops() - self.unplaced;
        self.unplaced += count;
        self.lost.drop += count;
        self.lose(boot_ns, "drop", count);
    }

    fn lose(&mut self, boot_ns: u64, class: &'static str, count: u64) {
        if count > 0 {
            self.inlet.apply(Input::Lost { boot_ns, class, count });
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
