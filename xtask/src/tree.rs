//! The root of the repository and cargo's target folder.

use crate::command;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// The repository and its target folder.
pub struct Tree {
    /// The folder that holds the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Cargo's target folder, as set by the environment or a configuration.
    pub target: PathBuf,
}

impl Tree {
    /// Asks cargo.
    ///
    /// # Errors
    /// When `cargo metadata` fails.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no workspace")?;
        let text = command::output(
            command::cargo().args(["metadata", "--no-deps", "--format-version=1"]).current_dir(manifest),
        )?;
        let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata")?;
        let path = |key: &str| -> Result<PathBuf> {
            Ok(metadata[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?.into())
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// The folder where `setup` puts programs that it builds or unpacks for this project alone.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}
