//! `cargo xtask bench drops`: a storm of drops, compared with a bpftrace one-liner that prints three fields of each.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::live::build_traffic;
use super::peer::Tool;
use super::statistics::Enabled;
use crate::netns::Netns;
use crate::tree::Tree;
use crate::{command, privilege, run};

/// The peer's program: it prints a line for each drop.
const ONE_LINER: &str =
    "tracepoint:skb:kfree_skb { printf(\"%p %d %d\\n\", args->location, args->protocol, args->reason); }";

#[derive(clap::Args)]
pub struct Args {
    /// Length of each storm, seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Destination ports of the storm of many flows
    #[arg(long, default_value_t = 5000)]
    flows: u16,
    /// Datagrams a second where each drop has an event: below the limit of single events (docs/packets.md)
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
}

pub fn main(args: &Args) -> Result<()> {
    if !privilege::is_root() {
        bail!("the bench needs root: start it in a root shell");
    }
    let tree = Tree::find()?;
    let tracer = run::build_tracer(&tree)?;
    let storm = Storm { traffic: build_traffic(&tree)?, seconds: args.seconds, netns: Netns::new("bench")? };
    let mut tools = vec![
        Tool::tracer("tracer", &tracer, &["live", "--json"]),
        Tool::tracer("tracer drops only", &tracer, &["live", "--json", "--event", "drop"]),
    ];
    match command::find("bpftrace") {
        Some(program) => tools.push(Tool::peer_with("bpftrace", program, &["-e", ONE_LINER])),
        None => eprintln!("bpftrace is not installed: `cargo xtask setup --for bench`"),
    }
    // Not a file: otherwise the disk would be measured, too.
    let output = PathBuf::from("/dev/null");
    let winds = [
        ("one flow: nearly all folded", Wind { flows: 1, rate: None }),
        ("many flows: mostly folded", Wind { flows: args.flows, rate: None }),
        ("many flows, slowly: each has an event", Wind { flows: args.flows, rate: Some(args.rate) }),
    ];
    for (what, wind) in winds {
        println!("\n{what}; {} destination ports, {} s each, two threads send", wind.flows, args.seconds);
        println!("  {:<18} {:>9} offered/s", "untraced", storm.blow(wind)?);
        for tool in &tools {
            rates(tool, &storm, wind, &output)?;
        }
        let _enabled = Enabled::on()?;
        for tool in &tools {
            costs(tool, &storm, wind, &output)?;
        }
    }
    Ok(())
}

/// The offered rate with the tool running, and the cost of the tool's own process. The statistics are off: they cost as
/// much as a small program.
fn rates(tool: &Tool, storm: &Storm, wind: Wind, output: &Path) -> Result<()> {
    let running = tool.start(output)?;
    let before = running.cpu_seconds()?;
    let rate = storm.blow(wind)?;
    let own = running.cpu_seconds()? - before;
    let resident = running.resident()?;
    running.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let share = own / storm.seconds as f64 * 100.0;
    println!("  {:<18} {rate:>9} offered/s {share:>6.1} % of a CPU of its own, {} MiB", tool.name, resident >> 20);
    Ok(())
}

/// The kernel time per drop, with the statistics on.
fn costs(tool: &Tool, storm: &Storm, wind: Wind, output: &Path) -> Result<()> {
    let running = tool.start(output)?;
    storm.blow(wind)?;
    let programs = running.programs()?;
    running.stop()?;
    let hook = programs.iter().max_by_key(|program| program.runs).context("the tool has no program")?;
    println!("  {:<18} {:>9} ns of BPF per drop ({} drops)", tool.name, hook.run_ns / hook.runs.max(1), hook.runs);
    Ok(())
}

/// Number of destination ports, and the most datagrams per second.
#[derive(Clone, Copy)]
struct Wind {
    flows: u16,
    rate: Option<u32>,
}

/// A generator of drops.
struct Storm {
    traffic: PathBuf,
    seconds: u64,
    netns: Netns,
}

impl Storm {
    /// Sends datagrams to closed ports; returns their number per second.
    fn blow(&self, wind: Wind) -> Result<u64> {
        let mut ip = self.netns.command(&self.traffic);
        ip.args(["storm", "--to", "127.0.0.1:9000"]);
        ip.args(["--seconds", &self.seconds.to_string(), "--threads", "2", "--flows", &wind.flows.to_string()]);
        if let Some(rate) = wind.rate {
            ip.args(["--rate", &rate.to_string()]);
        }
        let child: Child = ip.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("ip")?;
        let out = child.wait_with_output()?;
        let said: Value = serde_json::from_slice(&out.stdout).context("the storm's facts")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        said["per_second"].as_f64().map(|rate| rate as u64).context("the storm prints no rate")
    }
}
