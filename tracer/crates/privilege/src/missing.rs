//! The cost of missing capabilities. Root has them all; a trace by another user needs few of them.

use rustix::thread::CapabilitySet;

use super::capabilities;

/// A capability that a trace can do without, and the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optional {
    /// The capability.
    pub capability: CapabilitySet,
    /// The cost of lacking it, in one sentence.
    pub cost: &'static str,
}

/// The optional capabilities of a trace.
pub const OPTIONAL: [Optional; 4] = [
    Optional {
        capability: CapabilitySet::SYS_PTRACE,
        cost: "executables of other users' processes, the sockets that they already hold, and other network namespaces \
               stay unknown",
    },
    Optional {
        capability: CapabilitySet::DAC_READ_SEARCH,
        cost: "sockets that other users' processes already hold have no owner; tracefs may be closed",
    },
    Optional {
        capability: CapabilitySet::SYS_ADMIN,
        cost: "tracer cannot enter other network namespaces: drops there lack the rule, the queueing discipline or the \
               next hop",
    },
    Optional { capability: CapabilitySet::NET_ADMIN, cost: "drops by netfilter lack the rule" },
];

/// The capabilities that a trace needs.
pub const REQUIRED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

impl Optional {
    /// Returns the optional capabilities that the calling thread lacks.
    #[must_use]
    pub fn lacking() -> Vec<Self> {
        let effective = capabilities::effective();
        OPTIONAL.into_iter().filter(|optional| !effective.contains(optional.capability)).collect()
    }

    /// Whether only drops need it.
    #[must_use]
    pub fn is_for_drops(&self) -> bool {
        self.capability == CapabilitySet::SYS_ADMIN || self.capability == CapabilitySet::NET_ADMIN
    }

    /// Returns the name, such as `CAP_SYS_PTRACE`.
    #[must_use]
    pub fn name(&self) -> String {
        capabilities::names(self.capability)
    }
}

/// Returns a remedy for the user if loading failed; `None` if no capability is missing.
#[must_use]
pub fn remedy() -> Option<String> {
    let missing = capabilities::missing(REQUIRED);
    if missing.is_empty() {
        return None;
    }
    let and = |set| capabilities::names(set).replace(", ", " and ");
    Some(if missing == REQUIRED {
        format!("tracing needs root, or {}: run it with sudo", and(REQUIRED))
    } else {
        format!("tracing needs {} as well as {}: add it, or run it with sudo", and(missing), and(REQUIRED - missing))
    })
}
