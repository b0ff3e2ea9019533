//! `cargo xtask ci`: all checks, step by step.

use crate::programs::Programs;
use crate::setup::{self, Purpose};
use crate::tree::Tree;
use crate::{build_ebpf, command, dependencies, layers, soak, test, vm};
use anyhow::{Context as _, Result, bail};
use std::process::Command;
use std::thread;
use std::time::Instant;

/// Long enough to show a leak of 32 bytes per socket.
const SOAK_MINUTES: u64 = 3;

#[derive(clap::Args)]
pub struct Args {
    /// Compare the BPF objects even if this machine has another toolchain than the one that built them
    #[arg(long)]
    allow_other_toolchain: bool,
}

pub fn main(args: &Args) -> Result<()> {
    let start = Instant::now();
    let tree = Tree::find()?;
    let cargo = |words: &[&str]| {
        let mut cargo = command::cargo();
        cargo.args(words).current_dir(&tree.root);
        cargo
    };
    step("setup", || setup::ensure(&tree, &[Purpose::Build, Purpose::Test], true))?;
    step("format", || {
        command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
        command::run(&mut cargo(&["fmt", "--check", "--manifest-path", "tracer-ebpf/Cargo.toml"]))
    })?;
    let lints = || {
        step("clippy", || {
            command::run(&mut cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        })?;
        step("documentation", || {
            let mut doc: Command = cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
            command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        })
    };
    // The objects are linked on one processor, each as a whole.
    let objects = || step("BPF objects", || build_ebpf::check(&tree, None, args.allow_other_toolchain));
    both(objects, lints)?;
    step("dependencies", || dependencies::check(&tree))?;
    step("layers", || layers::check(&tree))?;
    // Built once, for the machines, the soak and the tests here.
    let programs = step("programs of the tests", || Programs::build(&tree))?;
    // A soak mostly waits, and its checks have to hold on a busy host, too.
    step("other kernels, and a soak beside them", || {
        let Programs { tracer, traffic, .. } = programs;
        both(|| vm::matrix::run(&tree), || soak::main(&soak::Args::of(SOAK_MINUTES, tracer, traffic)))
    })?;
    println!("=== everything but this machine's tests: {:.0} s", start.elapsed().as_secs_f64());
    println!("=== tests");
    // The last lines of the whole run are cargo test's.
    test::main(&test::Args::default()).context("tests")
}

/// Runs both at the same time, to their ends.
fn both(one: impl FnOnce() -> Result<()>, other: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        let other = other.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        match (one, other) {
            (Err(one), Err(other)) => bail!("{one:#}\nxtask: {other:#}"),
            (one, other) => one.and(other),
        }
    })
}

fn step<T>(name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("=== {name}");
    let start = Instant::now();
    let done = body().with_context(|| name.to_owned())?;
    println!("=== {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(done)
}
