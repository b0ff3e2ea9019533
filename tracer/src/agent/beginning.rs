//! The beginning: what exists already, read beside the records that come meanwhile.

use std::collections::HashSet;

use anyhow::Context as _;
use log::warn;
use tokio::sync::oneshot;

use super::{Agent, records::tell};
use crate::{
    allocator,
    core::{Input, Seed},
    kernel::ring::Ring,
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
    snapshot::{self, Snapshot},
};

/// Records that are told between two looks at the ring, while there is a backlog.
const TOLD_AT_ONCE: usize = 2048;

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
pub(super) struct Pictures {
    before: Snapshot,
    after: Snapshot,
}

impl Agent<'_> {
    /// /proc is read in a thread of its own: the ring is drained meanwhile.
    pub(super) fn start_snapshot(&self, earlier: Earlier) -> anyhow::Result<oneshot::Receiver<Pictures>> {
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

    /// The snapshot is there: first what existed, then what has happened since.
    pub(super) fn take_over(&mut self, Pictures { before, after }: Pictures) {
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
            tell(bytes, feed.as_mut(), core, root, &mut sink, lost);
        }) {
            // On a busy host it is long: the rings must not fill up while it is told.
            if backlog.has_room() {
                ring.drain(|bytes| backlog.push(bytes));
            }
            if let Some(feed) = feed.as_mut().filter(|feed| feed.has_room()) {
                feed.drain(&mut lost.undecoded);
            }
        }
        core.apply(Input::Reconciled, &mut sink);
        // Loading and the first look at /proc took memory that will not be needed again.
        allocator::give_back();
    }
}
