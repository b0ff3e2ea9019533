//! The beginning: what exists already, read beside the records that come meanwhile.

use std::collections::HashSet;

use anyhow::Context as _;
use log::warn;
use tokio::sync::oneshot;

use super::{Agent, Nowhere};
use crate::{
    core::{Input, Seed},
    kernel::ring::Ring,
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
    readers::Readers,
    snapshot::{self, Snapshot},
};

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
    pub(super) sandbox: Sandbox,
    /// For the trace, too.
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

/// Before and after the hooks were attached.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    before: Snapshot,
    after: Snapshot,
}

impl Agent<'_> {
    /// /proc is read in a thread of its own: the ring is drained meanwhile.
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

    /// The snapshot is there: first what existed, then what has happened since.
    pub(super) fn take_over(&mut self, Pictures { before, after }: Pictures) {
        if std::mem::replace(&mut self.taken_over, true) {
            return;
        }
        // Reading them took longer than any call that was under way when the hooks were attached.
        if let Err(error) = self.kernel.settle() {
            warn!("{error}");
        }
        let Self { ring, core, presenter, shown, line, attached_ns, .. } = self;
        // Whatever the snapshot has seen of new connections was recorded before it was seen.
        while Ring::is_full_batch(ring.drain(|bytes| line.push(bytes))) && line.has_room() {}
        for gap in &after.gaps {
            warn!("{gap}");
        }
        // The later picture of a process counts, unless it has executed something meanwhile: then the
        // earlier one does, and the records tell the rest. It also tells of those that are gone.
        let executed = line.executed();
        let earlier: HashSet<u32> = before.processes.iter().map(|process| process.pid).collect();
        let later = after
            .processes
            .into_iter()
            .filter(|process| !(executed.contains(&process.pid) && earlier.contains(&process.pid)));
        for process in before.processes.into_iter().chain(later) {
            core.apply(Input::Process(process), &mut Nowhere);
        }
        let seed = Seed {
            attached_ns: *attached_ns,
            before: before.sockets,
            sockets: after.sockets,
            opened_since: line.opened(),
        };
        core.apply(Input::Seed(seed), &mut shown.sink(*presenter));
        self.unreconciled = Some(line.count());
    }
}
