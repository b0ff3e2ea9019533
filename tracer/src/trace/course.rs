//! The course of a trace, the same for every command: read /proc, open the kernel side, run, show the summary, detach.

use std::{io, pin::Pin, process::ExitStatus, time::Duration};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use super::{Asks, Earlier, Ended, Opened, Output, Seeding, Trace, banner::banner, open::open};
use crate::{
    filter::Filter,
    kernel::{backend::Hook, load::Kernel},
    proc::root::ProcRoot,
    stderr,
};

/// The description of a trace.
#[derive(Debug)]
pub struct Course {
    /// What is traced, in words.
    pub what: &'static str,
    /// No banner.
    pub quiet: bool,
    /// A banner without the hooks.
    pub brief: bool,
    /// Which connections and events are shown.
    pub filter: Filter,
    /// Whether the trace begins with the existing sockets.
    pub seeding: Seeding,
    /// When it stops.
    pub limits: Limits,
    /// What it needs of the kernel side.
    pub asks: Asks,
}

/// When to stop, and other settings that depend on time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// After this time.
    pub duration: Option<Duration>,
    /// After this many events.
    pub count: Option<u64>,
    /// Do not watch the kernel's counters of discards.
    pub no_counters: bool,
    /// Causes are wanted: the presenter gets them once a second, and at the end.
    pub diagnose: bool,
    /// Interval at which the presenter is refreshed, once everything before it is counted.
    pub refresh: Option<Duration>,
}

/// A command that is started for the trace, and ends it.
pub struct Command {
    /// Its process.
    pub pid: u32,
    /// Passes signals on to it, and ends when it does.
    pub end: Pin<Box<dyn Future<Output = io::Result<ExitStatus>>>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Course {
    /// Attaches the hooks.
    ///
    /// # Errors
    /// If no trace is possible.
    pub fn open(self) -> anyhow::Result<Ready> {
        let root = ProcRoot::default();
        let earlier = Earlier::start(&root, self.seeding, self.asks.sandbox)?;
        let opened = open(&self.filter, &self.asks)?;
        let banner = (!self.quiet).then(|| banner(&opened, self.what, self.brief));
        Ok(Ready { opened, earlier, root, filter: self.filter, limits: self.limits, banner })
    }
}

/// A trace whose hooks are attached.
#[derive(Debug)]
pub struct Ready {
    opened: Opened,
    earlier: Earlier,
    /// The host's processes.
    pub root: ProcRoot,
    /// The filter, which may follow more processes.
    pub filter: Filter,
    limits: Limits,
    banner: Option<String>,
}

impl Ready {
    /// When the hooks were attached, `CLOCK_BOOTTIME` ns.
    #[must_use]
    pub const fn opened_ns(&self) -> u64 {
        self.opened.opened_ns
    }

    /// Whether this hook is attached.
    #[must_use]
    pub fn has(&self, hook: Hook) -> bool {
        self.opened.kernel.backend(hook).is_some()
    }

    /// The kernel side.
    pub const fn kernel(&mut self) -> &mut Kernel {
        &mut self.opened.kernel
    }

    /// Shows the banner, if that was not done.
    pub fn say_banner(&mut self) {
        if let Some(banner) = self.banner.take() {
            stderr::say(banner);
        }
    }

    /// Traces until the end.
    ///
    /// # Errors
    /// If the trace fails, or its output cannot be written.
    pub fn run(self, output: impl Output) -> anyhow::Result<Ended> {
        self.run_with(output, |_| Ok(None))
    }

    /// The same for a command, which `start` starts.
    ///
    /// # Errors
    /// If `start` fails, and as [`Ready::run`].
    pub fn run_command(
        self,
        output: impl Output,
        start: impl FnOnce(&mut Self) -> anyhow::Result<Command>,
    ) -> anyhow::Result<Ended> {
        self.run_with(output, |ready| start(ready).map(Some))
    }

    fn run_with(
        mut self,
        mut output: impl Output,
        start: impl FnOnce(&mut Self) -> anyhow::Result<Option<Command>>,
    ) -> anyhow::Result<Ended> {
        let runtime = runtime()?;
        let mut outcome = runtime.block_on(async {
            let command = start(&mut self)?;
            let Self { opened, earlier, root, filter, limits, banner } = self;
            let trace = Trace::new(opened, earlier, filter, root, limits, &mut output)?;
            if let Some(banner) = banner {
                stderr::say(banner);
            }
            trace.run(command).await
        })?;
        // The hooks that are left are detached while the end is shown.
        let _detaching = std::mem::take(&mut outcome.detaching);
        output.summary(outcome.end_ns, &outcome.summary);
        output.finish(&runtime, outcome)
    }
}

/// Makes a runtime of one thread: the ring has one reader, and the host needs its processors.
///
/// # Errors
/// If the kernel refuses it.
pub fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}
