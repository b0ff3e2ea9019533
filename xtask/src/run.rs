//! `cargo xtask run`: builds tracer in release and replaces itself by it, as root.

use crate::tree::Tree;
use crate::{command, privilege};
use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// Arguments for tracer
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    let tracer = build_tracer(&tree)?;
    let words = [privilege::prefix()?, vec![tracer.into()], args.args.clone()].concat();
    let (program, rest) = words.split_first().context("an empty command line")?;
    // exec() passes on signals, the terminal and the exit status.
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Builds `tracer` in release.
///
/// # Errors
/// When the build fails.
pub fn build_tracer(tree: &Tree) -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo
        .args(["build", "--release", "--locked", "--package", "tracer", "--bin", "tracer"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(&tree.root)
        .stdin(Stdio::null());
    let messages = command::output(&mut cargo)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "tracer")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo built no tracer")
}
