//! The host's limits.

use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

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
    /// Reads the facts below `root`, which is /proc. Unreadable ones stay unknown. `netns`: the namespace of this
    /// process.
    #[must_use]
    pub fn read(root: &Path, netns: Option<u32>) -> Self {
        let read = |name: &str| fs::read_to_string(root.join("sys/net").join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse().ok();
        let ports = read("ipv4/ip_local_port_range");
        let mut ports = ports.iter().flat_map(|text| text.split_whitespace()).map_while(|word| word.parse().ok());
        Self {
            netns,
            somaxconn: number("core/somaxconn").and_then(|limit: u64| limit.try_into().ok()),
            ports: ports.next().zip(ports.next()),
            conntrack: number("netfilter/nf_conntrack_count").zip(number("netfilter/nf_conntrack_max")),
        }
    }

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
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let empty = std::env::temp_dir().join(format!("tracer-facts-{}", std::process::id()));
        fs::create_dir_all(empty.join("sys/net/ipv4")).unwrap();
        fs::create_dir_all(empty.join("sys/net/netfilter")).unwrap();
        assert_eq!(Facts::read(&empty, Some(7)), Facts { netns: Some(7), ..Facts::default() });
        fs::write(empty.join("sys/net/ipv4/ip_local_port_range"), "32768\t60999\n").unwrap();
        fs::write(empty.join("sys/net/netfilter/nf_conntrack_count"), "991\n").unwrap();
        fs::write(empty.join("sys/net/netfilter/nf_conntrack_max"), "1000\n").unwrap();
        let facts = Facts::read(&empty, Some(7));
        fs::remove_dir_all(&empty).unwrap();
        assert_eq!((facts.ports, facts.conntrack), (Some((32768, 60999)), Some((991, 1000))));
        assert!(facts.conntrack_is_full());
        assert!(!Facts { conntrack: Some((900, 1000)), ..facts }.conntrack_is_full());
        assert!(facts.of(Some(7)).is_some() && facts.of(Some(8)).is_none() && facts.of(None).is_none());
    }

    #[test]
    fn this_host_has_some() {
        let facts = Facts::read(Path::new("/proc"), None);
        assert!(facts.somaxconn.is_some_and(|limit| limit > 0));
        assert!(facts.ports.is_some_and(|(first, last)| first < last));
    }
}
