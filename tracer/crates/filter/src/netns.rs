//! The network namespaces that a filter passes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

use super::{Filter, choice::Choice, parse::Netns};

/// A wanted or excluded network namespace. All copies of a filter share its state: a name may move to another namespace
/// while a trace runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedNetns {
    asked: Netns,
    /// Its inode number and the former one; 0: none.
    #[serde(with = "super::form::inodes")]
    inodes: Arc<AtomicU64>,
}

impl NamedNetns {
    /// The namespace that was `asked` for, with its inode number.
    #[must_use]
    pub fn new(asked: &Netns, inode: u32) -> Self {
        Self { asked: asked.clone(), inodes: Arc::new(AtomicU64::new(inode.into())) }
    }

    /// A copy with a state of its own.
    fn apart(&self) -> Self {
        Self { asked: self.asked.clone(), inodes: Arc::new(AtomicU64::new(self.inodes.load(Ordering::Relaxed))) }
    }

    /// Whether it has, or had, this inode number.
    pub(super) fn is(&self, inode: u32) -> bool {
        inode != 0 && self.inodes().contains(&inode)
    }

    /// The current and the former inode number.
    fn inodes(&self) -> [u32; 2] {
        let both = self.inodes.load(Ordering::Relaxed);
        [both as u32, (both >> 32) as u32]
    }

    /// The current inode number; 0: no namespace has this name now.
    #[must_use]
    pub fn inode(&self) -> u32 {
        let [now, _] = self.inodes();
        now
    }

    /// The name on the command line, if it was a name: another namespace may get it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.asked {
            Netns::Name(name) => Some(name),
            Netns::Pid(_) | Netns::Inode(_) => None,
        }
    }

    /// The value on the command line.
    #[must_use]
    pub const fn asked(&self) -> &Netns {
        &self.asked
    }

    /// Adds a new inode number (0: none); the stream still shows records of the previous one. Returns the number before
    /// that, which is forgotten.
    pub fn becomes(&self, inode: u32) -> Option<u32> {
        let [now, former] = self.inodes();
        let before = if now == 0 { former } else { now };
        self.inodes.store(u64::from(inode) | u64::from(before) << 32, Ordering::Relaxed);
        Some(former).filter(|former| *former != 0 && ![inode, before].contains(former))
    }

    /// Forgets the former number, once all its records are emitted. Returns it: another namespace may get it.
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
    /// Whether the filter passes this one.
    #[must_use]
    pub fn has(&self, inode: u32) -> bool {
        self.0.passes(|wanted| wanted.is(inode))
    }

    /// Whether the filter passes all.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl Filter {
    /// A copy whose names of network namespaces have a state of their own.
    #[must_use]
    pub fn apart(&self) -> Self {
        let apart = |netns: &[NamedNetns]| netns.iter().map(NamedNetns::apart).collect();
        let netns = Choice { include: apart(&self.netns.include), exclude: apart(&self.netns.exclude) };
        Self { netns, ..self.clone() }
    }

    /// The namespaces that the filter passes, independent of its other criteria.
    #[must_use]
    pub fn wanted_netns(&self) -> WantedNetns {
        WantedNetns(self.netns.clone())
    }

    /// The namespaces given by name, wanted or not: other namespaces may get the name.
    #[must_use]
    pub fn named_netns(&self) -> Vec<NamedNetns> {
        let Choice { include, exclude } = &self.netns;
        include.iter().chain(exclude).filter(|netns| netns.name().is_some()).cloned().collect()
    }

    /// Whether the filter passes every connection of its namespaces, so that the kernel side records each accept().
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

    /// Whether any output of the kernel's counters is shown: discards, or findings.
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
        // The namespace goes, and comes back with the same number.
        assert_eq!(blue.becomes(0), None);
        assert!(copy.is(8) && !copy.is(0));
        assert_eq!(blue.becomes(8), None);
        assert_eq!(blue.forget_former(), None);
        assert!(copy.is(8));
        // Two changes within a moment.
        assert_eq!((blue.becomes(0), blue.becomes(9)), (None, None));
        assert!(copy.is(8) && copy.is(9));
        assert_eq!(blue.becomes(10), Some(8));
        assert!(!copy.is(8) && copy.is(9) && copy.is(10));
    }
}
