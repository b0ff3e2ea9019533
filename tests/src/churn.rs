//! Connections in large numbers, and the account of their events.

use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::generator::traffic;
use crate::netns::Netns;

/// The kinds of events that a churn causes.
const KINDS: [&str; 5] = ["listen", "connect", "established", "accept", "close"];

/// Makes `connections` connections in `netns`, one after another, in four threads; returns the generator's report.
///
/// # Panics
/// If it fails.
pub fn churn(netns: &Netns, connections: usize) -> Value {
    said(start(netns, connections, 4, None))
}

/// Starts to make `connections` connections in `netns` in `threads` threads; the generator writes each to `facts`
/// ([`crate::traffic::churn::facts`]).
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn start(netns: &Netns, connections: usize, threads: usize, facts: Option<&Path>) -> Child {
    let mut churn = traffic(netns);
    churn.args(["churn", "--connections", &connections.to_string(), "--threads", &threads.to_string()]);
    if let Some(path) = facts {
        churn.arg("--facts").arg(path);
    }
    churn.stdout(Stdio::piped()).spawn().expect("the churn starts")
}

/// The report of a generator that has ended.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn said(generator: Child) -> Value {
    let out = generator.wait_with_output().expect("the generator ends");
    assert!(out.status.success(), "the generator does what it should");
    serde_json::from_slice(&out.stdout).expect("the generator says what it did")
}

/// Connections that come and go until the generator is ended.
#[derive(Debug)]
pub struct Endless(Option<Child>);

impl Endless {
    /// Starts `threads` threads in `netns` with `args`; the generator writes each connection to `facts`
    /// ([`crate::traffic::churn::facts`]).
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(netns: &Netns, threads: usize, args: &[&str], facts: Option<&Path>) -> Self {
        let mut churn = traffic(netns);
        churn.args(["churn", "--threads", &threads.to_string()]).args(args);
        if let Some(path) = facts {
            churn.arg("--facts").arg(path);
        }
        churn.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(Some(churn.spawn().expect("the churn starts")))
    }

    /// The number of its process, which is the client's.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.as_ref().expect("it runs").id()
    }

    /// Ends it; returns its report.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn end(mut self) -> Value {
        let mut child = self.0.take().expect("it ends once");
        drop(child.stdin.take());
        said(child)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // No effect if it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The number of lifecycle events of a churn with `connections` connections.
#[must_use]
pub const fn happened(connections: usize) -> u64 {
    6 * connections as u64 + 2
}

/// The lifecycle events among `events`. Leaves out a close that the tracer makes up at its end, for a socket whose own
/// was lost.
pub fn delivered<'a>(events: impl IntoIterator<Item = &'a Value>) -> u64 {
    let is = |event: &&Value| {
        KINDS.iter().any(|kind| event["event"] == *kind)
            && event["verdict"] != "open_at_end"
            && event["incomplete"] != true
    };
    events.into_iter().filter(is).count() as u64
}
