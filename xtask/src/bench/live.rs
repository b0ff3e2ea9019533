//! `cargo xtask bench live`.

use super::hold::Holder;
use super::peer::{Running, Tool};
use super::statistics::{Enabled, Program};
use crate::tree::Tree;
use crate::{command, privilege, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Connections of each churn
    #[arg(long, default_value_t = 60_000)]
    connections: u64,
    /// Rounds; each tool runs once in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

pub fn main(args: &Args) -> Result<()> {
    if !privilege::is_root() {
        bail!("the bench needs root: start it in a root shell");
    }
    let tree = Tree::find()?;
    let tracer = run::build_tracer(&tree)?;
    let traffic = build_traffic(&tree)?;
    // Not a file: otherwise the disk would be measured, too.
    let output = PathBuf::from("/dev/null");
    let mut tools = vec![
        Tool::tracer("tracer", &tracer, &["live"]),
        Tool::tracer("tracer --json", &tracer, &["live", "--json"]),
        // The same amount of output as tcplife.
        Tool::tracer("tracer closes", &tracer, &["live", "--event", "close"]),
        // Process 1 opens no connection here: the filter hides everything.
        Tool::tracer("tracer -p 1", &tracer, &["live", "--json", "-p", "1"]),
    ];
    for name in ["tcplife", "tcpstates"] {
        match command::find(name) {
            Some(program) => tools.push(Tool::peer(name, program)),
            None => eprintln!("{name} is not installed: `cargo xtask setup --for bench`"),
        }
    }
    let churn = |count| churn(&traffic, count);
    rates(&tools, args, &output, &churn)?;
    costs(&tools, args, &output, &churn)?;
    starts(&tools[0], &output)?;
    memory(&tools[0], &output)
}

/// Connections per second, with the statistics off: they cost as much as a small program.
fn rates(tools: &[Tool], args: &Args, output: &Path, churn: &dyn Fn(u64) -> Result<f64>) -> Result<()> {
    let mut alone = Vec::new();
    let mut with: Vec<Vec<f64>> = vec![Vec::new(); tools.len()];
    churn(args.connections / 4)?;
    for _ in 0..args.rounds {
        for (tool, ratios) in tools.iter().zip(&mut with) {
            let before = churn(args.connections)?;
            let running = tool.start(output)?;
            let rate = churn(args.connections)?;
            running.stop()?;
            let after = churn(args.connections)?;
            alone.push(f64::midpoint(before, after));
            ratios.push(rate / f64::midpoint(before, after));
        }
    }
    println!(
        "\nchurn: {} connections, {} rounds, medians; the untraced churn beside each",
        args.connections, args.rounds
    );
    println!("  {:<14} {:>9.0} connections/s", "untraced", median(&mut alone));
    // The lost rate cannot pass 100 %: the added time compares tools better.
    for (tool, ratios) in tools.iter().zip(&mut with) {
        let ratio = median(ratios);
        println!(
            "  {:<14} {:>8.1} % slower, {:>6.1} % more time a connection",
            tool.name,
            (1.0 - ratio) * 100.0,
            (1.0 / ratio - 1.0) * 100.0
        );
    }
    Ok(())
}

/// Kernel time per event, with the statistics on.
fn costs(tools: &[Tool], args: &Args, output: &Path, churn: &dyn Fn(u64) -> Result<f64>) -> Result<()> {
    let _enabled = Enabled::on()?;
    println!("\nBPF time per state event (kernel.bpf_stats_enabled): the hook's own programs, and all programs");
    for tool in tools {
        let running = tool.start(output)?;
        churn(args.connections)?;
        let programs = running.programs()?;
        running.stop()?;
        let of_hook = |p: &&Program| p.name.contains("set_state") || p.name.contains("inet_sock_set");
        let sum = |programs: &mut dyn Iterator<Item = &Program>| programs.map(|program| program.run_ns).sum::<u64>();
        let Some(events) = programs.iter().filter(of_hook).map(|program| program.runs).max() else {
            bail!("{} has no program on inet_sock_set_state", tool.name);
        };
        let hook = sum(&mut programs.iter().filter(of_hook)) / events.max(1);
        let all = sum(&mut programs.iter()) / events.max(1);
        println!("  {:<14} {hook:>6} ns {all:>8} ns   ({events} events)", tool.name);
        if tool.name == "tracer" {
            let mut programs: Vec<&Program> = programs.iter().filter(|program| program.runs > 0).collect();
            programs.sort_by_key(|program| std::cmp::Reverse(program.run_ns));
            for program in programs {
                println!("    {:<16} {:>8} runs {:>6} ns each", program.name, program.runs, each(program));
            }
        }
    }
    Ok(())
}

fn each(program: &Program) -> u64 {
    program.run_ns / program.runs.max(1)
}

/// From the start of the process to `tracer: ready`.
fn starts(tool: &Tool, output: &Path) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..11 {
        let running = tool.start(output)?;
        times.push(running.ready.as_secs_f64() * 1e3);
        running.stop()?;
    }
    println!("\nstart to `tracer: ready`: {:.0} ms (median of 11)", median(&mut times));
    Ok(())
}

/// Resident memory with many open connections.
fn memory(tool: &Tool, output: &Path) -> Result<()> {
    let running: Running = tool.start(output)?;
    let empty = running.resident()?;
    // Both ends are traced: ten thousand connections are twenty thousand to the tracer. Each holder stays below the
    // usual limit of descriptors.
    let holders = (0..2).map(|_| Holder::start(5000)).collect::<Result<Vec<_>>>()?;
    let full = running.resident()?;
    println!(
        "resident memory: {:.1} MiB idle, {:.1} MiB with 20,000 open connections",
        mebibytes(empty),
        mebibytes(full)
    );
    holders.into_iter().try_for_each(Holder::end)?;
    running.stop()
}

#[expect(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn churn(traffic: &Path, connections: u64) -> Result<f64> {
    let mut churn = Command::new(traffic);
    churn.args(["churn", "--connections", &connections.to_string(), "--threads", "2"]);
    let text = command::output(&mut churn)?;
    let facts: serde_json::Value = serde_json::from_str(text.trim()).context("the churn's facts")?;
    facts["per_second"].as_f64().context("the churn prints no rate")
}

pub fn build_traffic(tree: &Tree) -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo
        .args(["build", "--release", "--locked", "--package", "tracer-tests", "--bin", "traffic"])
        .current_dir(&tree.root);
    command::run(&mut cargo)?;
    Ok(tree.target.join("release/traffic"))
}
