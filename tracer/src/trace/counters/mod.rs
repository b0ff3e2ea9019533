//! Watches the kernel's counters of discards, in a thread of its own: at most one look a second, no message while
//! nothing changes, and nothing waits for it.

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
use tracer_tables::discards::Look;

use self::watcher::Watcher;
use crate::{
    filter::Filter,
    privilege::{Duty, Sandbox, capabilities},
    proc::root::ProcRoot,
};

/// How long the first look, which reads the initial values, may take.
const PATIENCE: Duration = Duration::from_millis(300);

/// A request to the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    /// These namespaces were seen and may be new.
    Search(Vec<u32>),
    /// Look once more, at all of them; then end.
    Last,
}

/// A message from the thread.
#[derive(Debug)]
enum Told {
    /// Counters changed.
    Looks(Vec<Look>),
    /// The last look is done.
    End,
}

/// The other end of the thread.
#[derive(Debug)]
pub struct Counters {
    asks: Sender<Ask>,
    told: UnboundedReceiver<Told>,
}

impl Counters {
    /// Starts the thread, and waits until it has the initial values, so that every later change is reported. Leaves out
    /// the namespaces that `filter` excludes.
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
                    // The receiver is gone if this took too long.
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

    /// Passes on namespaces that were seen and may be new.
    pub fn search(&self, seen: Vec<u32>) {
        // Without a thread the request has no effect.
        let _ = self.asks.send(Ask::Search(seen));
    }

    /// Waits for a change of counters; forever if the thread is gone. Cancel safe.
    pub async fn looked(&mut self) -> Vec<Look> {
        match self.told.recv().await {
            Some(Told::Looks(looks)) => looks,
            Some(Told::End) | None => std::future::pending().await,
        }
    }

    /// One more look, at everything; changes that come after `deadline` are left out.
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
