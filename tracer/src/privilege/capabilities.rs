//! Capabilities of the calling thread.

use std::io;

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities,
    },
};

use crate::kernel::load::Kernel;

/// To look into processes of other users: their descriptors, executables and namespaces.
pub const LOOK: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// And to enter the namespaces.
pub const ENTER: CapabilitySet = LOOK.union(CapabilitySet::SYS_ADMIN);
/// And to load iterators.
pub const BEGIN: CapabilitySet = ENTER.union(CapabilitySet::BPF).union(CapabilitySet::PERFMON);
/// To enter the namespaces and to read the rules there.
pub const ENTER_AND_READ: CapabilitySet = ENTER.union(CapabilitySet::NET_ADMIN);

/// What the agent keeps of what it has: to read the maps of `kernel`, and to pass signals on to a command, if there is
/// one. It is tried: the calling thread may use no more afterwards, and is to [`keep`] it.
pub fn for_agent(has_command: bool, kernel: &Kernel) -> CapabilitySet {
    // The command may become another user (setuid), and is to have its signals all the same.
    let signals = if has_command { CapabilitySet::KILL } else { CapabilitySet::empty() };
    // Before 5.19 the kernel asks for a capability even to read a map that is open, unless everybody may
    // (kernel.unprivileged_bpf_disabled).
    least(signals, &[CapabilitySet::BPF, CapabilitySet::SYS_ADMIN], || kernel.counters().is_ok())
}

/// What the calling thread may use now; nothing if the kernel does not tell.
#[must_use]
pub fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Of `wanted` those that the calling thread may not use. Where the kernel looks for `CAP_BPF` or
/// `CAP_PERFMON`, `CAP_SYS_ADMIN` does, too.
#[must_use]
pub fn missing(wanted: CapabilitySet) -> CapabilitySet {
    let effective = effective();
    let mut implied = effective;
    if effective.contains(CapabilitySet::SYS_ADMIN) {
        implied |= CapabilitySet::BPF | CapabilitySet::PERFMON;
    }
    wanted - implied
}

/// Gives up all but `kept`: what it may use, what it may take up again, and, if it may (`CAP_SETPCAP`), what
/// a program that it executes could gain.
///
/// # Errors
/// Those of capset() and prctl().
pub fn keep(kept: CapabilitySet) -> io::Result<()> {
    let own = capabilities(None)?;
    if own.effective.contains(CapabilitySet::SETPCAP) {
        for capability in (CapabilitySet::all() - kept).iter().filter(|one| one.bits().count_ones() == 1) {
            match remove_capability_from_bounding_set(capability) {
                // One that this kernel does not know.
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

/// Does `work` without `set`, which the calling thread may use again afterwards.
pub fn without<T>(set: CapabilitySet, work: impl FnOnce() -> T) -> T {
    let Ok(own) = capabilities(None) else { return work() };
    let given_up = set_capabilities(None, CapabilitySets { effective: own.effective - set, ..own });
    let done = work();
    if given_up.is_ok() {
        // What was permitted before still is.
        let _ = set_capabilities(None, own);
    }
    done
}

/// What is to be kept beside `kept` so that `works` still says yes: nothing if that will do, else the first
/// of `others` that will, else all of them. The calling thread is left ready for [`keep`].
pub fn least(kept: CapabilitySet, others: &[CapabilitySet], mut works: impl FnMut() -> bool) -> CapabilitySet {
    let Ok(own) = capabilities(None) else { return kept };
    let every = others.iter().copied().fold(kept, CapabilitySet::union);
    for more in [CapabilitySet::empty()].iter().chain(others) {
        // The right to give up what could be gained is of no use for anything else.
        let effective = own.effective & (kept | *more | CapabilitySet::SETPCAP);
        if set_capabilities(None, CapabilitySets { effective, ..own }).is_ok() && works() {
            return kept | *more;
        }
    }
    every
}

/// As capabilities(7) writes them: `CAP_BPF, CAP_PERFMON`.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    names.join(", ")
}
