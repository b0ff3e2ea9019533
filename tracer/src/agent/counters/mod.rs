//! Watches the kernel's counters of what it throws away, in a thread of its own: one look a second at the most,
//! nothing is handed on while nothing moves, and nobody waits for it.

mod namespace;
mod watcher;

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, timeout_at},
};

use self::watcher::Watcher;
use crate::{
    discards::Look,
    filter::Filter,
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
};

/// How long the first look may take, which says how things are.
const PATIENCE: Duration = Duration::from_millis(300);

/// What the thread is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    /// These namespaces were seen: it may not know them.
    Search(Vec<u32>),
    /// One more look, at all of them; then it ends.
    Last,
}

/// What it has found.
#[derive(Debug)]
enum Told {
    /// Something moved.
    Looks(Vec<Look>),
    /// That was the last look.
    End,
}

/// The other end of the thread.
#[derive(Debug)]
pub struct Counters {
    asks: Sender<Ask>,
    told: UnboundedReceiver<Told>,
}

impl Counters {
    /// Starts it, and waits until it knows what the counters are, so that all that moves from now on is told.
    /// Namespaces that `filter` leaves out are left out.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(root: &ProcRoot, filter: &Filter, sandbox: Sandbox) -> io::Result<Self> {
        let (asks, asked) = mpsc::channel();
        let (tell, told) = unbounded_channel();
        let (begin, begun) = mpsc::channel();
        let (root, wanted) = (root.clone(), filter.wanted_netns());
        thread::Builder::new().name("counters".to_owned()).spawn(move || {
            sandbox.confine(Duty::Namespaces, capabilities::ENTER);
            match Watcher::new(&root, wanted) {
                Ok(watcher) => {
                    // Nobody hears it if it took too long.
                    let _ = begin.send(());
                    watcher.watch(&asked, &tell);
                }
                Err(error) => log::warn!("the kernel's counters are not watched: {error}"),
            }
        })?;
        if begun.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the kernel's counters are watched from a moment later on: there is much to read");
        }
        Ok(Self { asks, told })
    }

    /// These namespaces were seen, which may be new.
    pub fn search(&self, seen: Vec<u32>) {
        // Without a thread there is nothing to look for.
        let _ = self.asks.send(Ask::Search(seen));
    }

    /// Waits for counters to move; for ever if the thread is no more. Cancel safe.
    pub async fn looked(&mut self) -> Vec<Look> {
        match self.told.recv().await {
            Some(Told::Looks(looks)) => looks,
            Some(Told::End) | None => std::future::pending().await,
        }
    }

    /// One look more, at everything; what it does not tell until `deadline` is not told.
    pub async fn last(&mut self, deadline: Instant) -> Vec<Look> {
        let mut looks = Vec::new();
        if self.asks.send(Ask::Last).is_err() {
            return looks;
        }
        let all = async {
            while let Some(Told::Looks(more)) = self.told.recv().await {
                looks.extend(more);
            }
        };
        if timeout_at(deadline, all).await.is_err() {
            log::warn!("the kernel's counters were not read in time at the end");
        }
        looks
    }
}
