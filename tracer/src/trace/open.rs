//! Opens the kernel side of a trace.

use std::path::Path;

use anyhow::bail;
use log::warn;
use rustix::rand::{GetRandomFlags, getrandom};
use tracer_common::settings::{ABSENT, Offsets, WANT_STACKS};

use super::{
    PacketSession,
    plan::{self, Machine, NO_NUMBERS},
    running::{Running, Types, no_tracefs},
};
use crate::{
    clock,
    filter::{self, Filter, kernel::KernelFilter},
    kernel::{
        self,
        backend::{Backend, Degradation, Hook, degradations},
        load::Kernel,
        memory,
        symbols::KernelSymbols,
    },
    privilege::{self, Sandbox, missing::Optional},
    proc::{pidns::Numbers, root::ProcRoot},
};

/// A loaded and attached kernel side, and its gaps.
#[derive(Debug)]
pub struct Opened {
    /// The programs.
    pub kernel: Kernel,
    /// The missing features.
    pub degradations: Vec<Degradation>,
    /// The tracing of packets, if any.
    pub packets: Option<PacketSession>,
    /// When it was open, `CLOCK_BOOTTIME` ns.
    pub opened_ns: u64,
}

/// What a trace asks of the kernel side beyond its filter.
#[derive(Debug, Clone, Default)]
pub struct Asks {
    /// Every change of a socket's state.
    pub states: bool,
    /// The kernel's stacks at drops.
    pub stacks: bool,
    /// Harmless drops: the output has a use for them.
    pub quiet_drops: bool,
    /// Resets: the output shows them.
    pub resets: bool,
    /// A second count of everything.
    pub audit: bool,
    /// The size of the ring, if not the default.
    pub buffer: Option<u32>,
    /// The process whose children the filter follows from now on.
    pub follow_from: Option<u32>,
    /// Hooks restricted to one backend.
    pub forced: Vec<(Hook, Backend)>,
    /// The type information to use instead of the kernel's.
    pub types: Option<Types>,
    /// The most sockets to follow.
    pub sockets: Option<u32>,
    /// Whether threads give up unneeded privileges.
    pub sandbox: Sandbox,
}

/// Loads and attaches.
///
/// # Errors
/// See [`kernel::KernelError`].
pub fn open(filter: &Filter, asks: &Asks) -> anyhow::Result<Opened> {
    kernel::memlock::lift();
    let running = Running::look(asks.types.as_ref())?;
    let compiled = KernelFilter::compile(filter, |path| filter::cgroup::find(Path::new("/sys/fs/cgroup"), path));
    has_memory(plan::ring_bytes(asks))?;
    let machine = Machine {
        resolved: &running.resolved,
        reasons: &running.reasons,
        cpus: aya::util::nr_cpus().map_or(1, |cpus| u32::try_from(cpus).unwrap_or(u32::MAX)),
        pid_ns: pid_ns(&running.resolved.offsets),
        tick_ns: clock::tick_ns().unwrap_or(0),
        seed: seed(),
    };
    let plan = plan::plan(&compiled, filter, asks, &machine)?;
    if running.tracefs.is_none() {
        warn!("{}: hooks that need it are left out", no_tracefs());
    }
    let symbols = plan.packets.any().then(KernelSymbols::open);
    let mut kernel = Kernel::load(&plan, &running.types)?;
    if filter.follows() && asks.follow_from.is_none() {
        // Adds children born between the first look and the attachment.
        filter.add_descendants(&filter::Host::default())?;
        let now = KernelFilter::compile(filter, |_| None);
        for pid in now.pids.iter().filter(|pid| !plan.selection.pids.contains(pid)) {
            kernel.add_pid(*pid)?;
        }
    }
    let mut degradations =
        degradations(&kernel.choices, running.no_btf.is_none(), &running.resolved.offsets, &running.resolved.missing);
    // A trace without drops needs no rules.
    let concerned = |lacks: &Optional| plan.packets.drops || !lacks.is_for_drops();
    degradations.extend(Optional::lacking().into_iter().filter(concerned).map(Degradation::NoCapability));
    if asks.sandbox == Sandbox::On && !privilege::has_seccomp() {
        degradations.push(Degradation::NoSeccomp);
    }
    if plan.settings.pid_ns != 0 {
        degradations.push(Degradation::PidNamespace { known: plan.settings.pid_ns != NO_NUMBERS });
    }
    let stacks = plan.settings.wants & WANT_STACKS != 0;
    let packets = symbols.map(|symbols| PacketSession { reasons: running.reasons, symbols, stacks });
    Ok(Opened { kernel, degradations, packets, opened_ns: clock::boot_ns() })
}

fn has_memory(ring_bytes: u32) -> anyhow::Result<()> {
    let Err(left) = memory::has_room(ring_bytes) else { return Ok(()) };
    bail!(
        "there is not enough memory for a buffer of {} MiB: the control group's limit leaves {} MiB; raise it, or \
         ask for less with --buffer",
        ring_bytes >> 20,
        left >> 20
    );
}

/// See `Settings::pid_ns`.
fn pid_ns(offsets: &Offsets) -> u32 {
    let Offsets { task_group_leader, task_thread_pid, pid_level, pid_number, pid_ns, pid_ns_inum, .. } = *offsets;
    let told = ![task_group_leader, task_thread_pid, pid_level, pid_number, pid_ns, pid_ns_inum].contains(&ABSENT);
    match Numbers::look(&ProcRoot::default()) {
        Numbers::Initial => 0,
        Numbers::Of(inode) if told => inode,
        Numbers::Of(_) | Numbers::Unknown => NO_NUMBERS,
    }
}

/// Returns 8 secret random bytes.
fn seed() -> u64 {
    let mut seed = [0; 8];
    // A fixed seed is fine if the kernel has no random bytes yet.
    let _ = getrandom(&mut seed, GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(seed)
}
