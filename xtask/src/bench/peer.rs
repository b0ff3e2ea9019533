//! Tools under measurement: starts, awaits and stops them.

use anyhow::{Context as _, Result, bail};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::statistics::{self, Program};

/// A tool that traces TCP.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its column.
    pub name: &'static str,
    program: PathBuf,
    args: Vec<String>,
    /// It prints `tracer: ready`.
    ready_line: bool,
}

impl Tool {
    pub fn tracer(name: &'static str, program: &Path, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { name, program: program.to_owned(), args, ready_line: true }
    }

    pub fn peer(name: &'static str, program: PathBuf) -> Self {
        Self::peer_with(name, program, &[])
    }

    pub fn peer_with(name: &'static str, program: PathBuf, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { name, program, args, ready_line: false }
    }

    /// Starts it, with its output discarded into a file, and waits until it traces.
    pub fn start(&self, output: &Path) -> Result<Running> {
        let before: HashSet<u64> = statistics::programs()?.into_keys().collect();
        let started = Instant::now();
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(File::create(output).with_context(|| output.display().to_string())?)
            .stderr(if self.ready_line { Stdio::piped() } else { Stdio::null() })
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        if self.ready_line {
            let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
            let mut lines = stderr.lines();
            if !lines.by_ref().map_while(Result::ok).any(|line| line == "tracer: ready") {
                bail!("{} ended before it was ready", self.name);
            }
            // It must not meet a closed pipe when it prints its summary.
            thread::spawn(move || lines.for_each(drop));
        }
        let ready = started.elapsed();
        // The peers print nothing: they trace once their program is loaded and no more programs follow.
        let mut seen = 0;
        loop {
            let now = statistics::programs()?.keys().filter(|id| !before.contains(id)).count();
            if now > 0 && now == seen {
                break;
            }
            seen = now;
            if started.elapsed() > Duration::from_secs(10) {
                bail!("{} loads no program", self.name);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(Running { child, before, ready })
    }
}

/// A tool that traces.
pub struct Running {
    child: Child,
    before: HashSet<u64>,
    /// From its start to `tracer: ready`.
    pub ready: Duration,
}

impl Running {
    /// The cost of its programs so far.
    pub fn programs(&self) -> Result<Vec<Program>> {
        Ok(statistics::programs()?
            .into_iter()
            .filter(|(id, _)| !self.before.contains(id))
            .map(|(_, program)| program)
            .collect())
    }

    /// Resident memory now, bytes.
    pub fn resident(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).context(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
        Ok(kilobytes * 1024)
    }

    /// CPU time of its process so far, user and system, seconds (proc(5), `stat`).
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(&path).context(path)?;
        let (_, after) = text.rsplit_once(')').context("no name")?;
        // Fields 14 and 15; the first field here is the third.
        let ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        // SAFETY: takes no pointers.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        #[expect(clippy::cast_precision_loss, reason = "a hundred or so")]
        Ok(ticks / per_second as f64)
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(mut self) -> Result<()> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: our own child, not waited for yet.
        unsafe { libc::kill(pid, libc::SIGINT) };
        self.child.wait()?;
        Ok(())
    }
}
