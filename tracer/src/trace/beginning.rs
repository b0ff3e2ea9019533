//! The beginning: the rings and the threads of a trace, and the existing processes and sockets, read while records
//! already come.

use std::collections::HashSet;

use anyhow::Context as _;
use log::warn;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{
    Limits, Opened, Outlet, PacketSession, Presenter, Trace, counters::Counters as KernelCounters, dispatch::Dispatch,
    feed::PacketFeed, inlet::Inlet, merge::Merge, names::Names, namespaces::Namespaces, naming::Sources,
    survey::Surveyor,
};
use crate::{
    core::{Input, Lost, Seed, discards::Counting},
    filter::Filter,
    kernel::{backend::Hook, load::Counters, ring::Ring},
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
    readers::Readers,
    snapshot::{self, Snapshot},
};

/// Whether the snapshot includes the existing sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeding {
    /// Every process and every socket.
    Everything,
    /// Processes only: the traced command starts later.
    ProcessesOnly,
}

/// /proc as it was before the hooks were attached, read while they were loaded: it names processes and owners of
/// connections that end in the very first moments.
#[derive(Debug)]
pub struct Earlier {
    seeding: Seeding,
    pub(super) sandbox: Sandbox,
    /// Shared with the trace.
    pub(super) readers: Readers,
    snapshot: std::sync::mpsc::Receiver<Snapshot>,
}

impl Earlier {
    /// Starts reading.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(root: &ProcRoot, seeding: Seeding, sandbox: Sandbox) -> anyhow::Result<Self> {
        let readers = Readers::start(sandbox).context("cannot start a thread")?;
        let (root, its) = (root.clone(), readers.clone());
        let (send, snapshot) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("earlier".to_owned())
            .spawn(move || {
                sandbox.confine(Duty::Beginning, capabilities::BEGIN);
                // The receiver is gone if the trace ended first.
                let _ = send.send(snapshot::take(&root, &its, seeding == Seeding::Everything));
            })
            .context("cannot start a thread")?;
        Ok(Self { seeding, sandbox, readers, snapshot })
    }
}

/// The snapshots before and after the hooks were attached.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    before: Snapshot,
    after: Snapshot,
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
        let surveyor = if limits.diagnose {
            inlet.apply(Input::Diagnosis { boot_ns: opened_ns });
            Some(Surveyor::start(sandbox).context("cannot start a thread")?)
        } else {
            None
        };
        inlet.apply(Input::Hooked { accept: kernel.backend(Hook::Accept).is_some() });
        let (duty, kept) = (Duty::Tables, capabilities::ENTER_AND_READ);
        let namespaces = Namespaces::start("tables", sandbox, duty, kept).context("cannot start a thread")?;
        let names = Names::start(&filter, sandbox).context("cannot start a thread")?;
        let (feed, sources) = match packets {
            Some(PacketSession { reasons, symbols, stacks }) => {
                let drops = kernel.backend(Hook::Drop).is_some();
                inlet.apply(Input::Packets { reasons, drops });
                let stacks = if stacks { Some(kernel.stacks()?) } else { None };
                (Some(PacketFeed::new(kernel.drops_ring()?, kernel.folds()?)), Some(Sources { symbols, stacks }))
            }
            None => (None, None),
        };
        Ok(Self {
            kernel,
            ring,
            feed,
            outlet: Outlet(inlet.gauge()),
            inlet,
            dispatch: Dispatch::new(root.clone(), earlier.readers.clone(), namespaces, surveyor, counters, sources),
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
}

impl Trace<'_> {
    /// Starts a thread that reads /proc, so that the ring is drained meanwhile.
    pub(super) fn start_snapshot(&mut self) -> anyhow::Result<Option<oneshot::Receiver<Pictures>>> {
        let Some(earlier) = self.earlier.take() else { return Ok(None) };
        let (send, receive) = oneshot::channel();
        let root = self.root.clone();
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                earlier.sandbox.confine(Duty::Beginning, capabilities::BEGIN);
                let after = snapshot::take(&root, &earlier.readers, earlier.seeding == Seeding::Everything);
                let before = earlier.snapshot.recv().unwrap_or_default();
                // The receiver is gone if the trace ended first.
                let _ = send.send(Pictures { before, after });
            })
            .context("cannot start a thread")?;
        Ok(Some(receive))
    }

    /// Takes the snapshot over: first the existing sockets, then the records since.
    pub(super) fn take_over(&mut self, Pictures { before, after }: Pictures) {
        if std::mem::replace(&mut self.taken_over, true) {
            return;
        }
        // Reading took longer than any call that was under way when the hooks were attached.
        if let Err(error) = self.kernel.settle() {
            warn!("{error}");
        }
        let Self { kernel, ring, inlet, merge, attached_ns, .. } = self;
        let lifecycle = &mut merge.lifecycle;
        // The record of each new connection in the snapshot precedes the snapshot's look at it.
        while Ring::is_full_batch(ring.drain(|bytes| lifecycle.push(bytes))) && lifecycle.has_room() {}
        kernel.wake_compat();
        for gap in &after.gaps {
            warn!("{gap}");
        }
        // The later snapshot of a process counts, unless it has executed a program meanwhile: then the earlier one
        // does, and the records add the rest. The earlier one also has the processes that have gone.
        let executed = lifecycle.executed();
        let earlier: HashSet<u32> = before.processes.iter().map(|process| process.pid).collect();
        let later = after
            .processes
            .into_iter()
            .filter(|process| !(executed.contains(&process.pid) && earlier.contains(&process.pid)));
        for process in before.processes.into_iter().chain(later) {
            inlet.apply(Input::Process(process));
        }
        let seed = Seed {
            attached_ns: *attached_ns,
            before: before.sockets,
            sockets: after.sockets,
            opened_since: lifecycle.opened(),
        };
        inlet.apply(Input::Seed(seed));
        self.unreconciled = Some(lifecycle.count());
    }
}
