//! The network namespaces that a filter leaves.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Filter, choice::Choice, parse::Netns};

/// A network namespace that is wanted, or is not. All copies of a filter share what is known of it: a name may become
/// that of another namespace while a trace runs.
#[derive(Clone, Debug)]
pub struct NamedNetns {
    asked: Netns,
    /// The inode number of the one that it is, and of the one that it was a moment ago; 0: there is none.
    inodes: Arc<AtomicU64>,
}

impl NamedNetns {
    /// What was `asked` for is this one.
    #[must_use]
    pub fn new(asked: &Netns, inode: u32) -> Self {
        Self { asked: asked.clone(), inodes: Arc::new(AtomicU64::new(inode.into())) }
    }

    /// Whether it is this one, or was.
    pub(super) fn is(&self, inode: u32) -> bool {
        inode != 0 && self.inodes().contains(&inode)
    }

    /// The one that it is, and the one that it was a moment ago.
    fn inodes(&self) -> [u32; 2] {
        let both = self.inodes.load(Ordering::Relaxed);
        [both as u32, (both >> 32) as u32]
    }

    /// The one that it is; 0: there is none of this name now.
    #[must_use]
    pub fn inode(&self) -> u32 {
        let [now, _] = self.inodes();
        now
    }

    /// How it was asked for, if that is a name: another namespace may get it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.asked {
            Netns::Name(name) => Some(name),
            Netns::Pid(_) | Netns::Inode(_) => None,
        }
    }

    /// How it was asked for.
    #[must_use]
    pub const fn asked(&self) -> &Netns {
        &self.asked
    }

    /// From now on it is this one (0: none), too: what was recorded of the one before is still told. The one before that,
    /// which is forgotten.
    pub fn becomes(&self, inode: u32) -> Option<u32> {
        let [now, former] = self.inodes();
        let before = if now == 0 { former } else { now };
        self.inodes.store(u64::from(inode) | u64::from(before) << 32, Ordering::Relaxed);
        Some(former).filter(|former| *former != 0 && ![inode, before].contains(former))
    }

    /// All that was recorded of the one before is told. That one: another namespace may get its number.
    pub fn forget_former(&self) -> Option<u32> {
        let [now, former] = self.inodes();
        self.inodes.store(now.into(), Ordering::Relaxed);
        Some(former).filter(|former| *former != 0 && *former != now)
    }
}

/// See [`Filter::wanted_netns`].
#[derive(Clone, Debug, Default)]
pub struct WantedNetns(Choice<NamedNetns>);

impl WantedNetns {
    /// Whether this one is left.
    #[must_use]
    pub fn has(&self, inode: u32) -> bool {
        self.0.passes(|wanted| wanted.is(inode))
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

    /// Those that were asked for by a name, wanted or not: other namespaces may get it.
    #[must_use]
    pub fn named_netns(&self) -> Vec<NamedNetns> {
        let Choice { include, exclude } = &self.netns;
        include.iter().chain(exclude).filter(|netns| netns.name().is_some()).cloned().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_changes_hands_is_both_for_a_moment() {
        let blue = NamedNetns::new(&Netns::Name("blue".into()), 7);
        let copy = blue.clone();
        assert!(copy.is(7) && !copy.is(8) && !copy.is(0));
        assert_eq!(blue.becomes(8), None);
        assert!(copy.is(7) && copy.is(8) && copy.inode() == 8);
        assert_eq!(blue.forget_former(), Some(7));
        assert!(!copy.is(7) && copy.is(8));
        // It is gone, and comes back with the same number.
        assert_eq!(blue.becomes(0), None);
        assert!(copy.is(8) && !copy.is(0));
        assert_eq!(blue.becomes(8), None);
        assert_eq!(blue.forget_former(), None);
        assert!(copy.is(8));
        // Two changes in a moment.
        assert_eq!((blue.becomes(0), blue.becomes(9)), (None, None));
        assert!(copy.is(8) && copy.is(9));
        assert_eq!(blue.becomes(10), Some(8));
        assert!(!copy.is(8) && copy.is(9) && copy.is(10));
    }
}
