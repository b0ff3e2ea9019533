//! The traffic during a soak.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::netns::Netns;

/// Interval between checks for the end.
const LOOK: Duration = Duration::from_millis(50);
/// Number of destination ports of the datagrams: as many flows.
const FLOWS: &str = "20";

/// The output of a generator that has ended.
fn said(child: Child) -> Result<Value> {
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!("the traffic generator failed: {}", out.status);
    }
    serde_json::from_slice(&out.stdout).context("the traffic's facts")
}

/// Connections that come and go.
pub struct Churn(Child);

impl Churn {
    pub fn start(netns: &Netns, traffic: &Path, per_second: u32) -> Result<Self> {
        let mut command = netns.command(traffic);
        command.args(["churn", "--threads", "2", "--rate", &per_second.to_string()]);
        // It ends with its stdin.
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("ip")?))
    }

    /// Ends it; returns the number of connections.
    pub fn end(mut self) -> Result<u64> {
        drop(self.0.stdin.take());
        said(self.0)?["connections"].as_u64().context("the churn prints no number")
    }
}

/// Datagrams to closed ports.
pub struct Storm(Child);

impl Storm {
    pub fn start(netns: &Netns, traffic: &Path, per_second: u32, time: Duration) -> Result<Self> {
        let mut command = netns.command(traffic);
        let (rate, seconds) = (per_second.to_string(), time.as_secs().to_string());
        command.args(["storm", "--to", "127.0.0.1:9000", "--threads", "1", "--flows", FLOWS]);
        command.args(["--rate", &rate, "--seconds", &seconds]);
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("ip")?))
    }

    /// Waits for its end; returns the number of datagrams.
    pub fn end(self) -> Result<u64> {
        said(self.0)?["offered"].as_u64().context("the storm prints no number")
    }
}

/// `tracer sockets`, again and again.
pub struct Snapshots {
    over: Arc<AtomicBool>,
    taken: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<String>>>,
    thread: JoinHandle<()>,
}

impl Snapshots {
    pub fn start(tracer: &Path, every: Duration) -> Result<Self> {
        let (over, taken, failed) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<Mutex<Option<String>>>::default());
        let (ends, counts, fails) = (Arc::clone(&over), Arc::clone(&taken), Arc::clone(&failed));
        let tracer = tracer.to_owned();
        let thread = thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match Command::new(&tracer).args(["sockets", "--json"]).stderr(Stdio::null()).output() {
                    Ok(out) if out.status.success() && !out.stdout.is_empty() => {
                        _ = counts.fetch_add(1, Ordering::Relaxed)
                    }
                    Ok(out) => *fails.lock().unwrap_or_else(PoisonError::into_inner) = Some(out.status.to_string()),
                    Err(error) => *fails.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string()),
                }
                while begun.elapsed() < every && !ends.load(Ordering::Relaxed) {
                    thread::sleep(LOOK);
                }
            }
        })?;
        Ok(Self { over, taken, failed, thread })
    }

    /// The number of snapshots so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn end(self) -> Ended {
        self.over.store(true, Ordering::Relaxed);
        let panicked = self.thread.join().is_err().then(|| "their thread has ended".to_owned());
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ended { taken: self.taken.load(Ordering::Relaxed), failed: failed.or(panicked) }
    }
}

/// The snapshots of a soak that has ended.
pub struct Ended {
    taken: u64,
    failed: Option<String>,
}

impl Ended {
    /// A violation, in a sentence.
    pub fn wrong(&self) -> Option<String> {
        match &self.failed {
            Some(why) => Some(format!("a snapshot beside it failed: {why}")),
            None if self.taken == 0 => Some("no snapshot was taken beside it".to_owned()),
            None => None,
        }
    }
}
