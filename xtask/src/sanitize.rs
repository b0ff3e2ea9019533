//! `cargo xtask sanitize`: the crates' own tests under AddressSanitizer. They include the parsers of packets and
//! records that also run in the kernel, and every reader of foreign input, with mutated input.
//!
//! The runtime comes with rustup's toolchains, the stable one included, where `RUSTC_BOOTSTRAP` unlocks the option. The
//! standard library is not instrumented (that takes rust-src), but its allocations are. Miri finds more and takes some
//! thousand times as long: it runs the code that both sides share, with few inputs.

use crate::tree::Tree;
use crate::{command, rustc};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// The target of the build.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Number of inputs of each test under Miri.
const FEW: &str = "60";

#[derive(clap::Args)]
pub struct Args {
    /// Run the code that both sides share under Miri (rustup component add miri rust-src --toolchain nightly)
    #[arg(long)]
    miri: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    let target = tree.target.join("xtask/sanitize");
    let mut cargo = if args.miri {
        let mut cargo = Command::new("rustup");
        rustc::clean(&mut cargo);
        cargo
            .args(["run", "nightly", "cargo", "miri", "test", "--locked", "--lib", "--package", "tracer-common"])
            .env("TRACER_FUZZ", FEW)
            // The tests read their settings from the environment.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation");
        cargo
    } else {
        has_runtime(&tree)?;
        let mut cargo = command::cargo();
        cargo
            .args([
                "test",
                "--locked",
                "--target",
                TARGET,
                "--lib",
                "--workspace",
                "--exclude",
                "tracer-tests",
                "--exclude",
                "xtask",
            ])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address");
        cargo
    };
    command::run(cargo.args(&args.filter).env("CARGO_TARGET_DIR", target).current_dir(&tree.root))
}

fn has_runtime(tree: &Tree) -> Result<()> {
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(&tree.root))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    let is_runtime = |file: std::fs::DirEntry| file.file_name().to_string_lossy().ends_with("_rt.asan.a");
    if !std::fs::read_dir(&libraries).is_ok_and(|files| files.flatten().any(is_runtime)) {
        bail!("this rustc has no sanitizers ({}): rustup's toolchains have them", libraries.display());
    }
    Ok(())
}
