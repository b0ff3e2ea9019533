//! `cargo xtask layers`: checks that each crate depends on those below it alone, and that pure code does no I/O.
//!
//! Pure code gives the same results for the same inputs: it opens no file, asks no socket, reads no clock and starts
//! nothing. Its crates may not depend on one that does, however far down ([`FORBIDDEN`]), and its sources may not name
//! the standard library's ([`IMPURE`]).

use crate::command;
use crate::tree::Tree;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A crate of the workspace.
struct Layer {
    name: &'static str,
    /// Its dependencies in the workspace, but for its tests.
    on: &'static [&'static str],
    pure: bool,
}

const fn pure(name: &'static str, on: &'static [&'static str]) -> Layer {
    Layer { name, on, pure: true }
}

const fn host(name: &'static str, on: &'static [&'static str]) -> Layer {
    Layer { name, on, pure: false }
}

/// The crates, each above those that it may depend on.
const LAYERS: &[Layer] = &[
    pure("tracer-common", &[]),
    pure("tracer-words", &[]),
    pure("tracer-stream", &["tracer-common"]),
    pure("tracer-tables", &["tracer-common"]),
    pure("tracer-explain", &["tracer-stream"]),
    pure("tracer-rules", &["tracer-common", "tracer-stream", "tracer-tables"]),
    pure(
        "tracer-core",
        &["tracer-common", "tracer-explain", "tracer-rules", "tracer-stream", "tracer-tables", "tracer-words"],
    ),
    pure(
        "tracer-filter",
        &["tracer-common", "tracer-core", "tracer-explain", "tracer-stream", "tracer-tables", "tracer-words"],
    ),
    host("tracer-fuzz", &[]),
    host("tracer-privilege", &[]),
    host("tracer-host", &["tracer-common", "tracer-privilege", "tracer-stream", "tracer-tables", "tracer-words"]),
    host("tracer-kernel", &["tracer-common", "tracer-host", "tracer-privilege", "tracer-stream", "tracer-tables"]),
    host("tracer-view", &["tracer-explain", "tracer-host", "tracer-stream", "tracer-words"]),
    host(
        "tracer",
        &[
            "tracer-common",
            "tracer-core",
            "tracer-explain",
            "tracer-filter",
            "tracer-host",
            "tracer-kernel",
            "tracer-privilege",
            "tracer-rules",
            "tracer-stream",
            "tracer-tables",
            "tracer-view",
            "tracer-words",
        ],
    ),
    host("tracer-tests", &[]),
    host("xtask", &[]),
];

/// The crate whose dependencies are printed.
const CORE: &str = "tracer-core";

/// Crates that pure ones may not depend on.
const FORBIDDEN: [&str; 9] =
    ["aya", "aya-obj", "mio", "procfs", "rustix", "seccompiler", "socket2", "tokio", "tracer-host"];

/// Words of the standard library that pure code may not use.
const IMPURE: [&str; 11] = [
    "std::env",
    "std::fs",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
];

#[derive(clap::Args)]
pub struct Args {}

pub fn main(_: &Args) -> Result<()> {
    check(&Tree::find()?)
}

/// Checks every crate, and prints everything that the core depends on.
///
/// # Errors
/// All faults, one per line.
pub fn check(tree: &Tree) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["metadata", "--locked", "--offline", "--format-version=1"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(&tree.root);
    let metadata: Value = serde_json::from_str(&command::output(&mut cargo)?).context("cargo metadata")?;
    let graph = Graph::of(&metadata)?;
    let mut wrong = misplaced(&graph);
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut below_core = BTreeSet::new();
    for layer in LAYERS.iter().filter(|layer| layer.pure) {
        folders.extend(graph.folders.get(layer.name).map(|folder| folder.join("src")));
        let below = all_below(tree, layer.name)?;
        wrong.extend(forbidden(layer.name, &below));
        if layer.name == CORE {
            below_core = below.into_iter().filter(|one| one != CORE).collect();
        }
    }
    let mut count = 0;
    for folder in &folders {
        for file in sources(folder).with_context(|| folder.display().to_string())? {
            count += 1;
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let name = file.strip_prefix(&tree.root).unwrap_or(&file).display();
            wrong.extend(impure(&text).into_iter().map(|(line, word)| format!("{name}:{line}: pure code uses {word}")));
        }
    }
    if !wrong.is_empty() {
        bail!("{} findings:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    println!("{} crates in their layers, {count} pure files looked at", LAYERS.len());
    println!("{CORE} depends on: {}", below_core.into_iter().collect::<Vec<_>>().join(" "));
    Ok(())
}

/// The crates of `cargo metadata` and their dependencies, but for tests and build scripts.
#[derive(Default)]
struct Graph {
    /// By name; of the workspace alone.
    folders: BTreeMap<String, PathBuf>,
    /// By name. Versions of one crate count as one.
    on: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(metadata: &Value) -> Result<Self> {
        let mut graph = Self::default();
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
            let text = |key: &str| package[key].as_str().with_context(|| format!("a package has no {key}"));
            names.insert(text("id")?, text("name")?);
            if package["source"].is_null() {
                let folder = Path::new(text("manifest_path")?).parent().context("a manifest lies in no folder")?;
                graph.folders.insert(text("name")?.to_owned(), folder.to_owned());
            }
        }
        for node in metadata["resolve"]["nodes"].as_array().context("cargo metadata resolves nothing")? {
            let name = |id: &Value| id.as_str().and_then(|id| names.get(id)).map(|name| (*name).to_owned());
            let of = name(&node["id"]).context("a node is no package")?;
            let all = node["deps"].as_array().into_iter().flatten();
            let normal =
                all.filter(|one| one["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null()));
            graph.on.entry(of).or_default().extend(normal.filter_map(|one| name(&one["pkg"])));
        }
        Ok(graph)
    }
}

/// Everything that crate `of` depends on when it is built alone, however far down, without its tests and its procedural
/// macros: other crates of the workspace may ask more features of a common dependency.
fn all_below(tree: &Tree, of: &str) -> Result<BTreeSet<String>> {
    let mut cargo = command::cargo();
    cargo.args([
        "tree",
        "--locked",
        "--offline",
        "--package",
        of,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    let text = command::output(cargo.args(["--format", "{p}"]).current_dir(&tree.root))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// The dependencies among `below` that pure crate `name` may not have.
fn forbidden(name: &str, below: &BTreeSet<String>) -> Vec<String> {
    let found = FORBIDDEN.iter().filter(|one| below.contains(**one));
    found.map(|one| format!("{name}: is pure and may not depend on {one}, not even by others")).collect()
}

/// Crates without a layer, layers without a crate, and dependencies that the layers rule out.
fn misplaced(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for layer in LAYERS {
        let name = layer.name;
        let Some(on) = graph.on.get(name) else {
            wrong.push(format!("{name}: there is no such crate"));
            continue;
        };
        let own = on.iter().filter(|one| graph.folders.contains_key(*one));
        wrong.extend(
            own.filter(|one| !layer.on.contains(&one.as_str())).map(|one| format!("{name}: may not depend on {one}")),
        );
    }
    let unknown = graph.folders.keys().filter(|name| LAYERS.iter().all(|layer| layer.name != name.as_str()));
    wrong.extend(unknown.map(|name| format!("{name}: has no layer in xtask/src/layers.rs")));
    wrong
}

/// The Rust files below `folder` that are no tests.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The uses of what pure code may not use, before the tests: the number of the line, and the word.
fn impure(text: &str) -> Vec<(usize, &'static str)> {
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let code: Vec<&str> = code.map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect();
    let spread = spread(&code.join("\n"));
    let uses = |line: &str, word: &str| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        line.match_indices(word).any(|(at, _)| {
            let before = line.get(..at).and_then(|text| text.chars().next_back());
            let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    };
    let lines = spread.lines().enumerate();
    lines
        .flat_map(|(at, line)| IMPURE.iter().filter(move |word| uses(line, word)).map(move |word| (at + 1, *word)))
        .collect()
}

/// Writes the modules of `use std::{fs, io}` in full: `use std::{std::fs, std::io}`. The lines remain.
fn spread(code: &str) -> String {
    const GROUP: &str = "use std::{";
    let mut text = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(GROUP) {
        let (before, group) = rest.split_at(at + GROUP.len());
        text.push_str(before);
        let end = group.find(';').unwrap_or(group.len());
        let (group, after) = group.split_at(end);
        let (mut depth, mut begins) = (0_i32, true);
        for c in group.chars() {
            if begins && depth == 0 && c.is_alphabetic() {
                text.push_str("std::");
                begins = false;
            }
            depth += i32::from(c == '{') - i32::from(c == '}');
            begins |= c == ',' && depth == 0;
            text.push(c);
        }
        rest = after;
    }
    text + rest
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    /// A workspace in which every crate is in its layer.
    fn workspace() -> Graph {
        let mut graph = Graph::default();
        for layer in LAYERS {
            graph.folders.insert(layer.name.to_owned(), PathBuf::from(layer.name));
            graph.on.insert(layer.name.to_owned(), layer.on.iter().map(|one| (*one).to_owned()).collect());
        }
        graph
    }

    #[test]
    fn a_layer_is_above_all_that_it_depends_on() {
        for (at, layer) in LAYERS.iter().enumerate() {
            for on in layer.on {
                assert!(LAYERS[..at].iter().any(|below| below.name == *on), "{} on {on}", layer.name);
            }
        }
        assert_eq!(misplaced(&workspace()), [""; 0]);
    }

    #[test]
    fn what_a_layer_rules_out_is_found() {
        let mut graph = workspace();
        graph.on.get_mut("tracer-stream").unwrap().insert("tracer-explain".to_owned());
        assert_eq!(misplaced(&graph), ["tracer-stream: may not depend on tracer-explain"]);
        let below = BTreeSet::from(["tokio".to_owned(), "tracer-common".to_owned()]);
        assert_eq!(
            forbidden("tracer-words", &below),
            ["tracer-words: is pure and may not depend on tokio, not even by others"]
        );
        let mut graph = workspace();
        graph.folders.insert("tracer-new".to_owned(), PathBuf::new());
        graph.on.remove("xtask");
        assert_eq!(
            misplaced(&graph),
            ["xtask: there is no such crate", "tracer-new: has no layer in xtask/src/layers.rs"]
        );
    }

    #[test]
    fn dependencies_of_tests_and_build_scripts_do_not_count() {
        let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let package = |name: &str| json!({"id": name, "name": name, "source": "r", "manifest_path": "/x/Cargo.toml"});
        let metadata = json!({
            "packages": [package("a"), package("b"), package("c"), package("d")],
            "resolve": {"nodes": [{"id": "a", "deps": [
                dep("b", Value::Null), dep("c", json!("dev")), dep("d", json!("build"))
            ]}]}
        });
        assert_eq!(Graph::of(&metadata).unwrap().on["a"], BTreeSet::from(["b".to_owned()]));
    }

    #[test]
    fn impure_words_are_found_in_code_alone() {
        for (text, words) in [
            ("use std::fs::File;", vec!["std::fs"]),
            ("use std::{collections::HashMap, fs, io};", vec!["std::fs"]),
            ("use std::{\n    collections::{BTreeMap, HashMap},\n    thread,\n};", vec!["std::thread"]),
            ("let now = Instant::now();", vec!["Instant"]),
            ("std::process::exit(1)", vec!["std::process"]),
            ("// Instant\n/// std::fs", vec![]),
            ("struct Instantly; use std::fmt;", vec![]),
            ("fn pure() {}\n#[cfg(test)]\nmod tests { use std::fs; }", vec![]),
        ] {
            let found: Vec<&str> = impure(text).into_iter().map(|(_, word)| word).collect();
            assert_eq!(found, words, "{text}");
        }
    }
}
