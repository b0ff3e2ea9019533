//! What the want of a capability costs. Root has them all; a trace by another user needs few of them.

use rustix::thread::CapabilitySet;

use super::capabilities;

/// A capability that a trace can do without, and what is not there then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optional {
    /// One.
    pub capability: CapabilitySet,
    /// In one sentence.
    pub cost: &'static str,
}

/// Those of a trace.
pub const OPTIONAL: [Optional; 4] = [
    Optional {
        capability: CapabilitySet::SYS_PTRACE,
        cost: "of other users' processes the executable, and the sockets that they hold already, stay unknown; so do \
               other network namespaces",
    },
    Optional {
        capability: CapabilitySet::DAC_READ_SEARCH,
        cost: "sockets that other users' processes hold already have no owner; tracefs may be closed",
    },
    Optional {
        capability: CapabilitySet::SYS_ADMIN,
        cost: "other network namespaces cannot be entered: drops there do not say the rule, the queueing discipline or \
               the next hop",
    },
    Optional { capability: CapabilitySet::NET_ADMIN, cost: "drops by netfilter do not say the rule" },
];

/// Without these there is no trace.
pub const REQUIRED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

impl Optional {
    /// Those that the calling thread lacks.
    #[must_use]
    pub fn lacking() -> Vec<Self> {
        let effective = capabilities::effective();
        OPTIONAL.into_iter().filter(|optional| !effective.contains(optional.capability)).collect()
    }

    /// Whether only drops are poorer without it.
    #[must_use]
    pub fn is_for_drops(&self) -> bool {
        self.capability == CapabilitySet::SYS_ADMIN || self.capability == CapabilitySet::NET_ADMIN
    }

    /// `CAP_SYS_PTRACE`
    #[must_use]
    pub fn name(&self) -> String {
        capabilities::names(self.capability)
    }
}

/// What to do about a refusal to load, for the user; `None`: it is not for want of a capability.
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
