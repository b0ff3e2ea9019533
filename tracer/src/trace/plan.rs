//! From the filter and the options to the settings of the kernel side.

use tracer_common::settings::{
    ABSENT, FILTER_FOLLOW, FILTER_NETNS, FILTER_PID, Offsets, Settings, WANT_LISTED_REASONS, WANT_PROCESSES,
    WANT_SOME_REASONS, WANT_STACKS, WANT_STATES,
};
use tracer_tables::reasons::Reasons;

use super::open::Asks;
use crate::{
    filter::{Filter, LeftOut, kernel::KernelFilter},
    kernel::{
        backend::{gives_drop_reasons, gives_reset_reasons},
        offsets::Resolved,
        plan::{Packets, Plan},
        selection::Selection,
    },
};

/// Default size of the ring: at 20 MB of records a second (20,000 connections) almost half a second.
const RING_BYTES: u32 = 8 << 20;
/// The most drop events a second, all CPUs together; beyond them the kernel side counts drops by reason
/// and call site.
const DROPS_TOLD: u32 = 20_000;
/// The most events that a CPU takes from that budget at once.
const DROPS_DRAWN: u32 = 32;

/// Stands for a pid namespace in which no process has a number.
pub const NO_NUMBERS: u32 = u32::MAX;

/// The facts about this machine that a plan needs.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Offsets.
    pub resolved: &'a Resolved,
    /// Names of drop and reset reasons.
    pub reasons: &'a Reasons,
    /// The number of CPUs.
    pub cpus: u32,
    /// See `Settings::pid_ns`.
    pub pid_ns: u32,
    /// See `Settings::tick_ns`.
    pub tick_ns: u32,
    /// Secret random bytes.
    pub seed: u64,
}

/// An option that this kernel cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecidable {
    /// Those that name processes, which have no numbers.
    #[error(
        "no process can be named here: tracer is in a pid namespace of its own, and cannot tell which numbers \
         processes have in it (without type information, or without the right to look at /proc/1/ns/pid); run it \
         in the host's pid namespace (docker run --pid=host)"
    )]
    Processes,
    /// `--netns`: the namespace of a socket is unknown.
    #[error("--netns cannot be decided here: without type information (BTF) the namespace of a socket is not known")]
    Namespaces,
    /// `--reason`: neither drops nor resets have reasons.
    #[error(
        "--reason cannot be decided here: this kernel gives no reasons (drops have them since Linux 5.17, resets \
         since 6.10); --event drop shows all drops with their call sites"
    )]
    Reasons,
}

/// The size of the ring.
#[must_use]
pub fn ring_bytes(asks: &Asks) -> u32 {
    asks.buffer.unwrap_or(RING_BYTES)
}

/// Plans the kernel side of a trace with this filter, of which `compiled` is the kernel's part.
///
/// # Errors
/// If this kernel cannot decide it.
pub fn plan(compiled: &KernelFilter, filter: &Filter, asks: &Asks, machine: &Machine<'_>) -> Result<Plan, Undecidable> {
    let ring_bytes = ring_bytes(asks);
    let mut settings = Settings::NONE;
    settings.filters = compiled.filters;
    settings.family = compiled.family;
    settings.role = compiled.role;
    if let Some(cgroup) = compiled.cgroup {
        settings.cgroup_id = cgroup.id;
        settings.cgroup_level = cgroup.level;
    }
    settings.wake_bytes = u64::from(ring_bytes) / 4;
    settings.wants = WANT_PROCESSES;
    if asks.states || filter.wants_states() {
        settings.wants |= WANT_STATES;
    }
    let drops = filter.needs_kind("drop");
    if asks.stacks && drops {
        settings.wants |= WANT_STACKS;
    }
    settings.drops_told = DROPS_TOLD / 10;
    // The CPUs' unused shares at the end of 100 ms are at most a tenth of the budget, on up to 200 CPUs.
    settings.drops_drawn = (settings.drops_told / 10 / machine.cpus.max(1)).clamp(1, DROPS_DRAWN);
    let left_out = LeftOut::of(filter, !asks.quiet_drops, machine.reasons).filter(|_| drops);
    if let Some(left_out) = &left_out {
        settings.wants |= WANT_SOME_REASONS | if left_out.others { WANT_LISTED_REASONS } else { 0 };
    }
    settings.drops_seed = machine.seed;
    settings.pid_ns = machine.pid_ns;
    if settings.pid_ns == NO_NUMBERS && (filter.names_processes() || asks.follow_from.is_some()) {
        return Err(Undecidable::Processes);
    }
    settings.tick_ns = machine.tick_ns;
    settings.tracepoints_preemptible = u32::from(machine.resolved.tracepoints_preemptible);
    if asks.audit {
        settings.audit = 1;
        // Numbers are small.
        let number = |number: libc::c_long| u32::try_from(number).unwrap_or(u32::MAX);
        settings.nr_connect = number(libc::SYS_connect);
        settings.nr_accept = number(libc::SYS_accept);
        settings.nr_accept4 = number(libc::SYS_accept4);
    }
    let mut pids = compiled.pids.clone();
    if filter.follows() {
        settings.filters |= FILTER_FOLLOW;
    }
    if let Some(pid) = asks.follow_from {
        settings.filters |= FILTER_PID | FILTER_FOLLOW;
        pids = vec![pid];
    }
    let Offsets { skc_net, net_inum, .. } = machine.resolved.offsets;
    if settings.filters & FILTER_NETNS != 0 && (skc_net == ABSENT || net_inum == ABSENT) {
        return Err(Undecidable::Namespaces);
    }
    let drop_reasons = gives_drop_reasons(&machine.resolved.offsets);
    if filter.asks_for_reason() && !drop_reasons && !gives_reset_reasons(&machine.resolved.offsets) {
        return Err(Undecidable::Reasons);
    }
    Ok(Plan {
        offsets: machine.resolved.offsets,
        settings,
        selection: Selection {
            pids,
            uids: compiled.uids.clone(),
            netns: compiled.netns.clone(),
            ports: compiled.port_words().collect(),
            reasons: left_out.map(|left_out| left_out.listed).unwrap_or_default(),
            prefixes4: compiled.prefixes4.iter().map(|(key, bits)| (key.bits, key.addr, *bits)).collect(),
            prefixes6: compiled.prefixes6.iter().map(|(key, bits)| (key.bits, key.addr, *bits)).collect(),
        },
        maps_on_demand: machine.resolved.maps_on_demand,
        ring_bytes,
        sockets: asks.sockets,
        forced: asks.forced.clone(),
        packets: Packets {
            drops,
            retransmits: filter.needs_kind("retransmit"),
            // Where drops have no reasons, a reset shows that a port has no listener.
            resets: filter.shows_kind("reset") && asks.resets || drops && !drop_reasons,
        },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::filter::{FilterArgs, Host};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    /// The plan for these filter options on a machine with these offsets and numbers of processes.
    fn planned(text: &str, asks: &Asks, offsets: Offsets, pid_ns: u32) -> Result<Plan, Undecidable> {
        let line = Line::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap();
        let filter = line.filter.resolve(&Host::default()).unwrap();
        let resolved = Resolved { offsets, missing: Vec::new(), maps_on_demand: true, tracepoints_preemptible: false };
        let reasons = Reasons::default();
        let machine = Machine { resolved: &resolved, reasons: &reasons, cpus: 4, pid_ns, tick_ns: 4, seed: 7 };
        plan(&KernelFilter::compile(&filter, |_| None), &filter, asks, &machine)
    }

    /// All members exist, and drops have reasons.
    fn whole() -> Offsets {
        Offsets { kfree_skb_args: 3, skc_net: 48, net_inum: 0, ..Offsets::NONE }
    }

    #[test]
    fn packets_are_traced_if_they_are_of_use() {
        let packets = |text, resets, offsets| {
            let Packets { drops, retransmits, resets } =
                planned(text, &Asks { resets, ..Asks::default() }, offsets, 0).unwrap().packets;
            [drops, retransmits, resets]
        };
        assert_eq!(packets("", false, whole()), [true, true, false]);
        assert_eq!(packets("", true, whole()), [true, true, true]);
        assert_eq!(packets("--event close", true, whole()), [false; 3]);
        assert_eq!(packets("--event drop", true, whole()), [true, false, false]);
        // Without reasons a reset tells that nothing listens.
        assert_eq!(packets("--event drop", false, Offsets::NONE), [true, false, true]);
    }

    #[test]
    fn settings_follow_from_filter_and_options() {
        let settings = |text, asks: &Asks| planned(text, asks, whole(), 0).unwrap().settings;
        let none = Asks { quiet_drops: true, ..Asks::default() };
        let plain = settings("", &none);
        assert_eq!((plain.wants, plain.filters, plain.audit), (WANT_PROCESSES, 0, 0));
        assert_eq!((plain.wake_bytes, plain.drops_drawn, plain.tick_ns, plain.drops_seed), (2 << 20, 32, 4, 7));
        let more = Asks { states: true, stacks: true, audit: true, buffer: Some(1 << 20), ..none.clone() };
        let all = settings("", &more);
        assert_eq!((all.wants, all.audit), (WANT_PROCESSES | WANT_STATES | WANT_STACKS, 1));
        assert_eq!((all.wake_bytes, i64::from(all.nr_accept)), (1 << 18, libc::SYS_accept));
        assert_eq!(settings("--event state", &none).wants & WANT_STATES, WANT_STATES);
        assert_eq!(settings("--event close", &more).wants & WANT_STACKS, 0, "no drops, no stacks");
        let only = settings("--reason NO_SOCKET", &none).wants;
        assert_eq!(only & (WANT_SOME_REASONS | WANT_LISTED_REASONS), WANT_SOME_REASONS | WANT_LISTED_REASONS);
    }

    #[test]
    fn a_command_is_followed_from_its_parent_on() {
        let plan = planned("", &Asks { follow_from: Some(42), ..Asks::default() }, whole(), 0).unwrap();
        assert_eq!(plan.settings.filters, FILTER_PID | FILTER_FOLLOW);
        assert_eq!(plan.selection.pids, [42]);
    }

    #[test]
    fn what_this_kernel_cannot_decide_is_refused() {
        let refused = |text, asks: &Asks, offsets, pid_ns| planned(text, asks, offsets, pid_ns).err();
        let none = Asks::default();
        let own = format!("-p {}", std::process::id());
        assert_eq!(refused(&own, &none, whole(), NO_NUMBERS), Some(Undecidable::Processes));
        assert_eq!(refused(&own, &none, whole(), 4_026_532_000), None, "numbers are translated");
        let run = Asks { follow_from: Some(42), ..Asks::default() };
        assert_eq!(refused("", &run, whole(), NO_NUMBERS), Some(Undecidable::Processes));
        assert_eq!(refused("--netns 4026531840", &none, whole(), 0), None);
        let unnamed = Offsets { net_inum: ABSENT, ..whole() };
        assert_eq!(refused("--netns 4026531840", &none, unnamed, 0), Some(Undecidable::Namespaces));
        assert_eq!(refused("--reason NO_SOCKET", &none, Offsets::NONE, 0), Some(Undecidable::Reasons));
        let resets = Offsets { send_reset_args: 3, ..Offsets::NONE };
        assert_eq!(refused("--reason NO_SOCKET", &none, resets, 0), None, "resets have reasons");
    }
}
