//! `cargo xtask sanitize`: the crates' own tests under AddressSanitizer. Among them are the parsers of packets
//! and records that also run in the kernel, and every reader of what others have written, with mutated input.
//!
//! The runtime comes with rustup's toolchains, the stable one included, where `RUSTC_BOOTSTRAP` unlocks the
//! option. The standard library is not instrumented (that takes rust-src), its allocations are.

use crate::command;
use crate::tree::Tree;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// The machine that builds.
const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(clap::Args)]
pub struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(&tree.root))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    let has_runtime = std::fs::read_dir(&libraries)
        .is_ok_and(|files| files.flatten().any(|file| file.file_name().to_string_lossy().ends_with("_rt.asan.a")));
    if !has_runtime {
        bail!("this rustc has no sanitizers ({}): rustup's toolchains have them", libraries.display());
    }
    let mut cargo = command::cargo();
    cargo
        .args(["test", "--locked", "--target", TARGET, "--lib", "--package", "tracer-common", "--package", "tracer"])
        .args(&args.filter)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("CARGO_TARGET_DIR", tree.target.join("xtask/sanitize"))
        .current_dir(&tree.root);
    command::run(&mut cargo)
}
