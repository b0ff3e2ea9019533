//! Reads the host's limits for the findings.

use std::{fs, path::Path};

use tracer_core::findings::Facts;

/// Reads the facts below `root`, which is /proc. Unreadable ones stay unknown. `netns`: the namespace of this process.
pub(super) fn read(root: &Path, netns: Option<u32>) -> Facts {
    let read = |name: &str| fs::read_to_string(root.join("sys/net").join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse().ok();
    let ports = read("ipv4/ip_local_port_range");
    let mut ports = ports.iter().flat_map(|text| text.split_whitespace()).map_while(|word| word.parse().ok());
    Facts {
        netns,
        somaxconn: number("core/somaxconn").and_then(|limit: u64| limit.try_into().ok()),
        ports: ports.next().zip(ports.next()),
        conntrack: number("netfilter/nf_conntrack_count").zip(number("netfilter/nf_conntrack_max")),
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
        assert_eq!(read(&empty, Some(7)), Facts { netns: Some(7), ..Facts::default() });
        fs::write(empty.join("sys/net/ipv4/ip_local_port_range"), "32768\t60999\n").unwrap();
        fs::write(empty.join("sys/net/netfilter/nf_conntrack_count"), "991\n").unwrap();
        fs::write(empty.join("sys/net/netfilter/nf_conntrack_max"), "1000\n").unwrap();
        let facts = read(&empty, Some(7));
        fs::remove_dir_all(&empty).unwrap();
        assert_eq!((facts.ports, facts.conntrack), (Some((32768, 60999)), Some((991, 1000))));
    }

    #[test]
    fn this_host_has_some() {
        let facts = read(Path::new("/proc"), None);
        assert!(facts.somaxconn.is_some_and(|limit| limit > 0));
        assert!(facts.ports.is_some_and(|(first, last)| first < last));
    }
}
