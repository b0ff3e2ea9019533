//! Judges a machine's output.

use super::boot::{End, Ended, last_lines};
use super::feature;
use super::known;
use super::plan::{Plan, Test};
use super::version::Version;
use serde_json::Value;
use std::collections::BTreeMap;

/// The outcome of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran without a failure.
    Passed,
    /// The kernel lacks a feature that it may lack.
    Skipped(String),
    /// Failed for a reason that `known.rs` gives; with its output.
    Known {
        /// In one line.
        why: &'static str,
        /// The end of its output.
        output: String,
    },
    /// Any other failure, with its output.
    Failed {
        /// In one line.
        why: String,
        /// The end of its output.
        output: String,
    },
}

/// A test and its outcome.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The test.
    pub test: Test,
    /// The outcome.
    pub outcome: Outcome,
    /// How long it took, in the machine's own time.
    pub seconds: f64,
}

/// One machine's report, or several of the same kernel's together.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// `/proc/version` there.
    pub version: String,
    /// `tracer doctor --json` there.
    pub doctor: Vec<Value>,
    /// Whether each `HOOK=LINK` loads when it is forced.
    pub links: BTreeMap<String, bool>,
    /// Modules that could not be loaded.
    pub missing_modules: Vec<String>,
    /// The kernel's warnings before the first test. Emulation may be the cause.
    pub boot_complaints: Vec<String>,
    /// The tests.
    pub verdicts: Vec<Verdict>,
    /// Machines that died before they began and were started again.
    pub false_starts: u32,
}

/// The numbers of passed, skipped and failed tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Skipped for a reason of the kernel.
    pub skipped: usize,
    /// Failed for a known reason.
    pub known: usize,
    /// Other failures.
    pub failed: usize,
}

impl Report {
    /// Reads a machine's output.
    #[must_use]
    pub fn of(ended: &Ended, plan: &Plan, release: &str) -> Self {
        let (mut report, running) = Self::read(&ended.told, release);
        report.false_starts = ended.false_starts;
        report.account_for_the_rest(ended, plan, running);
        report
    }

    /// The tests that a machine has finished; it may have been stopped afterwards.
    #[must_use]
    pub fn of_told(told: &str, release: &str) -> Self {
        Self::read(told, release).0
    }

    /// The report, and the test that was running at the end.
    fn read(told: &str, release: &str) -> (Self, Option<Running>) {
        let mut report = Self::default();
        let mut running: Option<Running> = None;
        for line in told.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "@@begin" => rest.clone_into(&mut report.version),
                "@@missing" => report.missing_modules.push(rest.to_owned()),
                "@@boot" => report.boot_complaints.push(rest.to_owned()),
                "@@doctor" => report.doctor.extend(serde_json::from_str(rest).ok()),
                "@@link" => {
                    if let Some((link, loads)) = rest.split_once(' ') {
                        report.links.insert(link.to_owned(), loads == "yes");
                    }
                }
                "@@start" => {
                    running = Test::of(rest).map(Running::new);
                }
                "@@end" => report.verdicts.extend(running.take().map(|running| running.end(rest, release))),
                _ => {
                    let Some(running) = &mut running else { continue };
                    match word {
                        "@@skipped" => running.skipped.push(rest.to_owned()),
                        "@@kernel" => running.complaints.push(rest.to_owned()),
                        _ => {
                            running.output.push_str(line.strip_prefix(' ').unwrap_or(line));
                            running.output.push('\n');
                        }
                    }
                }
            }
        }
        (report, running)
    }

    /// Accounts for the running test and the remaining ones when the machine ended.
    fn account_for_the_rest(&mut self, ended: &Ended, plan: &Plan, running: Option<Running>) {
        let how = match ended.end {
            End::Done => "init ended early",
            End::Died => "the kernel died",
            End::OutOfTime => "the machine was out of time",
        };
        let console = last_lines(&ended.console, 40).collect::<Vec<_>>().join("\n");
        if let Some(running) = running {
            let outcome = Outcome::Failed { why: format!("{how} in this test"), output: running.output + &console };
            self.verdicts.push(Verdict { test: running.test, outcome, seconds: 0.0 });
        }
        let mut console = Some(console).filter(|_| self.verdicts.is_empty());
        for test in &plan.tests {
            if !self.verdicts.iter().any(|verdict| verdict.test == *test) {
                let output = console.take().unwrap_or_default();
                let outcome = Outcome::Failed { why: format!("not run: {how}"), output };
                self.verdicts.push(Verdict { test: test.clone(), outcome, seconds: 0.0 });
            }
        }
    }

    /// Adds the report of another machine with the same kernel.
    pub fn join(&mut self, other: Self) {
        if self.version.is_empty() {
            (self.version, self.doctor) = (other.version, other.doctor);
        }
        self.links.extend(other.links);
        self.missing_modules = other.missing_modules;
        self.boot_complaints.extend(other.boot_complaints);
        self.verdicts.extend(other.verdicts);
        self.verdicts.sort_by(|a, b| a.test.cmp(&b.test));
        self.false_starts += other.false_starts;
    }

    /// Counts the tests.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for verdict in &self.verdicts {
            match verdict.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Skipped(_) => counts.skipped += 1,
                Outcome::Known { .. } => counts.known += 1,
                Outcome::Failed { .. } => counts.failed += 1,
            }
        }
        counts
    }

    /// The finding of `doctor` about `name`.
    #[must_use]
    pub fn finding(&self, name: &str) -> Option<&Value> {
        self.doctor.iter().find(|finding| finding["name"] == name)
    }
}

/// A test without an end in the output so far.
struct Running {
    test: Test,
    output: String,
    skipped: Vec<String>,
    complaints: Vec<String>,
}

impl Running {
    fn new(test: Test) -> Self {
        Self { test, output: String::new(), skipped: Vec::new(), complaints: Vec::new() }
    }

    /// `end`: exit status and hundredths of a second.
    fn end(self, end: &str, release: &str) -> Verdict {
        let (status, took) = end.split_once(' ').unwrap_or((end, "0"));
        let seconds = took.trim().parse::<f64>().unwrap_or_default() / 100.0;
        let failed = |why: String| Outcome::Failed { why, output: self.output.clone() };
        let outcome = match (status, self.skipped.first()) {
            _ if !self.complaints.is_empty() => Outcome::Failed {
                why: "the kernel complained".into(),
                output: self.complaints.join("\n") + "\n" + &self.output,
            },
            ("137", _) => failed(format!("killed after {seconds:.0} s")),
            ("0", None) => Outcome::Passed,
            ("0", Some(line)) => {
                let reason = line.split_once('\t').map_or(line.as_str(), |(_, reason)| reason);
                match excused(reason, release) {
                    Ok(()) => Outcome::Skipped(reason.to_owned()),
                    Err(why) => failed(format!("skipped ({reason}), but {why}")),
                }
            }
            // libtest's status of a failed test; any other status is no failed assertion.
            ("101", _) => match known::reason(release, &self.output) {
                Some(why) => Outcome::Known { why, output: self.output.clone() },
                None => failed("it failed".into()),
            },
            (status, _) => failed(format!("exit status {status}")),
        };
        Verdict { test: self.test, outcome, seconds }
    }
}

/// Whether a kernel may lack the feature in `reason` (`kernel: FEATURE: …`).
fn excused(reason: &str, release: &str) -> Result<(), String> {
    let feature = reason.strip_prefix("kernel: ").and_then(|rest| rest.split(": ").next());
    let feature = feature.ok_or_else(|| "only a kernel's feature excuses that here".to_owned())?;
    let Some(since) = feature::since(feature) else {
        return Err(format!("tests/src/feature.rs does not know {feature}"));
    };
    if Version::of(release).series() >= since {
        return Err(format!("every kernel since {}.{} has {feature}", since.0, since.1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::arch::Arch;
    use super::*;

    fn ended(told: &str, end: End) -> Ended {
        Ended { told: told.into(), console: "[ 1.0] Kernel panic\n".into(), end, false_starts: 0 }
    }

    fn plan(names: &[&str]) -> Plan {
        let test = |name: &&str| Test { module: "a".into(), name: (*name).to_owned() };
        Plan { tests: names.iter().map(test).collect(), test_limit: 1, scale: 1, links: false, arch: Arch::X86 }
    }

    const KERNEL: &str = "5.10.0-32-cloud-amd64";

    #[test]
    fn every_test_of_the_plan_has_an_outcome() {
        let told = "@@begin Linux version 5.10\n@@start a::one\n@@end 0 150\n@@start a::two\n panicked\n@@end 101 20\n\
                    @@start a::three\n";
        let report = Report::of(&ended(told, End::Died), &plan(&["one", "two", "three", "four"]), KERNEL);
        assert_eq!(report.counts(), Counts { passed: 1, skipped: 0, known: 0, failed: 3 });
        assert!((report.verdicts[0].seconds - 1.5).abs() < 1e-9);
        let as_far_as_it_came = Report::of_told(told, KERNEL);
        assert_eq!(as_far_as_it_came.counts(), Counts { passed: 1, skipped: 0, known: 0, failed: 1 });
        let whys: Vec<&str> = report.verdicts[1..]
            .iter()
            .map(|verdict| match &verdict.outcome {
                Outcome::Failed { why, .. } => why.as_str(),
                _ => "",
            })
            .collect();
        assert_eq!(whys, ["it failed", "the kernel died in this test", "not run: the kernel died"]);
    }

    #[test]
    fn only_what_a_kernel_may_lack_is_skipped() {
        assert_eq!(excused("kernel: inet_sk_error_report: no such tracepoint", "5.10.0"), Ok(()));
        assert!(excused("kernel: inet_sk_error_report: no such tracepoint", "6.1.0").is_err());
        assert!(excused("kernel: something nobody knows", "5.10.0").is_err());
        assert!(excused("tool: nft is not installed", "5.10.0").is_err());
    }

    #[test]
    fn a_kernel_that_complains_fails_the_test() {
        let told = "@@begin x\n@@start a::one\n@@kernel WARNING: CPU: 0\n@@end 0 1\n@@done\n";
        let report = Report::of(&ended(told, End::Done), &plan(&["one"]), KERNEL);
        assert_eq!(report.counts().failed, 1);
    }
}
