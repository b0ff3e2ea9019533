//! The kernel's statistics of BPF programs: `kernel.bpf_stats_enabled`, read with bpftool.

use crate::command;
use anyhow::{Context as _, Result};
use std::collections::HashMap;
use std::fs;
use std::process::Command;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The statistics are on while this lives.
pub struct Enabled(String);

impl Enabled {
    pub fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).context(SWITCH)?;
        fs::write(SWITCH, "1").context(SWITCH)?;
        Ok(Self(before))
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.0.trim()) {
            eprintln!("{SWITCH}: {error}");
        }
    }
}

/// One program.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub name: String,
    pub run_ns: u64,
    pub runs: u64,
}

/// All loaded programs, by id.
pub fn programs() -> Result<HashMap<u64, Program>> {
    let text = command::output(Command::new("bpftool").args(["-j", "prog", "list"]))?;
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).context("bpftool -j prog list")?;
    Ok(list
        .iter()
        .filter_map(|program| {
            let number = |key: &str| program[key].as_u64().unwrap_or(0);
            let name = program["name"].as_str().unwrap_or_default().to_owned();
            Some((program["id"].as_u64()?, Program { name, run_ns: number("run_time_ns"), runs: number("run_cnt") }))
        })
        .collect())
}
