//! bpf-linker, in the version that built the objects.

use crate::tree::Tree;
use crate::{command, rustc};
use std::path::PathBuf;
use std::process::Command;

const VERSION: &str = "0.13.0";
/// The folder of Debian's LLVM of the version in Debian's rustc.
pub const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";

/// The linker's answer to `--version`.
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
        // LLVM does the work; the rest builds in half of the time without optimisation.
        .args(["--debug", "--no-default-features", "--features", "llvm-22", "--root"])
        .arg(tree.tools())
        .env("LLVM_PREFIX", DEBIAN_LLVM)
        .current_dir(&tree.root);
    command
}

/// The command to type where Debian's LLVM is unavailable.
#[must_use]
pub fn by_hand() -> String {
    format!(
        "cargo install bpf-linker --version {VERSION} --locked --no-default-features --features llvm-NN \
         (NN: the LLVM that `rustc +nightly --version --verbose` names; LLVM's development files of that version must be \
         installed, LLVM_PREFIX names their folder)"
    )
}
