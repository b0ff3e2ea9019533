//! `cargo xtask vm`: the live tests on Debian's kernels, each in a virtual machine.

mod arch;
mod archive;
mod boot;
mod brief;
#[path = "../../../tests/src/feature.rs"]
mod feature;
mod fetch;
mod foreign;
mod initramfs;
mod known;
pub mod matrix;
mod page;
mod plan;
mod report;
mod unpack;
mod version;

use crate::command;
use crate::programs::Programs;
use crate::setup::{self, Purpose};
use crate::tree::Tree;
use anyhow::{Context as _, Result, bail};
use boot::{Accelerator, Machine};
use foreign::Foreign;
use plan::{Plan, Test};
use report::{Outcome, Report, Verdict};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use unpack::Kernel;

pub use arch::Arch;

/// The kernels of the matrix: the oldest available one, the long-term ones, the newest.
pub const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", fetch::NEWEST];

/// Seconds: several times the duration of the slowest test on a machine with other work.
const TEST_LIMIT: u64 = 900;
/// Turns 200,000 connections into 2,000.
const SCALE: u32 = 100;

#[derive(clap::Args)]
pub struct Args {
    /// Kernels to boot: 5.10, 6.1, 6.12, newest, or any other series that Debian's backports have
    #[arg(long = "kernel", value_delimiter = ',', default_values = KERNELS)]
    kernels: Vec<String>,
    /// Only some tests of each difference between kernels; between the oldest and the newest one, those of what changes
    #[arg(long)]
    brief: bool,
    /// The architecture of the machine
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// How the processor is provided
    #[arg(long, value_enum, default_value_t)]
    accelerator: Accelerator,
    /// Machines at the same time; each keeps one processor busy
    #[arg(long, default_value_t = processors())]
    jobs: usize,
    /// Additions to the kernel's command line (preempt=full)
    #[arg(long, default_value = "")]
    append: String,
    /// Seconds that one test may take
    #[arg(long, default_value_t = TEST_LIMIT)]
    test_limit: u64,
    /// The divisor of the sizes of load tests
    #[arg(long, default_value_t = SCALE)]
    scale: u32,
    /// Write the results to KERNELS.md
    #[arg(long)]
    write: bool,
    /// Boot nothing: judge the output of earlier machines, which is in files RELEASE-N of this folder (each run leaves
    /// its own in target/xtask/vm/told)
    #[arg(long, value_name = "FOLDER")]
    told: Option<PathBuf>,
    /// Show every test, not only those that failed or were skipped
    #[arg(long, short)]
    verbose: bool,
    /// Only tests whose `file::name` contains one of these
    #[arg(last = true)]
    filters: Vec<String>,
}

impl Default for Args {
    /// The defaults, which continuous integration uses.
    fn default() -> Self {
        Self {
            kernels: KERNELS.map(str::to_owned).into(),
            brief: false,
            arch: Arch::default(),
            accelerator: Accelerator::default(),
            jobs: processors(),
            append: String::new(),
            test_limit: TEST_LIMIT,
            scale: SCALE,
            write: false,
            told: None,
            verbose: false,
            filters: Vec::new(),
        }
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A machine to be booted.
struct Job<'a> {
    /// Its kernel's number.
    kernel: usize,
    modules: &'a Path,
    plan: Plan,
    folder: PathBuf,
    /// Its number among the kernel's machines.
    number: usize,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    if env::consts::ARCH != "x86_64" {
        bail!("virtual machines run on x86_64 only so far");
    }
    if args.write && (!args.filters.is_empty() || args.arch != Arch::default()) {
        bail!("KERNELS.md is about all tests on x86_64: --write goes without a filter and --arch");
    }
    setup::ensure(&tree, &[Purpose::Vm], false)?;
    matrix(args, &tree, &fetch(&args.kernels, args.arch)?)
}

/// Builds, boots, judges.
fn matrix(args: &Args, tree: &Tree, kernels: &[Kernel]) -> Result<()> {
    if let Some(folder) = &args.told {
        let reports = kernels.iter().map(|kernel| retold(folder, kernel)).collect::<Result<Vec<_>>>()?;
        let tests = reports.iter().map(|report| report.verdicts.len()).max().unwrap_or_default();
        return judge(args, tree, kernels, &reports, tests);
    }
    let foreign = match args.arch {
        Arch::X86 => None,
        Arch::Arm => Some(Foreign::get(args.arch, &fetch::cache()?)?),
    };
    let programs = plan::build(tree, args.arch, foreign.as_ref())?;
    let tests = plan::list(&programs, args.arch, &args.filters)?;
    let reports = run(args, tree, &programs, foreign.as_ref(), kernels, &tests)?;
    judge(args, tree, kernels, &reports, tests.len())
}

/// The output of a kernel's machines in an earlier run, complete or not.
fn retold(folder: &Path, kernel: &Kernel) -> Result<Report> {
    let mut report = Report::default();
    for number in 0.. {
        let path = folder.join(format!("{}-{number}", kernel.release));
        if !path.exists() {
            break;
        }
        let told = fs::read_to_string(&path).with_context(|| path.display().to_string())?.replace('\0', "");
        let mut other = Report::of_told(&told, &kernel.release);
        // A test that two machines have run counts once.
        other.verdicts.retain(|verdict| report.verdicts.iter().all(|known| known.test != verdict.test));
        report.join(other);
    }
    Ok(report)
}

/// Shows the results, writes them down, and fails if a test has failed.
fn judge(args: &Args, tree: &Tree, kernels: &[Kernel], reports: &[Report], tests: usize) -> Result<()> {
    let results: Vec<(&Kernel, &Report)> = kernels.iter().zip(reports).collect();
    for (kernel, report) in &results {
        show(kernel, report, args.verbose);
    }
    if args.write {
        let date = command::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
        fs::write(tree.root.join("KERNELS.md"), page::of(&results, tests, date.trim()))?;
    }
    let failed: usize = reports.iter().map(|report| report.counts().failed).sum();
    if failed > 0 {
        bail!("{failed} tests failed in virtual machines");
    }
    Ok(())
}

fn fetch(names: &[String], arch: Arch) -> Result<Vec<Kernel>> {
    let cache = fetch::cache()?;
    names.iter().map(|name| Kernel::get(name, arch, &cache).with_context(|| format!("kernel {name}"))).collect()
}

fn run(
    args: &Args,
    tree: &Tree,
    programs: &Programs,
    foreign: Option<&Foreign>,
    kernels: &[Kernel],
    tests: &[Test],
) -> Result<Vec<Report>> {
    let folder = tree.target.join("xtask/vm").join(std::process::id().to_string());
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let common = folder.join("common.cpio");
    initramfs::write_common(&common, tree, programs, foreign)?;
    let mut modules = Vec::new();
    for kernel in kernels {
        let archive = folder.join(format!("{}.modules.cpio", kernel.release));
        initramfs::write_modules(&archive, kernel, &folder)?;
        modules.push(archive);
    }
    // If there are fewer kernels than machines, several machines share a kernel's tests.
    let machines = args.jobs.div_ceil(kernels.len()).max(1);
    let mut jobs = VecDeque::new();
    // The newest kernel takes longest, so it starts first.
    for (kernel, modules) in modules.iter().enumerate().rev() {
        let name = &kernels[kernel].name;
        let tests: Vec<Test> = tests.iter().filter(|test| !args.brief || brief::has(test, name)).cloned().collect();
        for (i, tests) in plan::deal(&tests, machines).into_iter().enumerate() {
            let links = args.write && i == 0;
            let plan = Plan { tests, test_limit: args.test_limit, scale: args.scale, links, arch: args.arch };
            jobs.push_back(Job { kernel, modules, plan, folder: folder.join(format!("{kernel}-{i}")), number: i });
        }
    }
    let jobs = Mutex::new(jobs);
    let reports = Mutex::new(vec![Report::default(); kernels.len()]);
    thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let Some(job) = jobs.lock().map_err(|_| broken())?.pop_front() else { return Ok(()) };
                let report = boot(args, tree, &kernels[job.kernel], &common, &job)?;
                reports.lock().map_err(|_| broken())?[job.kernel].join(report);
            }
        };
        let workers: Vec<_> = (0..args.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| broken())?)
    })?;
    fs::remove_dir_all(&folder)?;
    reports.into_inner().map_err(|_| broken())
}

fn broken() -> anyhow::Error {
    anyhow::anyhow!("a thread that ran a machine has panicked")
}

fn boot(args: &Args, tree: &Tree, kernel: &Kernel, common: &Path, job: &Job<'_>) -> Result<Report> {
    fs::create_dir_all(&job.folder)?;
    let initramfs = job.folder.join("initramfs");
    initramfs::write(&initramfs, common, job.modules, &job.plan)?;
    let count = u32::try_from(job.plan.tests.len()).unwrap_or(u32::MAX);
    let machine = Machine {
        arch: args.arch,
        kernel,
        initramfs: &initramfs,
        folder: &job.folder,
        accelerator: args.accelerator,
        append: &args.append,
        // Far above the normal time: a test's own limit detects a hanging test.
        limit: Duration::from_secs(120 + args.test_limit) + Duration::from_secs(30) * count,
    };
    let start = Instant::now();
    let ended = machine.run()?;
    let kept = tree.target.join("xtask/vm/told");
    fs::create_dir_all(&kept)?;
    fs::write(kept.join(format!("{}-{}", kernel.release, job.number)), &ended.told)?;
    let report = Report::of(&ended, &job.plan, &kernel.release);
    let counts = report.counts();
    println!(
        "vm: {}: {count} tests in {:.0} s: {} passed, {} skipped, {} failed for known reasons, {} failed",
        kernel.release,
        start.elapsed().as_secs_f64(),
        counts.passed,
        counts.skipped,
        counts.known,
        counts.failed
    );
    Ok(report)
}

fn show(kernel: &Kernel, report: &Report, verbose: bool) {
    println!("=== {} ({})", kernel.release, kernel.name);
    for finding in &report.doctor {
        if let Some(backend) = finding["backend"].as_str() {
            println!("{:<24}{backend}", finding["name"].as_str().unwrap_or_default());
        } else if finding["ok"] == false {
            println!("{:<24}NO: {}", finding["name"].as_str().unwrap_or_default(), finding["why"]);
        }
    }
    for Verdict { test, outcome, seconds } in &report.verdicts {
        match outcome {
            Outcome::Passed if !verbose => {}
            Outcome::Passed => println!("ok      {seconds:>6.1} s  {test}"),
            Outcome::Skipped(reason) => println!("SKIP    {seconds:>6.1} s  {test}: {reason}"),
            Outcome::Known { why, output } => {
                println!("KNOWN   {seconds:>6.1} s  {test}: {why}");
                if verbose {
                    output.lines().for_each(|line| println!("          {line}"));
                }
            }
            Outcome::Failed { why, output } => {
                println!("FAILED  {seconds:>6.1} s  {test}: {why}");
                output.lines().for_each(|line| println!("          {line}"));
            }
        }
    }
    for complaint in &report.boot_complaints {
        println!("while it booted: {complaint}");
    }
    if !report.missing_modules.is_empty() {
        println!("modules that could not be loaded: {}", report.missing_modules.join(" "));
    }
}
