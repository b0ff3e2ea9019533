//! All connections that ended, added up by client program and destination: the base of every share.

use std::{collections::HashMap, net::IpAddr};

use tracer_stream::{Close, Event, Role};

/// The most flows.
const MOST_FLOWS: usize = 4096;
/// The most programs that take connections.
const MOST_SERVERS: usize = 1024;

/// A client program and its destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The namespace of the client.
    pub netns: Option<u32>,
    /// The client's name. Hostile bytes.
    pub comm: Option<String>,
    /// The destination's address.
    pub raddr: Option<IpAddr>,
    /// Its port.
    pub rport: Option<u16>,
}

/// Its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Connections that ended.
    pub connections: u64,
    /// Those that are older than the trace: their handshakes were not seen.
    pub older: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those with a complete handshake.
    pub answered: u64,
    /// The longest handshake, µs.
    pub slowest_us: u64,
}

/// All flows.
#[derive(Debug, Default)]
pub struct Flows {
    flows: HashMap<FlowKey, Flow>,
    /// Connections of flows without room.
    pub others: Flow,
    /// Connections that servers took, by namespace and program.
    served: HashMap<(Option<u32>, Option<String>), u64>,
}

impl Flows {
    /// The flows, in the order of their keys.
    #[must_use]
    pub fn all(&self) -> Vec<(&FlowKey, &Flow)> {
        let mut all: Vec<_> = self.flows.iter().collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    /// The connections of `comm` to a destination; of all programs if there is no name.
    #[must_use]
    pub fn to(&self, comm: Option<&str>, raddr: Option<IpAddr>, rport: Option<u16>) -> Flow {
        let is = |key: &FlowKey| {
            (key.raddr, key.rport) == (raddr, rport) && comm.is_none_or(|comm| key.comm.as_deref() == Some(comm))
        };
        let mut sum = Flow::default();
        self.flows.iter().filter(|(key, _)| is(key)).for_each(|(_, flow)| sum.add(flow));
        sum
    }

    /// The connections that these programs, in these namespaces, had to a destination.
    #[must_use]
    pub fn of(&self, clients: &[(Option<u32>, &str)], raddr: Option<IpAddr>, rport: Option<u16>) -> Flow {
        let is = |key: &FlowKey| {
            let by = |(netns, comm): &(Option<u32>, &str)| key.netns == *netns && key.comm.as_deref() == Some(comm);
            (key.raddr, key.rport) == (raddr, rport) && clients.iter().any(by)
        };
        let mut sum = Flow::default();
        self.flows.iter().filter(|(key, _)| is(key)).for_each(|(_, flow)| sum.add(flow));
        sum
    }

    /// The connections that these programs, in these namespaces, had to any destination.
    #[must_use]
    pub fn by(&self, clients: &[(Option<u32>, &str)]) -> Flow {
        let is = |key: &FlowKey| clients.iter().any(|one| (key.netns, key.comm.as_deref()) == (one.0, Some(one.1)));
        let mut sum = Flow::default();
        self.flows.iter().filter(|(key, _)| is(key)).for_each(|(_, flow)| sum.add(flow));
        sum
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Flow {
        let mut sum = self.others;
        self.flows.values().for_each(|flow| sum.add(flow));
        sum
    }

    /// The names of the clients.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.flows.keys().filter_map(|key| key.comm.as_deref())
    }

    /// The connections that servers took, of those namespaces and programs that `is` selects.
    pub fn served(&self, is: impl Fn(Option<u32>, Option<&str>) -> bool) -> u64 {
        self.served.iter().filter(|((netns, comm), _)| is(*netns, comm.as_deref())).map(|(_, count)| count).sum()
    }

    pub(super) fn close(&mut self, event: &Event<'_>, close: &Close) {
        let Some(socket) = event.socket else { return };
        if socket.role == Role::Server && !close.preexisting {
            let key = (socket.netns, socket.owner.map(|owner| owner.comm.clone()));
            if let Some(count) = self.served.get_mut(&key) {
                *count += 1;
            } else if self.served.len() < MOST_SERVERS {
                self.served.insert(key, 1);
            }
        }
        if socket.role != Role::Client {
            return;
        }
        let key = FlowKey {
            netns: socket.netns,
            comm: socket.owner.map(|owner| owner.comm.clone()),
            raddr: socket.raddr,
            rport: socket.rport,
        };
        let one = Flow {
            connections: 1,
            older: u64::from(close.preexisting),
            failed: u64::from(close.is_failure()),
            answered: u64::from(close.connect_us.is_some() && !close.preexisting),
            slowest_us: close.connect_us.unwrap_or(0),
        };
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.add(&one);
        } else if self.flows.len() < MOST_FLOWS {
            self.flows.insert(key, one);
        } else {
            self.others.add(&one);
        }
    }
}

impl Flow {
    /// Adds another flow.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.older += other.older;
        self.failed += other.failed;
        self.answered += other.answered;
        self.slowest_us = self.slowest_us.max(other.slowest_us);
    }
}
