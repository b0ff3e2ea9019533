//! The thread that may enter network namespaces and read their rules. Only it keeps the capabilities for that
//! (`CAP_SYS_ADMIN`, `CAP_NET_ADMIN`); it is started while the agent still has them.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use crate::privilege::{Duty, Sandbox, capabilities};

type Job = Box<dyn FnOnce() + Send>;

/// Runs one job after another. Ends when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    jobs: Sender<Job>,
}

impl Namespaces {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(sandbox: Sandbox) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        thread::Builder::new().name("tables".to_owned()).spawn(move || {
            sandbox.confine(Duty::Tables, capabilities::ENTER_AND_READ);
            work(&queue);
        })?;
        Ok(Self { jobs })
    }

    /// Queues `job`. Drops it if the thread is gone.
    pub fn give(&self, job: impl FnOnce() + Send + 'static) {
        // The caller learns of a dropped job by its channel.
        let _ = self.jobs.send(Box::new(job));
    }
}

fn work(queue: &Receiver<Job>) {
    for job in queue {
        // A panic has been reported, and must not affect later jobs.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
