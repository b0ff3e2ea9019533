//! A thread that may enter network namespaces. It keeps the capabilities for that, and is started while the agent still
//! has them.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use rustix::thread::CapabilitySet;

use crate::privilege::{Duty, Sandbox};

type Job = Box<dyn FnOnce() + Send>;

/// Runs one job after another. Ends when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    jobs: Sender<Job>,
}

impl Namespaces {
    /// Starts the thread `name`, which keeps the rights to its duty.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, sandbox: Sandbox, duty: Duty, kept: CapabilitySet) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            sandbox.confine(duty, kept);
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
