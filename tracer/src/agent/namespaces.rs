//! The thread that may enter network namespaces, and read the rules there. Only it keeps the rights for
//! that (`CAP_SYS_ADMIN`, `CAP_NET_ADMIN`); it is started while the agent still has them to give.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use crate::privilege::{Duty, Sandbox, capabilities};

type Job = Box<dyn FnOnce() + Send>;

/// Does one job after another. Ends when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    jobs: Sender<Job>,
}

impl Namespaces {
    /// Starts it.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(sandbox: Sandbox) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        thread::Builder::new().name("tables".to_owned()).spawn(move || {
            sandbox.confine(Duty::Namespaces, capabilities::ENTER_AND_READ);
            work(&queue);
        })?;
        Ok(Self { jobs })
    }

    /// Has `job` done, some time. It is dropped if the thread is no more.
    pub fn give(&self, job: impl FnOnce() + Send + 'static) {
        // Whoever waits for what the job would have sent learns by its channel.
        let _ = self.jobs.send(Box::new(job));
    }
}

fn work(queue: &Receiver<Job>) {
    for job in queue {
        // One that panics has told so, and is not to take the next ones with it.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
