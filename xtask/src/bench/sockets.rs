//! `tracer sockets` compared with ss and lsof, on a host with many sockets in many processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::hold::Holder;
use crate::tree::Tree;
use crate::{command, run};

#[derive(clap::Args)]
pub struct Args {
    /// Numbers of sockets, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [2_000, 20_000, 200_000])]
    sockets: Vec<usize>,
    /// Processes that hold them
    #[arg(long, default_value_t = 50)]
    processes: usize,
    /// Runs of each tool, in turn
    #[arg(long, default_value_t = 11)]
    rounds: usize,
}

/// A tool under measurement.
struct Tool {
    name: &'static str,
    program: PathBuf,
    args: &'static [&'static str],
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    let tracer = run::build_tracer(&tree)?;
    let ours = |name, args| Tool { name, program: tracer.clone(), args };
    let theirs = |name, program: &str, args| -> Result<Tool> {
        let program =
            command::find(program).with_context(|| format!("{program} is not installed: cargo xtask setup"))?;
        Ok(Tool { name, program, args })
    };
    let tools = [
        theirs("ss -tanp", "ss", &["-tanp"])?,
        theirs("lsof -nP -iTCP", "lsof", &["-nP", "-iTCP"])?,
        ours("tracer sockets -t", &["sockets", "-t", "-v"]),
        ours("  without BPF", &["sockets", "-t", "-v", "--via", "netlink"]),
        ours("  /proc alone", &["sockets", "-t", "-v", "--via", "proc"]),
        ours("  --json", &["sockets", "-t", "-v", "--json"]),
    ];
    for sockets in &args.sockets {
        measure(&tools, *sockets, args)?;
    }
    Ok(())
}

fn measure(tools: &[Tool], sockets: usize, args: &Args) -> Result<()> {
    // Both ends of a connection are in one process.
    let each = sockets / args.processes / 2;
    let holders = (0..args.processes).map(|_| Holder::start(each)).collect::<Result<Vec<_>>>()?;
    let output = std::env::temp_dir().join(format!("tracer-bench-{}", std::process::id()));
    let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    let mut said = BTreeMap::new();
    for _ in 0..args.rounds {
        for (place, tool) in tools.iter().enumerate() {
            let (time, log) = run(tool, &output)?;
            times.entry(place).or_default().push(time);
            said.insert(place, log);
        }
    }
    std::fs::remove_file(&output)?;
    holders.into_iter().try_for_each(Holder::end)?;
    println!("\n{sockets} sockets in {} processes; median (least) of {} runs in turn", args.processes, args.rounds);
    let median = |place: usize| {
        let mut times = times.get(&place).cloned().unwrap_or_default();
        times.sort();
        (times.get(times.len() / 2).copied().unwrap_or_default(), times.first().copied().unwrap_or_default())
    };
    let (ss, lsof) = (median(0).0.as_secs_f64(), median(1).0.as_secs_f64());
    for (place, tool) in tools.iter().enumerate() {
        let (middle, least) = median(place);
        let seconds = middle.as_secs_f64();
        let cost = said.get(&place).and_then(|log| log.lines().find_map(|line| line.split_once("of CPU, ")));
        println!(
            "  {:<18} {:>7.1} ms ({:>6.1})  ss ×{:>4.1}  lsof ×{:>4.1}  {}",
            tool.name,
            seconds * 1e3,
            least.as_secs_f64() * 1e3,
            ss / seconds,
            lsof / seconds,
            cost.map_or("", |(_, memory)| memory)
        );
    }
    Ok(())
}

fn run(tool: &Tool, output: &Path) -> Result<(Duration, String)> {
    let started = Instant::now();
    let done = Command::new(&tool.program)
        .args(tool.args)
        .stdin(Stdio::null())
        .stdout(File::create(output)?)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .with_context(|| tool.program.display().to_string())?;
    let time = started.elapsed();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if !done.status.success() {
        bail!("{}: {}: {said}", tool.name, done.status);
    }
    Ok((time, said))
}
