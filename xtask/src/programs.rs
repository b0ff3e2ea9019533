//! The programs of the live tests: the tracer, the generator of traffic, the tests. This machine, virtual machines and
//! the soak use the same ones, built once.

use crate::command;
use crate::live::PACKAGE;
use crate::tree::Tree;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The profile in Cargo.toml.
pub const PROFILE: &str = "live";

/// What cargo has built.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The program under test.
    pub tracer: PathBuf,
    /// The generator of traffic.
    pub traffic: PathBuf,
    /// The live tests.
    pub tests: PathBuf,
}

impl Programs {
    /// Builds them as the invoking user.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(tree: &Tree) -> Result<Self> {
        Self::build_by(tree, command::cargo(), &[])
    }

    /// Builds them with a `cargo` that is set up, and these additional arguments.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build_by(tree: &Tree, mut cargo: Command, more: &[&str]) -> Result<Self> {
        cargo
            .args(["build", "--locked", "--profile", PROFILE, "--package", "tracer", "--package", PACKAGE])
            .args(["--bin", "tracer", "--bin", "traffic", "--test", "live"])
            .arg("--message-format=json-render-diagnostics")
            .args(more)
            .current_dir(&tree.root)
            .stdin(Stdio::null());
        let messages = command::output(&mut cargo)?;
        let built: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let find = |kind: &str, name: &str| {
            let is = |message: &&Value| {
                message["reason"] == "compiler-artifact"
                    && message["target"]["kind"][0] == kind
                    && message["target"]["name"] == name
            };
            let path = built.iter().filter(is).find_map(|message| message["executable"].as_str().map(PathBuf::from));
            path.with_context(|| format!("cargo built no {name}"))
        };
        Ok(Self { tracer: find("bin", "tracer")?, traffic: find("bin", "traffic")?, tests: find("test", "live")? })
    }
}
