//! The plan: the tracer as it is built for this machine, or for a foreign one, and the tests, which need no libraries.

use super::arch::Arch;
use super::foreign::Foreign;
use crate::tree::Tree;
use crate::{command, run};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::env;
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

/// The package with the live tests.
const LIVE: &str = "tracer-tests";

/// The patience of a test's condition in seconds; at full speed it is 30.
const PATIENCE: u64 = 60;

/// Everything that cargo builds for the guest.
#[derive(Debug)]
pub struct Programs {
    /// The program under test, in release; with the C library linked in on foreign machines only.
    pub tracer: PathBuf,
    /// The generator of traffic.
    pub traffic: PathBuf,
    /// The live tests.
    pub tests: PathBuf,
    /// Their target architecture.
    pub arch: Arch,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The module: the file in tests/tests/live, without its extension.
    pub module: String,
    /// The function.
    pub name: String,
}

impl Test {
    /// The test with a path in libtest's list: `module::name`.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let (module, name) = path.split_once("::")?;
        Some(Self { module: module.to_owned(), name: name.to_owned() })
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::{}", self.module, self.name)
    }
}

/// The tests of one machine, and their settings.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub tests: Vec<Test>,
    /// Seconds that one test may take.
    pub test_limit: u64,
    /// The divisor of the sizes of load tests.
    pub scale: u32,
    /// Whether every link of every chain is tried by itself before the tests.
    pub links: bool,
    /// The kind of machine.
    pub arch: Arch,
}

impl Plan {
    /// The tests in init's format, one per line.
    #[must_use]
    pub fn lines(&self) -> String {
        self.tests.iter().map(|test| format!("{test}\n")).collect()
    }

    /// The tests' variables in init's format.
    #[must_use]
    pub fn environment(&self) -> String {
        let limit = self.test_limit;
        format!(
            "TOLD={}\nTEST_LIMIT={limit}\nLINKS={}\nexport TRACER_BIN=/tracer/tracer TRACER_TRAFFIC=/tracer/traffic CI=true \
             TRACER_TEST_MACHINE=own\n\
             export TRACER_TEST_PATIENCE={} TRACER_TEST_SCALE={}\n",
            self.arch.ports()[1],
            if self.links { "yes" } else { "" },
            PATIENCE.min(limit),
            self.scale
        )
    }
}

/// cargo, set up to link the C library in.
fn cargo(tree: &Tree, foreign: Option<&Foreign>) -> Command {
    if let Some(foreign) = foreign {
        return foreign.cargo(&tree.target);
    }
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(OsString::from(" -C target-feature=+crt-static"));
    let mut cargo = command::cargo();
    cargo.env("RUSTFLAGS", flags);
    cargo
}

/// Runs cargo; returns its messages about the built files.
fn build(tree: &Tree, mut cargo: Command, arch: Arch, words: &[&str]) -> Result<Vec<Value>> {
    cargo
        .args(words)
        .args(["--locked", "--target", arch.target(), "--message-format=json-render-diagnostics"])
        .current_dir(&tree.root)
        .stdin(Stdio::null());
    let messages = command::output(&mut cargo)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages.filter(|message| message["reason"] == "compiler-artifact").collect())
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(tree: &Tree, arch: Arch, foreign: Option<&Foreign>) -> Result<Self> {
        let build = |words: &[&str]| build(tree, cargo(tree, foreign), arch, words);
        let executable = |message: &Value| message["executable"].as_str().map(PathBuf::from);
        let tracer = || {
            if foreign.is_none() {
                // All other tests use this build, too.
                return run::build_tracer(tree);
            }
            let built = build(&["build", "--release", "--package", "tracer", "--bin", "tracer"])?;
            let mut tracers = built.iter().filter(|message| message["target"]["name"] == "tracer");
            tracers.find_map(executable).context("cargo built no tracer")
        };
        let tests = || build(&["test", "--no-run", "--profile", "vm", "--package", LIVE, "--tests", "--bins"]);
        // In parallel: the last and longest part of the tracer's build uses one processor.
        let (tracer, built) = thread::scope(|scope| {
            let tests = scope.spawn(tests);
            (tracer(), tests.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let (tracer, built) = (tracer?, built?);
        let is = |message: &Value, kind: &str| message["target"]["kind"][0] == kind;
        let traffic = built.iter().filter(|m| is(m, "bin") && m["profile"]["test"] == false).find_map(executable);
        let tests = built.iter().filter(|message| is(message, "test")).find_map(executable);
        Ok(Self {
            tracer,
            traffic: traffic.context("cargo built no traffic generator")?,
            tests: tests.context("cargo built no live tests")?,
            arch,
        })
    }

    /// The tests whose `module::name` contains one of `filters`; all if there are none.
    ///
    /// # Errors
    /// When the binary does not list its tests, or no test is left.
    pub fn list(&self, filters: &[String]) -> Result<Vec<Test>> {
        // The binary is static, so it runs on this machine, too.
        let mut program = match self.arch {
            Arch::X86 => Command::new(&self.tests),
            Arch::Arm => Foreign::run(&self.tests),
        };
        let said = command::output(program.args(["--list", "--format", "terse"]))?;
        let mut tests: Vec<Test> =
            said.lines().filter_map(|line| line.strip_suffix(": test")).filter_map(Test::of).collect();
        tests.retain(|test| filters.is_empty() || filters.iter().any(|filter| test.to_string().contains(filter)));
        if tests.is_empty() {
            bail!("no test has {} in its name", filters.join(" or "));
        }
        Ok(tests)
    }
}

/// Deals `tests` to `machines`, so that each gets some of every module.
#[must_use]
pub fn deal(tests: &[Test], machines: usize) -> Vec<Vec<Test>> {
    let deal = |machine: usize| tests.iter().skip(machine).step_by(machines).cloned().collect::<Vec<_>>();
    (0..machines).map(deal).filter(|tests| !tests.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_dealt_once() {
        let tests: Vec<Test> = (0..7).map(|i| Test { module: "a".into(), name: i.to_string() }).collect();
        let mut dealt = deal(&tests, 3).concat();
        dealt.sort();
        assert_eq!(dealt, tests);
        assert_eq!(deal(&tests[..1], 3).len(), 1);
    }
}
