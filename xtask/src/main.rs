//! The project's tasks: `cargo xtask --help`.
//!
//! Depends on no other crate of the workspace: it has to run when the BPF object is stale and the agent therefore
//! refuses to build.

mod advisories;
mod bench;
mod btf_ext;
mod build_ebpf;
mod ci;
mod command;
mod dependencies;
mod layers;
mod linker;
mod live;
mod netns;
mod nginx;
mod packages;
mod privilege;
mod programs;
mod run;
mod rustc;
mod sanitize;
mod setup;
mod soak;
mod spdx;
#[path = "../../tracer/build/stamp.rs"]
mod stamp;
mod test;
mod toolchain;
mod tree;
mod vm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, runs and tests tracer")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing to build the BPF objects and to run the live tests
    Setup(setup::Args),
    /// Build the BPF objects that are kept in tracer/bpf, or check that they can be reproduced
    BuildEbpf(build_ebpf::Args),
    /// Build tracer in release and start it as root
    Run(run::Args),
    /// Run every test: the crates' own as you, the live ones as root
    Test(test::Args),
    /// Run the crates' own tests under AddressSanitizer
    Sanitize(sanitize::Args),
    /// Run the live tests on Debian's kernels, each in a virtual machine
    Vm(vm::Args),
    /// All checks that must pass before a change goes in
    Ci(ci::Args),
    /// Measure tracer next to its peers
    Bench(bench::Args),
    /// Trace connections, drops and snapshots for a long time: nothing grows, nothing is lost, all is accounted for
    Soak(soak::Args),
    /// Check licences, sources and known advisories of every dependency, offline
    Dependencies(dependencies::Args),
    /// Check that each crate depends on those below it alone, and that pure code does no I/O
    Layers(layers::Args),
    /// Renew the list of advisories from a clone of the RustSec database
    Advisories(advisories::Args),
}

fn main() -> ExitCode {
    if rustc::asked_for() {
        return rustc::main();
    }
    let done = match Cli::parse().task {
        Task::Setup(args) => setup::main(&args),
        Task::BuildEbpf(args) => build_ebpf::main(&args),
        Task::Run(args) => run::main(&args),
        Task::Test(args) => test::main(&args),
        Task::Sanitize(args) => sanitize::main(&args),
        Task::Vm(args) => vm::main(&args),
        Task::Ci(args) => ci::main(&args),
        Task::Bench(args) => bench::main(&args),
        Task::Soak(args) => soak::main(&args),
        Task::Dependencies(args) => dependencies::main(&args),
        Task::Layers(args) => layers::main(&args),
        Task::Advisories(args) => advisories::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
