//! The agent: drains the ring into the core, answers the core's questions from /proc, and ends
//! cleanly whatever ends it.

use std::{collections::HashSet, io, process::ExitStatus, time::Duration};

use anyhow::Context as _;
use log::{debug, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracer_common::{
    counter::Counter,
    decode::{Record, decode},
    drops::TOLD_OF_A_KIND,
    record::RecordKind,
};

mod acceptors;
mod namespaces;
mod tables;

use self::{acceptors::Acceptors, namespaces::Namespaces, tables::Reading};
use crate::{
    backlog::Backlog,
    clock,
    command::session::PacketSession,
    core::{Core, Input, Seed},
    feed::PacketFeed,
    filter::Filter,
    findings::Facts,
    kernel::{
        audit::{Accounts, Received},
        backend::Hook,
        cost::{self, ProgramCost},
        debug_log::DebugLog,
        load::{Counters, Kernel},
        ring::{Fill, Ring},
    },
    present::{
        queue::Gauge,
        summary::{Incomplete, Tally},
    },
    privilege::{Duty, Sandbox, capabilities},
    proc::{netns, root::ProcRoot},
    shown::Shown,
    snapshot::{self, Snapshot},
    stream::{Event, Finding, Sink},
};

/// How long the connections of a command that has ended may take to close, and what explains the last
/// drops to be read.
const LINGER: Duration = Duration::from_millis(500);
/// Records that are told between two looks at the ring, while there is a backlog.
const TOLD_AT_ONCE: usize = 2048;
/// How often, and after which time, the audit is looked at once more.
const LAST_LOOKS: u32 = 20;
const LAST_LOOK: Duration = Duration::from_millis(5);

/// Takes the stream and can tell how that went.
pub trait Presenter: Sink {
    /// Hands on what is buffered.
    fn flush(&mut self);
    /// It is time to show how things are ([`Limits::refresh`]).
    fn refresh(&mut self) {}
    /// It has what it wants.
    fn is_full(&self) -> bool {
        false
    }
    /// How much waits to be written, if that may become much.
    fn gauge(&self) -> Option<Gauge> {
        None
    }
    /// The first error of writing.
    fn error(&self) -> Option<&io::Error>;
}

/// When to stop by itself, and what else depends on the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// After this time.
    pub duration: Option<Duration>,
    /// After this many events.
    pub count: Option<u64>,
    /// Every so often the presenter is told, once everything is counted that came before.
    pub refresh: Option<Duration>,
}

/// Why the trace ended.
#[derive(Debug)]
pub enum Stop {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The time is over.
    Duration,
    /// Enough events were printed.
    Count,
    /// The output does not take any more.
    Output(io::Error),
    /// The command of `tracer run` ended.
    Command(ExitStatus),
}

/// The parts of a trace.
pub struct Agent<'p> {
    kernel: Kernel,
    ring: Ring,
    core: Core<Filter>,
    presenter: &'p mut dyn Presenter,
    outlet: Outlet,
    /// Dropped, repeated and reset packets; `None` if nobody wants them.
    feed: Option<PacketFeed>,
    shown: Shown,
    root: ProcRoot,
    limits: Limits,
    /// SIGINT, SIGTERM, SIGHUP.
    signals: [Signal; 3],
    /// Records that wait for the snapshot; `None` once it was taken over.
    backlog: Option<Backlog>,
    sandbox: Sandbox,
    namespaces: Namespaces,
    acceptors: Acceptors,
    reading: Reading,
    debug_log: Option<DebugLog>,
    /// When the hooks were attached, `CLOCK_BOOTTIME` ns.
    attached_ns: u64,
    known: Counters,
    /// Drops that are lost because nobody knows whether the filter wants them.
    unplaced: u64,
    lost: Lost,
}

/// What was lost, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Lifecycle records.
    pub lifecycle: u64,
    /// Process records.
    pub process: u64,
    /// Dropped packets of which nothing is known.
    pub drop: u64,
    /// Retransmissions and resets.
    pub segment: u64,
    /// Runs of a program that the kernel skipped.
    pub missed: u64,
    /// Records that could not be understood.
    pub undecoded: u64,
}

impl Lost {
    /// By their names in the stream.
    #[must_use]
    pub const fn classes(&self) -> [(&'static str, u64); 6] {
        [
            ("lifecycle", self.lifecycle),
            ("process", self.process),
            ("drop", self.drop),
            ("segment", self.segment),
            ("missed", self.missed),
            ("undecoded", self.undecoded),
        ]
    }

    /// Whether anything was.
    #[must_use]
    pub fn any(&self) -> bool {
        self.classes().iter().any(|(_, count)| *count > 0)
    }
}

/// What is left when a trace has ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended.
    pub stop: Stop,
    /// What was shown.
    pub tally: Tally,
    /// What follows from it.
    pub findings: Vec<Finding>,
    /// What was lost.
    pub lost: Lost,
    /// Sockets of which not everything was seen.
    pub incomplete: Incomplete,
    /// Events kept out by filters, in the kernel and here.
    pub filtered: u64,
    /// Costs of the programs.
    pub programs: Vec<ProgramCost>,
    /// What the audit found, if there was one.
    pub accounts: Option<Accounts>,
    /// How full each ring was, by its name, and how many records it gave.
    pub rings: Vec<(&'static str, Fill, u64)>,
    /// When it ended, `CLOCK_BOOTTIME` ns.
    pub end_ns: u64,
}

/// Whether the snapshot includes the sockets that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeding {
    /// Every process and every socket.
    Everything,
    /// Processes only: what is traced starts later.
    ProcessesOnly,
}

/// /proc as it was before the hooks were attached, read while they were loaded: it names processes
/// and owners of connections that end in the very first moments.
#[derive(Debug)]
pub struct Earlier {
    seeding: Seeding,
    sandbox: Sandbox,
    thread: std::thread::JoinHandle<Snapshot>,
}

impl Earlier {
    /// Starts reading.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(root: &ProcRoot, seeding: Seeding, sandbox: Sandbox) -> anyhow::Result<Self> {
        let root = root.clone();
        let thread = std::thread::Builder::new()
            .name("earlier".to_owned())
            .spawn(move || {
                sandbox.confine(Duty::Beginning, capabilities::BEGIN);
                snapshot::take(&root, seeding == Seeding::Everything)
            })
            .context("cannot start a thread")?;
        Ok(Self { seeding, sandbox, thread })
    }
}

/// Before and after the hooks were attached.
#[derive(Debug, Default)]
struct Pictures {
    before: Snapshot,
    after: Snapshot,
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

impl<'p> Agent<'p> {
    /// Takes over a loaded kernel side, and from now on the signals that end a trace. Call inside the
    /// runtime.
    ///
    /// # Errors
    /// If the ring cannot be polled, or a signal not be caught.
    pub fn new(
        mut kernel: Kernel,
        sandbox: Sandbox,
        packets: Option<PacketSession>,
        filter: Filter,
        root: ProcRoot,
        limits: Limits,
        presenter: &'p mut dyn Presenter,
    ) -> anyhow::Result<Self> {
        let ring = kernel.ring()?;
        let debug_log = kernel.debug_log()?;
        let attached_ns = kernel.started_ns;
        let mut core = Core::new(filter.clone());
        core.apply(Input::Hooked { accept: kernel.backend(Hook::Accept).is_some() }, &mut Nowhere);
        let feed = match packets {
            Some(PacketSession { reasons, symbols, stacks }) => {
                let drops = kernel.backend(Hook::Drop).is_some();
                core.apply(Input::Packets { reasons, drops }, &mut Nowhere);
                let stacks = if stacks { Some(kernel.stacks()?) } else { None };
                Some(PacketFeed::new(kernel.drops_ring()?, kernel.folds()?, symbols, stacks))
            }
            None => None,
        };
        Ok(Self {
            kernel,
            ring,
            feed,
            shown: Shown::new(filter, limits.count),
            core,
            outlet: Outlet(presenter.gauge()),
            presenter,
            root,
            limits,
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
            backlog: Some(Backlog::default()),
            sandbox,
            namespaces: Namespaces::start(sandbox).context("cannot start a thread")?,
            acceptors: Acceptors::default(),
            reading: Reading::default(),
            debug_log,
            attached_ns,
            known: Counters::default(),
            unplaced: 0,
            lost: Lost::default(),
        })
    }

    /// Traces until something ends it.
    ///
    /// # Errors
    /// If the ring fails.
    pub async fn run(mut self, earlier: Earlier, mut command: Option<Command<'_>>) -> anyhow::Result<Outcome> {
        let mut snapshot = Some(self.start_snapshot(earlier)?);
        go_first();
        self.give_up_privileges(command.as_ref().map(|command| command.pid));
        let deadline = self.limits.duration.map(|duration| Instant::now() + duration);
        let mut look = interval(Duration::from_secs(1));
        // After a stop (SIGSTOP, a frozen control group) one look makes up for all that were missed.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refresh = self.limits.refresh.map(interval);
        if let Some(refresh) = &mut refresh {
            refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let forwarding = command.is_some();
        let stop = loop {
            tokio::select! {
                ready = self.ring.ready(), if self.backlog.as_ref().is_none_or(Backlog::has_room) && self.outlet.has_room() => {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                ready = async { match &mut self.feed { Some(feed) => feed.ready().await, None => std::future::pending().await } },
                    if self.feed.as_ref().is_some_and(PacketFeed::has_room) && self.outlet.has_room() =>
                {
                    ready.context("cannot poll the BPF ring buffer")?;
                    self.drain();
                }
                () = self.outlet.room(), if !self.outlet.has_room() => self.drain(),
                taken = async { match &mut snapshot { Some(taken) => taken.await, None => std::future::pending().await } } => {
                    snapshot = None;
                    self.take_over(taken.unwrap_or_default());
                }
                found = self.acceptors.found() => {
                    // Ends that came before the look must not be taken for what it has found.
                    self.drain();
                    self.acceptors.tell(found, &mut self.core);
                }
                read = self.reading.done(self.core.waits_for_tables()) => {
                    self.reading.tell(read, &mut self.core, &mut self.shown.sink(self.presenter));
                }
                passed = async { match &mut self.debug_log { Some(log) => log.pass_on().await, None => std::future::pending().await } } => {
                    passed.context("cannot poll the kernel side's debug log")?;
                }
                _ = look.tick() => {
                    self.look_for_losses();
                    self.shown.set_facts(facts(&self.root));
                    self.drain();
                }
                _ = async { match &mut refresh { Some(refresh) => refresh.tick().await, None => std::future::pending().await } } => {
                    self.look_for_losses();
                    self.drain();
                    self.presenter.refresh();
                }
                // `run` passes them on to its command, and ends when that does.
                () = any_of(&mut self.signals), if !forwarding => break Stop::Signal,
                () = async { match deadline { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                    break Stop::Duration;
                }
                status = async { match &mut command { Some(command) => (&mut command.end).await, None => std::future::pending().await } } => {
                    break Stop::Command(status.context("cannot wait for the command")?);
                }
            }
            self.acceptors.look(&mut self.core, &self.root, &self.namespaces);
            self.reading.start(&self.core, &self.root, &self.namespaces);
            self.presenter.flush();
            if self.shown.is_full() || self.presenter.is_full() {
                break Stop::Count;
            }
            if let Some(error) = self.presenter.error() {
                break Stop::Output(copy_of(error));
            }
        };
        debug!("stopping: {stop:?}");
        if let Some(taken) = snapshot {
            self.take_over(taken.await.unwrap_or_default());
        }
        if matches!(stop, Stop::Command(_)) {
            self.linger().await?;
        }
        // First: what is taken over after this counts as missed rather than not at all.
        let taken_over = self.kernel.counters().map_or(0, |counters| counters.get(Counter::TakenOver));
        let mut programs = self.kernel.detach_packets();
        programs.extend(self.kernel.costs());
        self.lost.missed = cost::missed(&programs, taken_over);
        if !self.shown.is_full() && self.presenter.error().is_none() {
            self.explain_last_drops().await;
        }
        Ok(self.finish(stop, programs))
    }

    /// Everything is attached, and every thread that needs more than this one is started.
    fn give_up_privileges(&self, command: Option<u32>) {
        if self.sandbox == Sandbox::Off {
            return;
        }
        let kept = capabilities::for_agent(command.is_some(), &self.kernel);
        debug!("kept: {}", capabilities::names(kept));
        self.sandbox.confine(Duty::Agent { command }, kept);
    }

    /// The last drops may wait for what explains them: give them a moment.
    async fn explain_last_drops(&mut self) {
        let deadline = Instant::now() + LINGER;
        self.look_for_losses();
        self.drain();
        while self.core.waits_for_tables() {
            self.reading.hurry();
            self.reading.start(&self.core, &self.root, &self.namespaces);
            tokio::select! {
                read = self.reading.done(false) => {
                    self.reading.tell(read, &mut self.core, &mut self.shown.sink(self.presenter));
                }
                () = sleep_until(deadline) => return,
            }
            self.drain();
        }
    }

    /// The command is gone, its last connections are just being closed: give them a moment, so that
    /// they are not said to be open.
    async fn linger(&mut self) -> anyhow::Result<()> {
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

    /// /proc is read in a thread of its own: the ring is drained meanwhile.
    fn start_snapshot(&self, earlier: Earlier) -> anyhow::Result<oneshot::Receiver<Pictures>> {
        let (send, receive) = oneshot::channel();
        let root = self.root.clone();
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                earlier.sandbox.confine(Duty::Beginning, capabilities::BEGIN);
                let after = snapshot::take(&root, earlier.seeding == Seeding::Everything);
                let before = earlier.thread.join().unwrap_or_default();
                // The receiver is gone if the trace ended first.
                let _ = send.send(Pictures { before, after });
            })
            .context("cannot start a thread")?;
        Ok(receive)
    }

    /// Drains one wake-up's worth.
    fn drain(&mut self) {
        if !self.outlet.has_room() {
            return;
        }
        let Self { ring, core, presenter, shown, root, backlog, lost, feed, .. } = self;
        // Packets first: whatever connection they belong to is recorded by then.
        let mut more = true;
        while let Some(feed) = feed.as_mut().filter(|feed| more && feed.has_room()) {
            more = feed.drain(&mut lost.undecoded);
        }
        // Bounded, so that signals and timers have their turn under a flood.
        let mut rest = true;
        for _ in 0..8 {
            let count = ring.drain(|bytes| match backlog {
                Some(backlog) => backlog.push(bytes),
                None => {
                    let sink = &mut shown.sink(*presenter);
                    release_before(bytes, feed.as_mut(), core, root, sink, &mut lost.undecoded);
                    take(bytes, core, root, sink, lost);
                }
            });
            rest = Ring::is_full_batch(count);
            if !rest || shown.is_full() {
                break;
            }
        }
        if let Some(feed) = feed.as_mut().filter(|_| !rest && backlog.is_none()) {
            feed.release(None, core, root, &mut shown.sink(*presenter));
        }
    }

    /// The snapshot is there: first what existed, then what has happened since.
    fn take_over(&mut self, Pictures { before, after }: Pictures) {
        let Some(mut backlog) = self.backlog.take() else { return };
        // Reading them took longer than any call that was under way when the hooks were attached.
        if let Err(error) = self.kernel.settle() {
            warn!("{error}");
        }
        // Whatever the snapshot has seen of new connections was recorded before it was seen.
        while Ring::is_full_batch(self.ring.drain(|bytes| backlog.push(bytes))) && backlog.has_room() {}
        for gap in &after.gaps {
            warn!("{gap}");
        }
        let Self { ring, core, presenter, shown, root, lost, attached_ns, feed, .. } = self;
        let mut sink = shown.sink(*presenter);
        // The later picture of a process counts, unless it has executed something meanwhile: then the
        // earlier one does, and the records tell the rest. It also tells of those that are gone.
        let executed = backlog.executed();
        let earlier: HashSet<u32> = before.processes.iter().map(|process| process.pid).collect();
        let later = after
            .processes
            .into_iter()
            .filter(|process| !(executed.contains(&process.pid) && earlier.contains(&process.pid)));
        for process in before.processes.into_iter().chain(later) {
            core.apply(Input::Process(process), &mut sink);
        }
        let seed = Seed {
            attached_ns: *attached_ns,
            before: before.sockets,
            sockets: after.sockets,
            opened_since: backlog.opened(),
        };
        core.apply(Input::Seed(seed), &mut sink);
        let mut place = 0;
        while backlog.hand_out(&mut place, TOLD_AT_ONCE, |bytes| {
            release_before(bytes, feed.as_mut(), core, root, &mut sink, &mut lost.undecoded);
            take(bytes, core, root, &mut sink, lost);
        }) {
            // On a busy host it is long: the ring must not fill up while it is told.
            if backlog.has_room() {
                ring.drain(|bytes| backlog.push(bytes));
            }
        }
        core.apply(Input::Reconciled, &mut sink);
        give_back_memory();
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
            feed.sweep(counters.get(Counter::FoldedDrop));
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

    fn tell_unplaced(&mut self, boot_ns: u64) {
        let count = self.core.unplaced_drops() - self.unplaced;
        self.unplaced += count;
        self.lost.drop += count;
        self.lose(boot_ns, "drop", count);
    }

    fn lose(&mut self, boot_ns: u64, class: &'static str, count: u64) {
        if count > 0 {
            let mut sink = self.shown.sink(self.presenter);
            self.core.apply(Input::Lost { boot_ns, class, count }, &mut sink);
        }
    }

    /// All that the rings have.
    fn drain_to_the_end(&mut self) {
        let Self { ring, core, presenter, shown, root, lost, feed, .. } = self;
        while feed.as_mut().is_some_and(|feed| feed.drain(&mut lost.undecoded)) {}
        for _ in 0..64 {
            let count = ring.drain(|bytes| {
                let sink = &mut shown.sink(*presenter);
                release_before(bytes, feed.as_mut(), core, root, sink, &mut lost.undecoded);
                take(bytes, core, root, sink, lost);
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
    fn finish(mut self, stop: Stop, programs: Vec<ProgramCost>) -> Outcome {
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
                stacks_missing: self.known.get(Counter::StacksMissing),
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

/// Waits for one of these signals. Cancel safe.
async fn any_of([first, second, third]: &mut [Signal; 3]) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
        _ = third.recv() => {}
    }
}

/// Packets that were told of before the record in `bytes`. Of a connection that closes all are there
/// by then, in their own ring.
fn release_before(
    bytes: &[u8],
    feed: Option<&mut PacketFeed>,
    core: &mut Core<Filter>,
    root: &ProcRoot,
    sink: &mut dyn Sink,
    undecoded: &mut u64,
) {
    let Some(feed) = feed else { return };
    let closes = bytes.first() == Some(&(RecordKind::Close as u8));
    if closes && feed.has_room() {
        feed.drain(undecoded);
    }
    if !closes && !feed.is_waiting() {
        return;
    }
    let Ok(record) = decode(bytes) else { return };
    let until = Some(record.boot_ns());
    feed.release(until, core, root, sink);
    // The kernel side may still be counting its last ones.
    if let Record::Close(close) = record
        && core.drops_of(close.socket.state.id) >= TOLD_OF_A_KIND
    {
        feed.sweep_for_close();
        feed.release(until, core, root, sink);
    }
}

/// One record from the ring into the core, after what /proc can add.
fn take(bytes: &[u8], core: &mut Core<Filter>, root: &ProcRoot, sink: &mut dyn Sink, lost: &mut Lost) {
    let record = match decode(bytes) {
        Ok(record) => record,
        Err(error) => {
            debug!("{error}");
            lost.undecoded += 1;
            return;
        }
    };
    if let Some((pid, start_ns)) = core.wants(&record) {
        let process = snapshot::process_snapshot(root, pid).filter(|process| process.is_about(start_ns));
        // Without a start in the record every look is a first one.
        let settled = process.is_none() || start_ns != 0;
        if let Some(process) = process {
            core.apply(Input::Process(process), &mut Nowhere);
        }
        if settled {
            core.apply(Input::NoProcess(pid, start_ns), &mut Nowhere);
        }
    }
    if let Record::Fork(_) | Record::Exec(_) | Record::Exit(_) = record {
        core.apply(Input::Record(record), &mut Nowhere);
    } else {
        core.apply(Input::Record(record), sink);
    }
}

/// The limits of this host's own namespace.
fn facts(root: &ProcRoot) -> Facts {
    Facts::read(root.path(), netns::current(root))
}

/// Loading and the first look at /proc took memory that will not be needed again.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// On a host whose CPUs are all busy this thread may wait longer for one than the ring has room for.
/// It needs little, but it needs it in time. This thread only: its helpers, and the command of
/// `tracer run`, were started before.
fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, -15) {
        debug!("cannot raise the priority: {error}");
    }
}

/// Where the presenter writes to. While it is full everything stays in the rings.
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

/// For inputs that say nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn event(&mut self, _: &Event<'_>) {}
}

/// An `io::Error` cannot be cloned.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
