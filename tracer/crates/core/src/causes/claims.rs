//! What the causes so far explain: a failure has one cause, so a later rule leaves it alone.

use std::collections::HashSet;
use std::net::IpAddr;

use tracer_stream::ConnId;

/// The evidence that has its cause.
#[derive(Debug, Default)]
pub struct Claims {
    conns: HashSet<ConnId>,
    drops: HashSet<usize>,
    calls: HashSet<usize>,
    /// Pairs of addresses whose probes are explained.
    probes: HashSet<(IpAddr, IpAddr)>,
    /// Namespaces and ports whose unread data are explained.
    unread: HashSet<(u32, u16)>,
}

impl Claims {
    /// Takes a connection; `false` if it has a cause already.
    pub fn conn(&mut self, conn: ConnId) -> bool {
        self.conns.insert(conn)
    }

    /// Whether a connection has a cause.
    #[must_use]
    pub fn has_conn(&self, conn: ConnId) -> bool {
        self.conns.contains(&conn)
    }

    /// Takes a group of drops; `false` if it has a cause already.
    pub fn drop(&mut self, number: usize) -> bool {
        self.drops.insert(number)
    }

    /// Whether a group of drops has a cause.
    #[must_use]
    pub fn has_drop(&self, number: usize) -> bool {
        self.drops.contains(&number)
    }

    /// Takes a failed call, by its place in [`Scene::calls`](super::scene::Scene::calls); `false` if it has a cause already.
    pub fn call(&mut self, number: usize) -> bool {
        self.calls.insert(number)
    }

    /// Whether a failed call has a cause.
    #[must_use]
    pub fn has_call(&self, number: usize) -> bool {
        self.calls.contains(&number)
    }

    /// Takes what waits unread at a port of a namespace, and what found no room there.
    pub fn unread(&mut self, netns: u32, port: u16) {
        self.unread.insert((netns, port));
    }

    /// Whether what waits unread there has a cause.
    #[must_use]
    pub fn has_unread(&self, netns: u32, port: u16) -> bool {
        self.unread.contains(&(netns, port))
    }

    /// Takes all probes from one address to another.
    pub fn probe(&mut self, from: IpAddr, to: IpAddr) {
        self.probes.insert((from, to));
    }

    /// Whether SYNs from one address to another are a prober's.
    #[must_use]
    pub fn is_probe(&self, from: IpAddr, to: IpAddr) -> bool {
        self.probes.contains(&(from, to))
    }
}
