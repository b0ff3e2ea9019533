//! The memory and the descriptors of the tracer's process, and whether they grow.
//!
//! The first fifth of the time is a warm-up: the rings' pages are touched for the first time, tables reach the size
//! that the load needs. The rest is divided into thirds. Memory is flat if the maximum of the second and the last third
//! is at most that of the first one plus a margin: [`bound`]. Descriptors are opened and closed all the time (/proc is
//! read), so their minimum of each third must not grow.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// The allowed growth of memory: a table that doubles late, or memory that the allocator keeps.
const SLACK_BYTES: u64 = 2 << 20;
/// The same as a fraction of the memory in use.
const SLACK_PART: u64 = 20;

/// One look at the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time since the beginning.
    pub at: Duration,
    /// `VmRSS`, bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Sample {
    /// A look at the process `pid`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(pid: u32, at: Duration) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).context(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
        let path = format!("/proc/{pid}/fd");
        let descriptors = std::fs::read_dir(&path).context(path)?.count();
        Ok(Self { at, resident: kilobytes * 1024, descriptors })
    }

    /// Resident memory in MiB.
    #[must_use]
    pub fn mebibytes(&self) -> f64 {
        mebibytes(self.resident)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// All looks, in order.
#[derive(Debug, Default)]
pub struct Resources(Vec<Sample>);

/// A third of the time after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Third {
    most_resident: u64,
    least_descriptors: usize,
}

/// The limit for the memory of later thirds.
const fn bound(first: u64) -> u64 {
    let part = first / SLACK_PART;
    first + if part > SLACK_BYTES { part } else { SLACK_BYTES }
}

impl Resources {
    pub fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    fn thirds(&self) -> Option<[Third; 3]> {
        let end = self.0.last()?.at;
        let warm: Vec<&Sample> = self.0.iter().filter(|sample| sample.at >= end / 5).collect();
        let of = |part: &[&Sample]| {
            Some(Third {
                most_resident: part.iter().map(|sample| sample.resident).max()?,
                least_descriptors: part.iter().map(|sample| sample.descriptors).min()?,
            })
        };
        let third = warm.len() / 3;
        Some([of(&warm[..third])?, of(&warm[third..2 * third])?, of(&warm[2 * third..])?])
    }

    /// Violations, one sentence each.
    pub fn wrong(&self) -> Vec<String> {
        let Some([first, second, last]) = self.thirds() else {
            return vec!["the tracer was not looked at often enough".to_owned()];
        };
        let mut wrong = Vec::new();
        let most = second.most_resident.max(last.most_resident);
        if most > bound(first.most_resident) {
            wrong.push(format!(
                "the tracer's memory grows: {:.1} MiB in the first third after the warm-up, {:.1} MiB later",
                mebibytes(first.most_resident),
                mebibytes(most)
            ));
        }
        if last.least_descriptors > first.least_descriptors {
            wrong.push(format!(
                "the tracer's open files grow: {} in the first third after the warm-up, {} in the last",
                first.least_descriptors, last.least_descriptors
            ));
        }
        wrong
    }

    pub fn print(&self) {
        println!("\nafter the warm-up   most memory   least descriptors");
        for (name, third) in
            ["first third", "second third", "last third"].iter().zip(self.thirds().into_iter().flatten())
        {
            println!("{name:<17} {:>9.1} MiB {:>19}", mebibytes(third.most_resident), third.least_descriptors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// One look a second for five minutes.
    fn looks(resident: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> usize) -> Resources {
        Resources(
            (1..=300)
                .map(|second| Sample {
                    at: Duration::from_secs(second),
                    resident: resident(second),
                    descriptors: descriptors(second),
                })
                .collect(),
        )
    }

    #[test]
    fn what_grows_in_the_beginning_and_varies_is_flat() {
        let memory = |second| if second < 50 { second * MIB / 2 } else { 30 * MIB + second % 7 * MIB / 8 };
        // Every third second /proc is read.
        let resources = looks(memory, |second| if second % 3 == 0 { 45 } else { 40 });
        assert_eq!(resources.wrong(), Vec::<String>::new());
    }

    #[test]
    fn a_slow_leak_is_found() {
        // 25 KB a second.
        let resources = looks(|second| 30 * MIB + second * 25_000, |_| 40);
        assert_eq!(resources.wrong().len(), 1);
        assert!(resources.wrong()[0].starts_with("the tracer's memory grows: 33.3 MiB"), "{:?}", resources.wrong());
    }

    #[test]
    fn a_descriptor_that_stays_open_is_found() {
        let resources = looks(|_| 30 * MIB, |second| 40 + usize::from(second > 150));
        assert_eq!(
            resources.wrong(),
            ["the tracer's open files grow: 40 in the first third after the warm-up, 41 in the last"]
        );
    }

    #[test]
    fn too_few_looks_prove_nothing() {
        assert_eq!(Resources::default().wrong().len(), 1);
    }
}
