//! `cargo xtask soak`: connections and drops for a long time, with snapshots in parallel. The tracer must not grow,
//! must lose nothing, and must account for every call.

mod resources;
mod stream;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::resources::{Resources, Sample};
use self::stream::{Listener, Summary};
use self::traffic::{Churn, Snapshots, Storm};
use crate::bench::build_traffic;
use crate::netns::Netns;
use crate::tree::Tree;
use crate::{command, privilege, run};

/// Interval between output lines.
const REPORT: Duration = Duration::from_secs(10);
/// Interval between looks at the tracer's process.
const LOOK: Duration = Duration::from_millis(500);
/// How long the tracer may take to end.
const END: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub struct Args {
    /// Duration
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// The most connections a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// The most dropped packets a second
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    drops: u32,
    /// Seconds between two runs of `tracer sockets`
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    snapshots: u64,
    /// The programs, if they are built
    #[arg(long, hide = true, requires = "traffic")]
    tracer: Option<PathBuf>,
    #[arg(long, hide = true, requires = "tracer")]
    traffic: Option<PathBuf>,
}

impl Args {
    /// A soak of `minutes` with the default rates.
    #[must_use]
    pub fn of(minutes: u64, tracer: PathBuf, traffic: PathBuf) -> Self {
        Self { minutes, connections: 500, drops: 2000, snapshots: 2, tracer: Some(tracer), traffic: Some(traffic) }
    }
}

pub fn main(args: &Args) -> Result<()> {
    let (tracer, traffic) = match (&args.tracer, &args.traffic) {
        (Some(tracer), Some(traffic)) => (tracer.clone(), traffic.clone()),
        _ => {
            let tree = Tree::find()?;
            (run::build_tracer(&tree)?, build_traffic(&tree)?)
        }
    };
    if privilege::is_root() {
        return soak(args, &tracer, &traffic);
    }
    // The caller has built the programs; the rest needs root.
    let mut words = privilege::prefix()?.into_iter();
    let mut again = Command::new(words.next().context("root is reached by some program")?);
    again.args(words).arg(std::env::current_exe()?).arg("soak");
    for (name, value) in [
        ("--minutes", args.minutes),
        ("--connections", args.connections.into()),
        ("--drops", args.drops.into()),
        ("--snapshots", args.snapshots),
    ] {
        again.arg(name).arg(value.to_string());
    }
    command::run(again.arg("--tracer").arg(tracer).arg("--traffic").arg(traffic))
}

fn soak(args: &Args, tracer: &Path, traffic: &Path) -> Result<()> {
    let (calm, windy) = (Netns::new("soak-calm")?, Netns::new("soak-windy")?);
    let time = Duration::from_secs(args.minutes * 60);
    let mut traced = Traced::start(tracer, &calm)?;
    println!(
        "soak: {} min, at most {} connections and {} drops a second, a snapshot every {} s",
        args.minutes, args.connections, args.drops, args.snapshots
    );
    let churn = Churn::start(&calm, traffic, args.connections)?;
    let storm = Storm::start(&windy, traffic, args.drops, time)?;
    let snapshots = Snapshots::start(tracer, Duration::from_secs(args.snapshots))?;
    let mut resources = Resources::default();
    let begun = Instant::now();
    let mut reported = (Duration::ZERO, 0, 0);
    while begun.elapsed() < time {
        std::thread::sleep(LOOK);
        if let Some(status) = traced.child.try_wait()? {
            bail!("the tracer ended by itself ({status}); it said: {}", traced.listener.errors());
        }
        let sample = Sample::of(traced.child.id(), begun.elapsed())?;
        resources.add(sample);
        if begun.elapsed() >= reported.0 + REPORT {
            let said = traced.listener.said();
            let seconds = (sample.at - reported.0).as_secs_f64();
            println!(
                "{:>6.0} s  {:>6.0} connections/s  {:>6.0} drops/s  {:>6.1} MiB  {:>3} descriptors  {:>4} snapshots  {} lost",
                sample.at.as_secs_f64(),
                per_second(said.closed - reported.1, seconds) / 2.0,
                per_second(said.dropped - reported.2, seconds),
                sample.mebibytes(),
                sample.descriptors,
                snapshots.taken(),
                said.lost,
            );
            reported = (sample.at, said.closed, said.dropped);
        }
    }
    let snapshots = snapshots.end();
    let made = churn.end()?;
    let offered = storm.end()?;
    let summary = traced.stop()?;
    let mut wrong = resources.wrong();
    wrong.extend(summary.wrong(made, offered));
    wrong.extend(snapshots.wrong());
    resources.print();
    summary.print(made, offered);
    if !wrong.is_empty() {
        bail!("the soak does not hold: {}", wrong.join("; "));
    }
    println!("soak: everything holds");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a soak are far below 2^52")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// A tracer and its listener.
struct Traced {
    child: Child,
    listener: Listener,
}

impl Traced {
    fn start(tracer: &Path, calm: &Netns) -> Result<Self> {
        let mut child = Command::new(tracer)
            .args(["live", "--json", "--audit"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| tracer.display().to_string())?;
        let listener = Listener::start(&mut child, calm.inode()?)?;
        if !listener.is_ready() {
            let _ = child.wait();
            bail!("the tracer does not get ready; it said: {}", listener.errors());
        }
        Ok(Self { child, listener })
    }

    fn stop(&mut self) -> Result<Summary> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: our own child, not waited for yet.
        unsafe { libc::kill(pid, libc::SIGINT) };
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if asked.elapsed() > END {
                bail!("the tracer has not ended a minute after it was asked to");
            }
            std::thread::sleep(LOOK);
        };
        if !status.success() {
            bail!("the tracer ended with {status}; it said: {}", self.listener.errors());
        }
        self.listener.end()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // kill() does nothing to a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
