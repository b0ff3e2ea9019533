//! Capabilities of the calling thread.

use std::io;

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities,
    },
};

/// Allows looking into processes of other users: their descriptors, executables and namespaces.
pub const LOOK: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// Also allows entering namespaces.
pub const ENTER: CapabilitySet = LOOK.union(CapabilitySet::SYS_ADMIN);
/// Also allows loading iterators.
pub const BEGIN: CapabilitySet = ENTER.union(CapabilitySet::BPF).union(CapabilitySet::PERFMON);
/// Allows entering namespaces and reading their rules.
pub const ENTER_AND_READ: CapabilitySet = ENTER.union(CapabilitySet::NET_ADMIN);

/// Returns the capabilities that the agent keeps: to read the maps of its programs, and to pass signals on to a command,
/// if there is one. It tries them with `reads_maps`: afterwards the calling thread may use no others, and should [`keep`]
/// the result.
pub fn for_agent(has_command: bool, reads_maps: impl FnMut() -> bool) -> CapabilitySet {
    // The command may become another user (setuid), and still needs its signals.
    let signals = if has_command { CapabilitySet::KILL } else { CapabilitySet::empty() };
    // Before 5.19 the kernel demands a capability even for reading an open map, unless every user may
    // (kernel.unprivileged_bpf_disabled).
    least(signals, &[CapabilitySet::BPF, CapabilitySet::SYS_ADMIN], reads_maps)
}

/// Returns the capabilities that the calling thread may use now; none if the kernel does not report them.
#[must_use]
pub fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Returns those of `wanted` that the calling thread may not use. `CAP_SYS_ADMIN` stands in for
/// `CAP_BPF` and `CAP_PERFMON`.
#[must_use]
pub fn missing(wanted: CapabilitySet) -> CapabilitySet {
    let effective = effective();
    let mut implied = effective;
    if effective.contains(CapabilitySet::SYS_ADMIN) {
        implied |= CapabilitySet::BPF | CapabilitySet::PERFMON;
    }
    wanted - implied
}

/// Gives up all capabilities but `kept` in the effective and permitted sets, and, if allowed
/// (`CAP_SETPCAP`), in the bounding set.
///
/// # Errors
/// Errors of capset() and prctl().
pub fn keep(kept: CapabilitySet) -> io::Result<()> {
    let own = capabilities(None)?;
    if own.effective.contains(CapabilitySet::SETPCAP) {
        for capability in (CapabilitySet::all() - kept).iter().filter(|one| one.bits().count_ones() == 1) {
            match remove_capability_from_bounding_set(capability) {
                // EINVAL: this kernel does not know the capability.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    clear_ambient_capability_set()?;
    let sets = CapabilitySets {
        effective: own.effective & kept,
        permitted: own.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Runs `work` without `set`, which the calling thread may use again afterwards.
pub fn without<T>(set: CapabilitySet, work: impl FnOnce() -> T) -> T {
    let Ok(own) = capabilities(None) else { return work() };
    let given_up = set_capabilities(None, CapabilitySets { effective: own.effective - set, ..own });
    let done = work();
    if given_up.is_ok() {
        // This cannot fail: the permitted set is unchanged.
        let _ = set_capabilities(None, own);
    }
    done
}

/// Returns `kept` and what `works` needs beside it: nothing if that suffices, else the first of `others`
/// that does, else all of them. The calling thread is then ready for [`keep`].
pub fn least(kept: CapabilitySet, others: &[CapabilitySet], mut works: impl FnMut() -> bool) -> CapabilitySet {
    let Ok(own) = capabilities(None) else { return kept };
    let every = others.iter().copied().fold(kept, CapabilitySet::union);
    for more in [CapabilitySet::empty()].iter().chain(others) {
        // CAP_SETPCAP is needed later to reduce the bounding set, and does not affect `works`.
        let effective = own.effective & (kept | *more | CapabilitySet::SETPCAP);
        if set_capabilities(None, CapabilitySets { effective, ..own }).is_ok() && works() {
            return kept | *more;
        }
    }
    every
}

/// Formats capabilities as capabilities(7) does: `CAP_BPF, CAP_PERFMON`.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    names.join(", ")
}
