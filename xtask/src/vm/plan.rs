//! The plan: the programs as they are built for this machine, or for a foreign one, and the tests to run.

use super::arch::Arch;
use super::foreign::Foreign;
use crate::command;
use crate::programs::Programs;
use crate::tree::Tree;
use anyhow::{Result, bail};
use std::process::Command;

/// The patience of a test's condition in seconds; at full speed it is 30.
const PATIENCE: u64 = 60;

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

/// Builds the programs of the guest.
///
/// # Errors
/// When the build fails.
pub fn build(tree: &Tree, arch: Arch, foreign: Option<&Foreign>) -> Result<Programs> {
    match foreign {
        // Linked with the C library: the guest has another one.
        Some(foreign) => Programs::build_by(tree, foreign.cargo(&tree.target), &["--target", arch.target()]),
        None => Programs::build(tree),
    }
}

/// The tests whose `module::name` contains one of `filters`; all if there are none.
///
/// # Errors
/// When the binary does not list its tests, or no test is left.
pub fn list(programs: &Programs, arch: Arch, filters: &[String]) -> Result<Vec<Test>> {
    let mut program = match arch {
        Arch::X86 => Command::new(&programs.tests),
        Arch::Arm => Foreign::run(&programs.tests),
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
