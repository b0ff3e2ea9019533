//! Local ports that are taken for every destination.
//!
//! connect() may use a port again for another destination, unless a bind() has taken it: connect() skips such a port
//! for every destination (`__inet_hash_connect`), even while its last connection is in TIME_WAIT. No table shows which
//! call took a port. But connect() ignores the ports that other destinations use: among many connections to several
//! destinations, some share a port by chance. Where almost none do, bind() took the ports.

use std::collections::HashMap;
use std::net::IpAddr;

/// The absence of pairs that share a port means something only if chance would make at least this many.
const DUE: f64 = 20.0;
/// At most this part of them may exist: with 20 due, chance does that less than once in ten thousand times.
const MISSING: f64 = 0.25;

/// The local ports of a namespace's connections, within the range that connect() and bind() choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PortUse {
    /// Ports with a connection.
    pub ports: u32,
    /// Connections.
    connections: f64,
    /// The sum of the squares of the number of connections to each destination.
    squares: f64,
    /// Pairs of connections that share a port.
    sharing: f64,
}

impl PortUse {
    /// Counts connections, given by local port and destination.
    pub fn of(connections: impl Iterator<Item = (u16, (IpAddr, u16))>) -> Self {
        let (mut ports, mut destinations): (HashMap<u16, f64>, HashMap<(IpAddr, u16), f64>) = Default::default();
        let mut total = 0.0;
        for (port, destination) in connections {
            total += 1.0;
            *ports.entry(port).or_default() += 1.0;
            *destinations.entry(destination).or_default() += 1.0;
        }
        Self {
            ports: u32::try_from(ports.len()).unwrap_or(u32::MAX),
            connections: total,
            squares: destinations.values().map(|count| count * count).sum(),
            sharing: ports.values().map(|count| count * (count - 1.0) / 2.0).sum(),
        }
    }

    /// Whether bind() has taken the ports, judged by a range of `available` ports.
    #[must_use]
    pub fn is_bound(&self, available: u32) -> bool {
        let due = (self.connections * self.connections - self.squares) / (2.0 * f64::from(available.max(1)));
        due >= DUE && self.sharing <= due * MISSING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(number: u16) -> (IpAddr, u16) {
        (IpAddr::from([10, 0, 0, 1]), 9000 + number)
    }

    #[test]
    fn ports_that_no_two_destinations_share_were_bound() {
        let bound = PortUse::of((0..100).map(|n| (40_000 + n, to(n % 10))));
        assert!(bound.ports == 100 && bound.is_bound(100));
        // 200 connections on 100 ports.
        let shared = PortUse::of((0..200).map(|n| (40_000 + n * 7 % 100, to(n % 10))));
        assert!(shared.ports == 100 && !shared.is_bound(100));
    }

    #[test]
    fn one_destination_needs_a_port_for_each() {
        let one = PortUse::of((0..25_000).map(|n| (32_768 + n, to(0))));
        assert!(!one.is_bound(28_232));
        let few_others = PortUse::of((0..25_010).map(|n| (32_768 + n, to(n / 25_000))));
        assert!(!few_others.is_bound(28_232), "too few to tell");
    }

    #[test]
    fn few_connections_say_nothing() {
        assert!(!PortUse::of((0..500).map(|n| (32_768 + n, to(n)))).is_bound(28_232));
        assert!(!PortUse::default().is_bound(0));
    }

    #[test]
    fn what_chance_makes_is_no_sign() {
        // A random port for each, as connect() chooses, which tries one half of the ports first.
        let mut state = 7_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as u16 & 0x3ff
        };
        for connections in [200_u16, 700, 1000] {
            let used = PortUse::of((0..connections).map(|n| (40_000 + random() / 2 * 2, to(n))));
            assert!(!used.is_bound(1024), "{connections}");
        }
    }
}
