//! Names of network namespaces in the filter: another namespace may get one while the trace runs (a pod is restarted).
//! A thread watches the names; the loop changes the filter, here and in the kernel.

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
    core::NamespaceChange,
    filter::{Filter, Host, Lookup as _, NamedNetns},
    kernel::load::Kernel,
    privilege::{Duty, Sandbox, capabilities},
    view::escape::Escaped,
};

/// Interval between looks at the names without a mount: a path may lead elsewhere without one.
const LOOK: Duration = Duration::from_millis(250);
/// The least interval, even with mounts.
const PAUSE: Duration = Duration::from_millis(2);
/// After this time all records of a former namespace have been emitted.
const FORGET: Duration = Duration::from_millis(250);

/// The names, and the channel from the thread that watches them.
#[derive(Debug)]
pub struct Names {
    named: Vec<NamedNetns>,
    changes: Option<UnboundedReceiver<NamespaceChange>>,
    renewed: u64,
}

impl Names {
    /// Starts the thread, if there is anything to watch.
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
            // The kernel signals every mount on this file, and a namespace gets its name by a mount.
            let mounts = File::open("/proc/self/mountinfo").ok();
            sandbox.confine(Duty::Looking, capabilities::LOOK);
            watch(&watched, mounts.as_ref(), &send);
        })?;
        Ok(Self { named, changes: Some(changes), renewed: 0 })
    }

    /// Waits for a change; for ever if nothing is watched. Cancel safe.
    pub async fn changed(&mut self) -> NamespaceChange {
        match &mut self.changes {
            Some(changes) => match changes.recv().await {
                Some(change) => change,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Updates the kernel's filter. Returns the inode number of a namespace that is new in it.
    pub fn follow(&mut self, change: NamespaceChange, kernel: &mut Kernel) -> Option<u32> {
        let (NamespaceChange::Now(index, _) | NamespaceChange::Forget(index)) = change;
        let named = self.named.get(index)?;
        let name = Escaped(named.name().unwrap_or_default());
        let (fresh, former) = match change {
            NamespaceChange::Now(_, 0) => {
                warn!("the network namespace {name} is gone: its events resume once a namespace has that name again");
                (None, named.becomes(0))
            }
            NamespaceChange::Now(_, inode) => {
                // If names are excluded, the kernel side has none.
                if let Err(error) = kernel.add_netns(inode) {
                    warn!("{error}");
                }
                self.renewed += 1;
                warn!("the network namespace {name} is another one now, with number {inode}: tracer follows that one");
                (Some(inode), named.becomes(inode))
            }
            NamespaceChange::Forget(_) => (None, named.forget_former()),
        };
        if let Some(former) = former
            && !self.named.iter().any(|other| other.inode() == former)
            && let Err(error) = kernel.remove_netns(former)
        {
            debug!("{error}");
        }
        fresh
    }

    /// The number of such changes.
    pub const fn renewed(&self) -> u64 {
        self.renewed
    }
}

/// Looks at the names until the other end is gone.
fn watch(named: &[NamedNetns], mounts: Option<&File>, tell: &UnboundedSender<NamespaceChange>) {
    let host = Host::default();
    let mut known: Vec<u32> = named.iter().map(NamedNetns::inode).collect();
    // Names that have changed, and when.
    let mut changed: Vec<(usize, Instant)> = Vec::new();
    while !tell.is_closed() {
        for (index, (named, known)) in named.iter().zip(&mut known).enumerate() {
            // An unreadable name counts as unchanged.
            let Ok(found) = host.netns(named.asked()) else { continue };
            let found = found.unwrap_or(0);
            if found != std::mem::replace(known, found) {
                // The receiver is gone if the trace has ended.
                let _ = tell.send(NamespaceChange::Now(index, found));
                changed.retain(|(other, _)| *other != index);
                changed.push((index, Instant::now()));
            }
        }
        changed.retain(|(index, since)| {
            let keeps = since.elapsed() < FORGET;
            if !keeps {
                let _ = tell.send(NamespaceChange::Forget(*index));
            }
            keeps
        });
        wait(mounts);
    }
}

/// Waits for a mount, or for the interval.
fn wait(mounts: Option<&File>) {
    let Some(mounts) = mounts else { return thread::sleep(LOOK) };
    thread::sleep(PAUSE);
    let timeout = Timespec::try_from(LOOK - PAUSE).ok();
    if let Err(error) = poll(&mut [PollFd::from_borrowed_fd(mounts.as_fd(), PollFlags::PRI)], timeout.as_ref()) {
        debug!("cannot wait for mounts: {error}");
        thread::sleep(LOOK);
    }
}
