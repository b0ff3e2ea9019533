//! `cargo xtask test`: every test, the live ones included.

use crate::live::{self, Live};
use crate::programs::{PROFILE, Programs};
use crate::setup::{self, Missing, Purpose};
use crate::tree::Tree;
use crate::{command, nginx, packages, privilege};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

/// A reason with this prefix means that the kernel lacks something: the machine's setup is not at fault.
const KERNEL: &str = "kernel: ";

#[derive(clap::Args, Default)]
pub struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Only one of the two halves
    #[arg(long, value_enum)]
    only: Option<Half>,
    /// How many live tests run at the same time (default: two for each processor, at most eight)
    #[arg(long, short)]
    jobs: Option<usize>,
}

/// The two halves of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Half {
    /// The crates' own tests: no root, no kernel
    Host,
    /// Real traffic under a real tracer, as root
    Live,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    let mut failed = Vec::new();
    // The live half first: its report of skipped tests then comes before the last results.
    if args.only != Some(Half::Host) {
        let start = Instant::now();
        if let Err(error) = live(&tree, args) {
            failed.push(format!("{error:#}"));
        }
        println!("live tests: {:.1} s", start.elapsed().as_secs_f64());
    }
    if args.only != Some(Half::Live)
        && let Err(error) = host(&tree, args.filter.as_deref())
    {
        failed.push(format!("{error:#}"));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\nxtask: "));
    }
    Ok(())
}

fn host(tree: &Tree, filter: Option<&str>) -> Result<()> {
    // Without the harness's other binary, which are the live tests, and built with the packages that those need.
    let mut cargo = command::cargo();
    // A screen that has changed fails its test; the new one is written when somebody asks for it.
    cargo.env("INSTA_UPDATE", "no");
    cargo.args(["test", "--locked", "--no-fail-fast", "--profile", PROFILE, "--workspace", "--lib", "--bins"]);
    command::run(cargo.args(filter).current_dir(&tree.root))
}

fn live(tree: &Tree, args: &Args) -> Result<()> {
    let missing = Missing::look(tree, &[Purpose::Test]);
    if !missing.nothing() {
        if !(in_ci() || privilege::is_root() && packages::is_debian()) {
            bail!(
                "the live tests need programs that are not here: {}; cargo xtask setup --for test installs them",
                missing.programs.join(", ")
            );
        }
        setup::ensure(tree, &[Purpose::Test], true)?;
    }
    let programs = Programs::build(tree)?;
    let log = tree.target.join("xtask/skipped.tsv");
    fs::create_dir_all(log.parent().context("a file without a folder")?)?;
    fs::write(&log, "").with_context(|| log.display().to_string())?;
    let prefix = as_root(tree, &programs.tracer, &log)?;
    eprintln!("+ the tests of {} (as root, TRACER_BIN={})", live::PACKAGE, programs.tracer.display());
    let tests = Live::of(tree, programs.tests, prefix)?.run(args.filter.as_deref(), args.jobs);
    let skipped = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let excused = report_skipped(&skipped);
    tests?;
    if in_ci() && !excused {
        bail!(
            "tests were skipped that this machine could run (a reason that starts with {KERNEL:?} would be accepted)"
        );
    }
    Ok(())
}

/// A command line that runs as root what follows it, with the tests' variables.
fn as_root(tree: &Tree, tracer: &Path, log: &Path) -> Result<Vec<OsString>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        [nginx::folder(tree)].into_iter().chain(env::split_paths(&path)).chain(["/usr/sbin".into(), "/sbin".into()]),
    )?;
    let mut prefix = privilege::prefix()?;
    prefix.push("env".into());
    let ci = env::var_os("CI");
    let variables =
        [("PATH", path.as_os_str()), ("TRACER_BIN", tracer.as_os_str()), ("TRACER_SKIP_LOG", log.as_os_str())];
    for (key, value) in variables.into_iter().chain(ci.as_deref().map(|ci| ("CI", ci))) {
        let mut word = OsString::from(key);
        word.push("=");
        word.push(value);
        prefix.push(word);
    }
    Ok(prefix)
}

/// Whether this runs under continuous integration.
#[must_use]
pub fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Prints skipped tests with their reasons; returns whether every reason is the kernel's.
fn report_skipped(log: &str) -> bool {
    let skipped: Vec<(&str, &str)> = log
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once('\t').unwrap_or((line, "no reason given")))
        .collect();
    for (name, reason) in &skipped {
        println!("SKIP {name}: {reason}");
    }
    skipped.iter().all(|(_, reason)| reason.starts_with(KERNEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_excuses_a_skip() {
        assert!(report_skipped(""));
        assert!(report_skipped("fentry\tkernel: fentry is refused (EPERM)\n"));
        assert!(!report_skipped("fentry\tkernel: fentry is refused (EPERM)\nnginx\tno nginx\n"));
        assert!(!report_skipped("nameless\n"));
    }
}
