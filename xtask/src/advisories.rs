//! `cargo xtask advisories`: makes the repository's list of known advisories from the RustSec database, and compares it
//! with the two lock files.

use crate::command;
use crate::tree::Tree;
use anyhow::{Context as _, Result, bail};
use semver::{Version, VersionReq};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

const LIST: &str = "xtask/advisories.tsv";
const LOCKS: [&str; 2] = ["Cargo.lock", "tracer-ebpf/Cargo.lock"];

#[derive(clap::Args)]
pub struct Args {
    /// A clone of the RustSec database (github.com/rustsec/advisory-db)
    database: PathBuf,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    let commit =
        command::output(Command::new("git").arg("-C").arg(&args.database).args(["log", "-1", "--format=%H of %cs"]))?;
    let mut rows = Vec::new();
    for package in fs::read_dir(args.database.join("crates"))? {
        for file in fs::read_dir(package?.path())? {
            let path = file?.path();
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            rows.extend(Advisory::from_markdown(&text).with_context(|| path.display().to_string())?);
        }
    }
    rows.sort_by(|a, b| (&a.package, &a.id).cmp(&(&b.package, &b.id)));
    let mut text = format!(
        "# Advisories for crates, from https://github.com/rustsec/advisory-db, commit {}.\n\
         # Public domain (CC0-1.0); some entries adapted from https://github.com/advisories (CC-BY-4.0).\n\
         # Made by `cargo xtask advisories CLONE`. Columns: package, id, kind, versions not affected\n\
         # (alternatives between bars).\n",
        commit.trim()
    );
    for row in &rows {
        writeln!(text, "{}\t{}\t{}\t{}", row.package, row.id, row.kind, row.fine.join(" | "))?;
    }
    fs::write(tree.root.join(LIST), text)?;
    println!("{LIST}: {} advisories", rows.len());
    Ok(())
}

/// One advisory.
#[derive(Debug, PartialEq, Eq)]
struct Advisory {
    package: String,
    id: String,
    /// `vulnerability`, or the database's word for an advisory that is only informational: `unsound`, `unmaintained` …
    kind: String,
    /// Ranges of versions that are patched or were never affected.
    fine: Vec<String>,
}

impl Advisory {
    /// Reads a file of the database: Markdown that starts with TOML. `None` if the advisory was withdrawn.
    fn from_markdown(text: &str) -> Result<Option<Self>> {
        let toml = text
            .strip_prefix("```toml")
            .and_then(|rest| rest.split("```").next())
            .context("does not start with TOML")?;
        let toml: toml::Table = toml.parse()?;
        let advisory = toml.get("advisory").and_then(toml::Value::as_table).context("no [advisory]")?;
        if advisory.contains_key("withdrawn") {
            return Ok(None);
        }
        let word = |key: &str| advisory.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let versions = toml.get("versions");
        let ranges = ["patched", "unaffected"].into_iter().filter_map(|key| versions?.get(key)?.as_array()).flatten();
        let advisory = Self {
            package: word("package").context("no package")?,
            id: word("id").context("no id")?,
            kind: word("informational").unwrap_or_else(|| "vulnerability".into()),
            fine: ranges.filter_map(toml::Value::as_str).map(str::to_owned).collect(),
        };
        advisory.affects(&Version::new(0, 0, 0)).context("version ranges")?;
        Ok(Some(advisory))
    }

    fn from_row(row: &str) -> Result<Self> {
        let [package, id, kind, fine] =
            row.split('\t').collect::<Vec<_>>().try_into().ok().context("not four columns")?;
        let fine = fine.split(" | ").filter(|range| !range.is_empty()).map(str::to_owned).collect();
        Ok(Self { package: package.into(), id: id.into(), kind: kind.into(), fine })
    }

    fn affects(&self, version: &Version) -> Result<bool> {
        for range in &self.fine {
            if VersionReq::parse(range).with_context(|| range.clone())?.matches(version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it reports a fault of the code, not only a lack of maintenance.
    fn is_fault(&self) -> bool {
        matches!(self.kind.as_str(), "vulnerability" | "unsound")
    }
}

/// The faults of the versions in the lock files, one per line; prints informational advisories.
///
/// # Errors
/// When the list or a lock file cannot be read.
pub fn check(tree: &Tree) -> Result<Vec<String>> {
    let list = fs::read_to_string(tree.root.join(LIST)).context(LIST)?;
    let (advisories, origin) = parse(&list)?;
    let mut wrong = Vec::new();
    let mut count = 0;
    for lock in LOCKS {
        for (name, version) in locked(&tree.root.join(lock))? {
            count += 1;
            for advisory in advisories.iter().filter(|advisory| advisory.package == name) {
                if !advisory.affects(&version)? {
                    continue;
                }
                let finding = format!("{name} {version} in {lock}: {} ({})", advisory.id, advisory.kind);
                if advisory.is_fault() { wrong.push(finding) } else { println!("note: {finding}") }
            }
        }
    }
    println!("{count} locked versions compared with {} advisories ({origin})", advisories.len());
    println!("note: yanked versions and younger advisories cannot be seen offline");
    Ok(wrong)
}

fn parse(list: &str) -> Result<(Vec<Advisory>, &str)> {
    let origin = list.lines().next().and_then(|line| line.rsplit_once("commit ")).map_or("origin unknown", |(_, o)| o);
    let mut advisories = Vec::new();
    for (number, row) in list.lines().enumerate().filter(|(_, row)| !row.starts_with('#')) {
        advisories.push(Advisory::from_row(row).with_context(|| format!("{LIST}, line {}", number + 1))?);
    }
    if advisories.is_empty() {
        bail!("{LIST} lists no advisories");
    }
    Ok((advisories, origin.trim_end_matches('.')))
}

fn locked(lock: &Path) -> Result<Vec<(String, Version)>> {
    let text = fs::read_to_string(lock).with_context(|| lock.display().to_string())?;
    let table: toml::Table = text.parse().with_context(|| lock.display().to_string())?;
    let packages = table.get("package").and_then(toml::Value::as_array).context("a lock file without packages")?;
    let mut found = Vec::new();
    // The workspace's own packages have no source.
    for package in packages.iter().filter(|package| package.get("source").is_some()) {
        let word =
            |key: &str| package.get(key).and_then(toml::Value::as_str).context("a package without name or version");
        found.push((word("name")?.to_owned(), Version::parse(word("version")?)?));
    }
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    const FILE: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0007\"\npackage = \"bytes\"\ndate = \"2026-02-03\"\n\n\
                        [versions]\npatched = [\">= 1.11.1\"]\nunaffected = [\"< 1.2.1\"]\n```\n\n# Overflow\n";

    #[test]
    fn versions_between_the_ranges_are_affected() {
        let advisory = Advisory::from_markdown(FILE).unwrap().unwrap();
        assert!(advisory.is_fault());
        for (version, affected) in [("1.2.0", false), ("1.2.1", true), ("1.11.0", true), ("1.11.1", false)] {
            assert_eq!(advisory.affects(&version.parse().unwrap()).unwrap(), affected, "{version}");
        }
    }

    #[test]
    fn a_row_is_what_the_file_was() {
        let row = Advisory::from_row("bytes\tRUSTSEC-2026-0007\tvulnerability\t>= 1.11.1 | < 1.2.1").unwrap();
        assert_eq!(Some(row), Advisory::from_markdown(FILE).unwrap());
        assert!(Advisory::from_row("bytes RUSTSEC-2026-0007").is_err());
    }

    #[test]
    fn one_without_a_patch_affects_every_version() {
        let row = Advisory::from_row("gone\tRUSTSEC-2020-0001\tunmaintained\t").unwrap();
        assert!(!row.is_fault());
        assert!(row.affects(&Version::new(9, 9, 9)).unwrap());
    }

    #[test]
    fn a_withdrawn_one_is_left_out() {
        let text = FILE.replace("date = ", "withdrawn = \"2026-03-01\"\ndate = ");
        assert_eq!(Advisory::from_markdown(&text).unwrap(), None);
    }
}
