//! Names of network namespaces that the filter asks for: another namespace may get one while the trace runs (a pod that
//! is restarted). A thread watches them; the loop changes the filter, here and in the kernel.

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use log::{debug, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    filter::{Filter, Host, Lookup as _, NamedNetns},
    kernel::load::Kernel,
    present::escape::Escaped,
    privilege::{Duty, Sandbox, capabilities},
};

/// Between two looks at the names, if nothing is mounted meanwhile: a path may lead elsewhere without that.
const LOOK: Duration = Duration::from_millis(250);
/// And at the least, whatever is mounted.
const PAUSE: Duration = Duration::from_millis(2);
/// After that long all that was recorded of a former namespace is told.
const FORGET: Duration = Duration::from_millis(250);

/// What happened to a name.
#[derive(Debug)]
pub enum Change {
    /// The name with this index is that of the namespace with this inode number; 0: of none.
    Now(usize, u32),
    /// What the name with this index was before is over.
    Forget(usize),
}

/// The names, and what comes from the thread that watches them.
#[derive(Debug)]
pub struct Names {
    named: Vec<NamedNetns>,
    changes: Option<UnboundedReceiver<Change>>,
    renewed: u64,
}

impl Names {
    /// Starts the thread, if there is something to watch.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(filter: &Filter, sandbox: Sandbox) -> io::Result<Self> {
        let named = filter.named_netns();
        if named.is_empty() {
            return Ok(Self { named, changes: None, renewed: 0 });
        }
        let (send, changes) = unbounded_channel();
        let watched = named.clone();
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            // The kernel marks this file whenever something is mounted: a namespace gets its name so.
            let mounts = File::open("/proc/self/mountinfo").ok();
            sandbox.confine(Duty::Looking, capabilities::LOOK);
            watch(&watched, mounts.as_ref(), &send);
        })?;
        Ok(Self { named, changes: Some(changes), renewed: 0 })
    }

    /// Waits for a change; for ever if nothing is watched. Cancel safe.
    pub async fn changed(&mut self) -> Change {
        match &mut self.changes {
            Some(changes) => match changes.recv().await {
                Some(change) => change,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Lets the filter follow. The inode number of a namespace that is new in it.
    pub fn follow(&mut self, change: &Change, kernel: &mut Kernel) -> Option<u32> {
        let (Change::Now(index, _) | Change::Forget(index)) = change;
        let named = self.named.get(*index)?;
        let name = Escaped(named.name().unwrap_or_default());
        let (fresh, former) = match *change {
            Change::Now(_, 0) => {
                warn!("the network namespace {name} is gone: nothing is told of it until there is one of that name");
                (None, named.becomes(0))
            }
            Change::Now(_, inode) => {
                // Where names are not wanted, the kernel side has none.
                if let Err(error) = kernel.add_netns(inode) {
                    warn!("{error}");
                }
                self.renewed += 1;
                warn!("the network namespace {name} is another one now, with number {inode}: that one is followed");
                (Some(inode), named.becomes(inode))
            }
            Change::Forget(_) => (None, named.forget_former()),
        };
        if let Some(former) = former
            && !self.named.iter().any(|other| other.inode() == former)
            && let Err(error) = kernel.remove_netns(former)
        {
            debug!("{error}");
        }
        fresh
    }

    /// How often that happened.
    pub const fn renewed(&self) -> u64 {
        self.renewed
    }
}

/// Looks until the other end is gone.
fn watch(named: &[NamedNetns], mounts: Option<&File>, tell: &UnboundedSender<Change>) {
    let host = Host::default();
    let mut known: Vec<u32> = named.iter().map(NamedNetns::inode).collect();
    // Those that have changed, and since when.
    let mut changed: Vec<(usize, Instant)> = Vec::new();
    while !tell.is_closed() {
        for (index, (named, known)) in named.iter().zip(&mut known).enumerate() {
            // What cannot be read now is as it was.
            let Ok(found) = host.netns(named.asked()) else { continue };
            let found = found.unwrap_or(0);
            if found != std::mem::replace(known, found) {
                // The receiver is gone if the trace has ended.
                let _ = tell.send(Change::Now(index, found));
                changed.retain(|(other, _)| *other != index);
                changed.push((index, Instant::now()));
            }
        }
        changed.retain(|(index, since)| {
            let keeps = since.elapsed() < FORGET;
            if !keeps {
                let _ = tell.send(Change::Forget(*index));
            }
            keeps
        });
        wait(mounts);
    }
}

/// Until something is mounted, or for long enough.
fn wait(mounts: Option<&File>) {
    let Some(mounts) = mounts else { return thread::sleep(LOOK) };
    thread::sleep(PAUSE);
    let timeout = Timespec::try_from(LOOK - PAUSE).ok();
    if let Err(error) = poll(&mut [PollFd::from_borrowed_fd(mounts.as_fd(), PollFlags::PRI)], timeout.as_ref()) {
        debug!("cannot wait for mounts: {error}");
        thread::sleep(LOOK);
    }
}
