//! bpf-linker, in the one version that the objects are built with.

use crate::toolchain::DEBIAN_LLVM;
use crate::tree::Tree;
use crate::{command, rustc};
use std::path::PathBuf;
use std::process::Command;

const VERSION: &str = "0.13.0";

/// What the linker says to `--version`.
#[must_use]
pub fn version() -> String {
    format!("bpf-linker {VERSION}")
}

/// The linker of that version: the project's own, else one in PATH.
#[must_use]
pub fn find(tree: &Tree) -> Option<PathBuf> {
    [Some(own(tree)), command::find("bpf-linker")]
        .into_iter()
        .flatten()
        .find(|path| command::probe(Command::new(path).arg("--version")) == Some(version()))
}

fn own(tree: &Tree) -> PathBuf {
    tree.tools().join("bin/bpf-linker")
}

/// The command that installs it into the project's own tools, linked with Debian's LLVM.
#[must_use]
pub fn install(tree: &Tree) -> Command {
    let mut command = command::cargo();
    rustc::clean(&mut command);
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked"])
        // It is LLVM that works; without optimisation the rest is built in half of the time.
        .args(["--debug", "--no-default-features", "--features", "llvm-22", "--root"])
        .arg(tree.tools())
        .env("LLVM_PREFIX", DEBIAN_LLVM)
        .current_dir(&tree.root);
    command
}

/// What to type where Debian's LLVM is not to be had.
#[must_use]
pub fn by_hand() -> String {
    format!(
        "cargo install bpf-linker --version {VERSION} --locked --no-default-features --features llvm-NN \
         (NN: the LLVM that `rustc +nightly --version --verbose` names; LLVM's development files of that version must be \
         installed, LLVM_PREFIX names their folder)"
    )
}
