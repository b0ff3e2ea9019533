//! The cost of a program: `bpf_prog_info`, which aya shows only in part.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::ProgramFd;
use aya_obj::generated::bpf_prog_info;

use super::{
    hooks::{Lanes, SECOND_SET_STATE, SET_STATE_AHEAD},
    info::info,
    probes,
};

/// The cost of one program since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name in the object.
    pub name: String,
    /// Run time in ns; `None` unless `kernel.bpf_stats_enabled` is on.
    pub run_ns: Option<u64>,
    /// Number of runs; `None` as above.
    pub runs: Option<u64>,
    /// Runs that the kernel skipped because the program was already running on that CPU, and calls that its probes
    /// missed.
    pub missed: u64,
}

/// Prefix of audit-only programs; their misses are ignored.
pub const AUDIT: &str = "audit_";

/// Assigns the cost of lanes to the first of them. A call that one lane missed was not lost: another lane took it.
#[must_use]
pub fn by_first_lane(programs: Vec<ProgramCost>) -> Vec<ProgramCost> {
    let (others, mut firsts): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|program| Lanes::with(&program.name).is_some());
    for other in others {
        let first = Lanes::with(&other.name).map(|lanes| lanes.first);
        if let Some(first) = firsts.iter_mut().find(|program| Some(program.name.as_str()) == first) {
            first.run_ns = first.run_ns.map(|run_ns| run_ns + other.run_ns.unwrap_or(0));
        }
    }
    firsts
}

/// Calls that the kernel kept from these programs or that were `declined`, less those that another program took over.
#[must_use]
pub fn missed(programs: &[ProgramCost], declined: u64, taken_over: u64) -> u64 {
    let traced = |program: &&ProgramCost| {
        ![SECOND_SET_STATE, SET_STATE_AHEAD].contains(&program.name.as_str()) && !program.name.starts_with(AUDIT)
    };
    let missed = programs.iter().filter(traced).map(|program| program.missed);
    (missed.sum::<u64>() + declined).saturating_sub(taken_over)
}

/// The cost of the program with this descriptor, whose probes' misses are in `probes`; `None` if the kernel does not
/// report it.
#[must_use]
pub fn of(name: &str, program: &ProgramFd, probes: &probes::Missed) -> Option<ProgramCost> {
    let info: bpf_prog_info = info(program.as_fd().as_raw_fd())?;
    let counted = info.run_cnt != 0;
    Some(ProgramCost {
        name: name.to_owned(),
        run_ns: counted.then_some(info.run_time_ns),
        runs: counted.then_some(info.run_cnt),
        missed: info.recursion_misses + probes.get(&info.id).copied().unwrap_or(0),
    })
}
