//! The host's limits.

use serde::{Deserialize, Serialize};
/// Limits and fill levels of one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The namespace of these facts: the reader's.
    pub netns: Option<u32>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.ip_local_port_range`.
    pub ports: Option<(u16, u16)>,
    /// `net.netfilter.nf_conntrack_count` and `_max`.
    pub conntrack: Option<(u64, u64)>,
}

impl Facts {
    /// The facts, if they belong to `netns`.
    #[must_use]
    pub fn of(&self, netns: Option<u32>) -> Option<&Self> {
        (self.netns.is_some() && self.netns == netns).then_some(self)
    }

    /// Whether the conntrack table has no room. The count is a moment old, so a table that is full to within a fiftieth
    /// counts as full.
    #[must_use]
    pub fn conntrack_is_full(&self) -> bool {
        self.conntrack.is_some_and(|(count, most)| most > 0 && count >= most - most / 50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_nearly_full_is_full() {
        let facts = Facts { netns: Some(7), conntrack: Some((991, 1000)), ..Facts::default() };
        assert!(facts.conntrack_is_full());
        assert!(!Facts { conntrack: Some((900, 1000)), ..facts }.conntrack_is_full());
        assert!(facts.of(Some(7)).is_some() && facts.of(Some(8)).is_none() && facts.of(None).is_none());
    }
}
