//! `cargo xtask dependencies`: checks the dependencies of tracer without the network.
//!
//! Licences and sources come from cargo's files on disk, advisories from the list in the repository. Two things are
//! unknown offline: whether a version has been yanked since, and advisories younger than the list.

use crate::tree::Tree;
use crate::{advisories, command, spdx};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Licences that a static binary under MIT OR Apache-2.0 may contain with no further duty than naming them.
const ALLOWED: [&str; 10] =
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The two workspaces, with the target for which their dependencies are resolved.
const WORKSPACES: [(&str, &str); 2] =
    [("Cargo.toml", "x86_64-unknown-linux-gnu"), ("tracer-ebpf/Cargo.toml", "bpfel-unknown-none")];

#[derive(clap::Args)]
pub struct Args {}

pub fn main(_: &Args) -> Result<()> {
    check(&Tree::find()?)
}

/// Checks every dependency of both workspaces.
///
/// # Errors
/// All faults, one per line.
pub fn check(tree: &Tree) -> Result<()> {
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    for (manifest, target) in WORKSPACES {
        let mut cargo = command::cargo();
        cargo.args(["metadata", "--locked", "--offline", "--format-version=1"]);
        cargo.args(["--filter-platform", target, "--manifest-path", manifest]).current_dir(&tree.root);
        let text = command::output(&mut cargo).context("cargo fetch brings the dependencies here")?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
        for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
            count += 1;
            let name = package["name"].as_str().unwrap_or_default();
            let version = package["version"].as_str().unwrap_or_default();
            judge(package, &tree.root).into_iter().for_each(|what| wrong.push(format!("{name} {version}: {what}")));
            let known = versions.entry(name.to_owned()).or_default();
            if !known.iter().any(|known| known == version) {
                known.push(version.to_owned());
            }
        }
    }
    println!("{count} packages: licences and sources looked at");
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        println!("note: {name} in several versions: {}", versions.join(", "));
    }
    wrong.extend(advisories::check(tree)?);
    if !wrong.is_empty() {
        bail!("{} findings:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(())
}

/// The faults of one package of `cargo metadata`.
fn judge(package: &Value, root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    match package["license"].as_str().map(|license| (license, spdx::satisfied(license, &ALLOWED))) {
        Some((_, Some(true))) => {}
        Some((license, Some(false))) => wrong.push(format!("licence {license} is not among those allowed")),
        Some((license, None)) => wrong.push(format!("licence {license:?} is not an SPDX expression")),
        None => wrong.push("names no licence".into()),
    }
    match package["source"].as_str() {
        Some(REGISTRY) => {}
        Some(source) => wrong.push(format!("comes from {source}, not from crates.io")),
        None => {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            if !Path::new(manifest).starts_with(root) {
                wrong.push(format!("lies outside the repository: {manifest}"));
            }
            let wanted = package["dependencies"].as_array().into_iter().flatten();
            for dependency in wanted.filter(|dependency| dependency["path"].is_null() && dependency["req"] == "*") {
                wrong.push(format!("asks for any version of {}", dependency["name"]));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn packages_are_judged_by_licence_and_source() {
        let root = Path::new("/repository");
        let judged = |license: Value, source: Value, manifest: &str| {
            judge(&json!({"license": license, "source": source, "manifest_path": manifest, "dependencies": []}), root)
                .len()
        };
        assert_eq!(judged(json!("MIT"), json!(REGISTRY), "/cargo/a/Cargo.toml"), 0);
        assert_eq!(judged(json!("MIT"), Value::Null, "/repository/a/Cargo.toml"), 0);
        assert_eq!(judged(json!("MPL-2.0"), json!(REGISTRY), "/cargo/a/Cargo.toml"), 1);
        assert_eq!(judged(Value::Null, json!(REGISTRY), "/cargo/a/Cargo.toml"), 1);
        assert_eq!(judged(json!("MIT"), json!("git+https://example.org/a"), "/cargo/a/Cargo.toml"), 1);
        assert_eq!(judged(json!("MIT"), Value::Null, "/elsewhere/Cargo.toml"), 1);
    }

    #[test]
    fn a_wildcard_is_found_but_a_path_is_none() {
        let package = json!({
            "license": "MIT", "source": null, "manifest_path": "/repository/a/Cargo.toml",
            "dependencies": [{"name": "any", "req": "*"}, {"name": "own", "req": "*", "path": "/repository/own"}]
        });
        assert_eq!(judge(&package, Path::new("/repository")), ["asks for any version of \"any\""]);
    }
}
