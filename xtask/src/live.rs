//! The live tests on this machine: each in a process of its own, several at the same time.
//!
//! A test mostly waits: for the kernel to load and to free programs, to make and to remove namespaces. Tests share no
//! process, because a child that one of them starts would for a moment hold the sockets of all others. A test that
//! needs the machine for itself (`tests/src/alone.rs`) says so by its exit status, and runs once the others have ended.

use crate::command;
use crate::tree::Tree;
use anyhow::{Context as _, Result, bail};
use std::cmp::Reverse;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// The package with the live tests.
pub const PACKAGE: &str = "tracer-tests";

/// More tests at a time would only take each other's processors and fill each other's rings.
const MOST: usize = 8;

/// The variable and the exit status of `tests/src/alone.rs`.
const WHEN: &str = "TRACER_TEST_ALONE=later";
const LATER: i32 = 75;

/// The test binary, and how to run it.
pub struct Live {
    program: PathBuf,
    /// A command line that runs as root what follows it.
    prefix: Vec<OsString>,
    /// The folder of the tests' outputs.
    outputs: PathBuf,
}

/// One test that has ended.
struct Ended {
    name: String,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    /// It has to run alone.
    Later,
    /// With its output.
    Failed(String),
}

impl Live {
    /// The tests of `program`, which run as root by `prefix`.
    ///
    /// # Errors
    /// When the folder of their outputs cannot be made.
    pub fn of(tree: &Tree, program: PathBuf, prefix: Vec<OsString>) -> Result<Self> {
        let outputs = tree.target.join("xtask/live");
        fs::create_dir_all(&outputs).with_context(|| outputs.display().to_string())?;
        Ok(Self { program, prefix, outputs })
    }

    /// The tests whose `module::name` contains `filter`.
    fn list(&self, filter: Option<&str>) -> Result<Vec<String>> {
        let said = command::output(Command::new(&self.program).args(["--list", "--format", "terse"]).args(filter))?;
        Ok(said.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs those whose name contains `filter`, `jobs` at a time (default: two for each processor, which are idle half
    /// of the time), then one by one those that have to be alone. Reports as cargo test does.
    ///
    /// # Errors
    /// When one fails.
    pub fn run(&self, filter: Option<&str>, jobs: Option<usize>) -> Result<()> {
        let start = Instant::now();
        let names = self.list(filter)?;
        let jobs = jobs.unwrap_or_else(|| (2 * thread::available_parallelism().map_or(1, usize::from)).min(MOST));
        println!("\nrunning {} tests, {jobs} at a time", names.len());
        let mut ended = self.side_by_side(&names, jobs)?;
        let later: Vec<String> =
            ended.extract_if(.., |test| matches!(test.outcome, Outcome::Later)).map(|test| test.name).collect();
        if !later.is_empty() {
            println!("running {} tests, each alone", later.len());
        }
        for name in later {
            ended.push(self.one(name, false)?);
        }
        ended.sort_by_key(|test| Reverse(test.took));
        let times: String =
            ended.iter().map(|test| format!("{:.2}\t{}\n", test.took.as_secs_f64(), test.name)).collect();
        fs::write(self.outputs.join("times.tsv"), times)?;
        report(&ended, start.elapsed())
    }

    fn side_by_side(&self, names: &[String], jobs: usize) -> Result<Vec<Ended>> {
        let left = Mutex::new(names.iter());
        let next = || left.lock().ok()?.next().cloned();
        let work = || -> Result<Vec<Ended>> { std::iter::from_fn(next).map(|name| self.one(name, true)).collect() };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
            let mut ended = Vec::new();
            for worker in workers {
                ended.extend(worker.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??);
            }
            Ok(ended)
        })
    }

    /// Runs one test, and prints its line. `beside`: others run at the same time.
    fn one(&self, name: String, beside: bool) -> Result<Ended> {
        let path = self.outputs.join(format!("{}.log", name.replace("::", ".")));
        let outcome = self.outcome(&name, &path, beside).with_context(|| name.clone());
        let (took, outcome) = outcome?;
        match outcome {
            Outcome::Passed => println!("test {name} ... ok <{:.2}s>", took.as_secs_f64()),
            Outcome::Failed(_) => println!("test {name} ... FAILED <{:.2}s>", took.as_secs_f64()),
            Outcome::Later => {}
        }
        Ok(Ended { name, took, outcome })
    }

    fn outcome(&self, name: &str, path: &Path, beside: bool) -> Result<(Duration, Outcome)> {
        // A file and no pipe: a process that a failed test leaves behind would keep a pipe open.
        let output = File::create(path).with_context(|| path.display().to_string())?;
        let mut words = self.prefix.clone();
        if beside {
            words.extend(["env".into(), WHEN.into()]);
        }
        words.push(self.program.clone().into());
        let (first, rest) = words.split_first().context("a command line has a word")?;
        let begin = Instant::now();
        let status = Command::new(first)
            .args(rest)
            .args(["--exact", name, "--test-threads=1"])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()?;
        let took = begin.elapsed();
        let outcome = match status.code() {
            Some(0) => Outcome::Passed,
            Some(LATER) if beside => Outcome::Later,
            _ => Outcome::Failed(format!("{}{status}\n", String::from_utf8_lossy(&fs::read(path)?))),
        };
        if !matches!(outcome, Outcome::Failed(_)) {
            fs::remove_file(path)?;
        }
        Ok((took, outcome))
    }
}

/// The last lines of a run; `ended` has the slowest first.
fn report(ended: &[Ended], took: Duration) -> Result<()> {
    let failed: Vec<&Ended> = ended.iter().filter(|test| matches!(test.outcome, Outcome::Failed(_))).collect();
    for test in &failed {
        if let Outcome::Failed(output) = &test.outcome {
            println!("\n---- {} ----\n{output}", test.name);
        }
    }
    if !failed.is_empty() {
        println!("failures:");
        failed.iter().for_each(|test| println!("    {}", test.name));
    }
    let slowest: Vec<String> =
        ended.iter().take(5).map(|test| format!("{} {:.0} s", test.name, test.took.as_secs_f64())).collect();
    println!("\nslowest: {} (all: target/xtask/live/times.tsv)", slowest.join(", "));
    println!(
        "test result: {}. {} passed; {} failed; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        ended.len() - failed.len(),
        failed.len(),
        took.as_secs_f64()
    );
    if failed.is_empty() { Ok(()) } else { bail!("{} live tests failed", failed.len()) }
}
