//! The network namespaces that a filter leaves.

use super::{Filter, choice::Choice};

/// See [`Filter::wanted_netns`].
#[derive(Clone, Debug, Default)]
pub struct WantedNetns(Choice<u32>);

impl WantedNetns {
    /// Whether this one is left.
    #[must_use]
    pub fn has(&self, inode: u32) -> bool {
        self.0.passes(|wanted| *wanted == inode)
    }

    /// Whether all are.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl Filter {
    /// The namespaces that it leaves, whatever else it says.
    #[must_use]
    pub fn wanted_netns(&self) -> WantedNetns {
        WantedNetns(self.netns.clone())
    }

    /// Whether every connection of its namespaces is wanted, so that the kernel side tells of each accept().
    #[must_use]
    pub fn wants_every_connection(&self) -> bool {
        let ports = [&self.port, &self.lport, &self.rport].iter().all(|choice| choice.is_empty());
        let addresses = [&self.addr, &self.laddr, &self.raddr].iter().all(|choice| choice.is_empty());
        let owners = self.pids.is_none()
            && self.not_pids.is_empty()
            && self.uid.is_empty()
            && self.comm.is_empty()
            && self.cgroup.is_empty()
            && self.container.is_empty();
        let kinds = self.family.is_none() && self.role.is_empty() && self.proto.is_empty();
        ports && addresses && owners && kinds && !self.no_loopback
    }

    /// Whether the kernel's counters have anything to tell that is shown: discards, or findings.
    #[must_use]
    pub fn wants_counters(&self) -> bool {
        self.needs_kind("discard")
    }
}
