//! KERNELS.md: the results of the matrix, for people.

use super::report::{Outcome, Report};
use super::unpack::Kernel;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The whole page. `tests`: number of planned tests for each kernel; `date`: of the run.
#[must_use]
pub fn of(results: &[(&Kernel, &Report)], tests: usize, date: &str) -> String {
    let mut page = format!(
        "# Kernels\n\n\
         Written by `cargo xtask vm --write` on {date}; a change by hand is lost. There are {tests} live tests in\n\
         `tests/tests/live`; those counted below ran on Debian's kernels, emulated. Debian switches on nearly everything\n\
         that a version has. What a kernel leaves that is locked down or built without kprobes is not shown here:\n\
         `tracer doctor` says it on the machine itself.\n\n"
    );
    let row = |page: &mut String, name: &str, cells: &dyn Fn(&Kernel, &Report) -> String| {
        let cells: Vec<String> = results.iter().map(|(kernel, report)| cells(kernel, report)).collect();
        let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
    };
    let rule = |page: &mut String| {
        let _ = writeln!(page, "|{}", " --- |".repeat(results.len() + 1));
    };
    row(&mut page, "", &|kernel, _| kernel.series());
    rule(&mut page);
    row(&mut page, "release", &|kernel, _| kernel.release.clone());
    row(&mut page, "Debian's version", &|_, report| debian_version(&report.version).to_owned());
    row(&mut page, "tests run", &|_, report| report.verdicts.len().to_string());
    row(&mut page, "passed", &|_, report| report.counts().passed.to_string());
    row(&mut page, "skipped", &|_, report| report.counts().skipped.to_string());
    row(&mut page, "failed, known why", &|_, report| report.counts().known.to_string());
    row(&mut page, "failed", &|_, report| report.counts().failed.to_string());

    page.push_str("\n## Backends\n\nThe link of each hook's chain that is taken when nothing is forced.\n\n");
    row(&mut page, "hook", &|kernel, _| kernel.series());
    rule(&mut page);
    for hook in names(results, |finding| finding["backend"].is_string()) {
        row(&mut page, &format!("`{hook}`"), &|_, report| match report.finding(&hook) {
            Some(finding) => match (finding["backend"].as_str(), finding["ok"] == true) {
                (Some(backend), _) => backend.to_owned(),
                (None, true) => "not needed".to_owned(),
                (None, false) => "none".to_owned(),
            },
            None => "not told".to_owned(),
        });
    }
    let forced: BTreeSet<&str> =
        results.iter().flat_map(|(_, report)| report.links.keys().map(String::as_str)).collect();
    if !forced.is_empty() {
        page.push_str("\n## Links\n\nWhat loads and attaches when it is asked for by `--backend`.\n\n");
        row(&mut page, "link", &|kernel, _| kernel.series());
        rule(&mut page);
        for link in forced {
            row(&mut page, &format!("`{link}`"), &|_, report| match report.links.get(link) {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => "not told".to_owned(),
            });
        }
    }

    page.push_str("\n## Missing\n\n");
    let missing = names(results, |finding| finding["ok"] == false);
    if missing.is_empty() {
        page.push_str("Nothing, on any of them.\n");
    } else {
        row(&mut page, "", &|kernel, _| kernel.series());
        rule(&mut page);
        for name in &missing {
            row(&mut page, &format!("`{name}`"), &|_, report| match report.finding(name) {
                Some(finding) if finding["ok"] == false => "missing".to_owned(),
                Some(_) => "there".to_owned(),
                // A member is listed only if it is missing.
                None if name.starts_with("member:") => "there".to_owned(),
                None => "not told".to_owned(),
            });
        }
        page.push('\n');
        for name in &missing {
            let said = results.iter().filter_map(|(_, report)| report.finding(name));
            if let Some(cost) = said.filter_map(|finding| finding["cost"].as_str()).next() {
                let _ = writeln!(page, "- `{name}`: {cost}");
            }
        }
    }
    tests_that(&mut page, results, "Skipped", |outcome| match outcome {
        Outcome::Skipped(reason) => Some(reason),
        _ => None,
    });
    tests_that(&mut page, results, "Failed, known why", |outcome| match outcome {
        Outcome::Known { why, .. } => Some(why),
        _ => None,
    });
    tests_that(&mut page, results, "Failed", |outcome| match outcome {
        Outcome::Failed { why, .. } => Some(why),
        _ => None,
    });
    page
}

/// A section with the tests for which `why` gives a reason; none if there are no such tests.
fn tests_that(page: &mut String, results: &[(&Kernel, &Report)], title: &str, why: impl Fn(&Outcome) -> Option<&str>) {
    let mut tests: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for (kernel, report) in results {
        for verdict in &report.verdicts {
            if let Some(why) = why(&verdict.outcome) {
                tests.entry((verdict.test.to_string(), why)).or_default().push(kernel.series());
            }
        }
    }
    if tests.is_empty() {
        return;
    }
    let _ = write!(page, "\n## {title}\n\n| test | kernels | why |\n| --- | --- | --- |\n");
    for ((test, why), kernels) in tests {
        let _ = writeln!(page, "| `{test}` | {} | {} |", kernels.join(", "), why.replace('|', "\\|"));
    }
}

/// The names of the findings that some kernel has, in the order of their first appearance.
fn names(results: &[(&Kernel, &Report)], wanted: impl Fn(&serde_json::Value) -> bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, report) in results {
        for name in report.doctor.iter().filter(|finding| wanted(finding)).filter_map(|f| f["name"].as_str()) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// `5.10.223-1` in a /proc/version of Debian: the word after "Debian" at its end.
fn debian_version(version: &str) -> &str {
    version.rsplit_once(" Debian ").map_or("unknown", |(_, rest)| rest.split(' ').next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_version_is_found() {
        let version = "Linux version 5.10.0-32-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-10 (Debian 10.2.1-6) \
                       10.2.1 20210110) #1 SMP Debian 5.10.223-1 (2024-08-10)";
        assert_eq!(debian_version(version), "5.10.223-1");
        assert_eq!(debian_version("Linux version 6.18.0"), "unknown");
    }
}
