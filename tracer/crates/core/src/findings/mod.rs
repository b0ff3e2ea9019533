//! Conclusions from the stream: short sentences, each with the events that support it.
//!
//! Every rule is in one table ([`rules::RULES`]). A rule maps an event to a case and a case to a sentence; this module
//! counts. Events come in, findings go out; the other facts that a sentence needs ([`Facts`]) are an input, too.

mod advice;
mod calls;
mod conntrack;
mod discards;
mod facts;
mod no_answer;
mod ports;
mod rule;
mod rules;
mod unreachable;

use std::{collections::HashMap, net::IpAddr, rc::Rc};

pub use facts::Facts;
pub use rule::Rule;
pub use rules::RULES;
use tracer_stream::{self as stream, ConnId, Discard, Event, Evidence, Finding, Icmp, Kind, Owner, Role, Socket};

/// The kinds of events that rules use and that the kernel is hooked for only on demand.
pub const SOURCES: [&str; 3] = ["drop", "retransmit", "discard"];

/// The most cases that are kept apart; events of later ones are only counted.
const MOST_CASES: usize = 1024;
/// The most events, owners and connections that are kept of a case.
const MOST_EVIDENCE: usize = 8;
const MOST_OWNERS: usize = 4;
const MOST_CONNECTIONS: usize = 64;
/// The most listeners whose backlog is remembered, by namespace, port and owner.
const MOST_LISTENERS: usize = 4096;

/// The subject of a case. Rules set the fields that distinguish their cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// A process, if the finding is about it.
    pub pid: Option<u32>,
    /// The address of a destination, or of a listener.
    pub addr: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Network namespace.
    pub netns: Option<u32>,
    /// A reason or a device.
    pub what: Option<Rc<str>>,
    /// The rule of a firewall, as in the ruleset. Hostile bytes.
    pub rule: Option<Rc<str>>,
    /// An ICMP error.
    pub icmp: Option<Icmp>,
}

/// The events of one subject so far.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Its subject.
    pub subject: Subject,
    /// Dropped or retransmitted packets.
    pub packets: u64,
    /// Connections, if the events are their ends or beginnings.
    pub connections: u64,
    /// The first few processes concerned.
    pub owners: Vec<(u32, String)>,
    /// There are more processes.
    pub more_owners: bool,
    /// The place of the first drop.
    pub symbol: Option<Rc<str>>,
    /// Direction of the packets.
    pub direction: Option<&'static str>,
    /// The device where the first one was dropped.
    pub iface: Option<Rc<str>>,
    /// Where the first one came from.
    pub source: Option<IpAddr>,
    /// The backlog of the listener.
    pub backlog: Option<u32>,
    /// The packets that only the kernel's counters show.
    pub discarded: u64,
    /// The last of these discards.
    pub discard: Option<Discard>,
    /// Entries and limit of the conntrack table that was full at the last drop.
    pub full_conntrack: Option<(u64, u64)>,
    /// The local address of the first event.
    pub local: Option<IpAddr>,
    /// The evidence is conclusive.
    pub certain: bool,
    /// SYNs without an answer.
    pub syns: u64,
    /// The longest wait for an answer, µs.
    pub longest_us: u64,
    /// The connections that the kernel gave up.
    pub timed_out: u64,
    /// The first events.
    pub evidence: Vec<Evidence>,
    distinct: Vec<ConnId>,
    said: bool,
}

impl Case {
    /// Number of distinct connections with events of it, up to a limit.
    #[must_use]
    pub fn distinct_connections(&self) -> usize {
        self.distinct.len()
    }

    fn add(&mut self, event: &Event<'_>, weight: &Weight) {
        self.packets += weight.packets;
        self.connections += weight.connections;
        self.certain |= weight.certain;
        self.syns += weight.syns;
        self.timed_out += if weight.certain { weight.connections } else { 0 };
        self.longest_us = self.longest_us.max(weight.waited_us);
        self.local = self.local.or(event.socket.and_then(|socket| socket.laddr));
        if let Kind::Drop(drop) = event.kind {
            self.full_conntrack = conntrack::full(drop).or(self.full_conntrack);
        }
        if let Kind::Discard(discard) = event.kind {
            self.discarded += weight.packets;
            let mut discard = discard.clone();
            // The clients of an earlier discard may have gone since.
            if let Some(before) = self.discard.take() {
                let more = before.clients.into_iter().filter(|one| !discard.clients.iter().any(|o| o.pid == one.pid));
                let more: Vec<_> = more.take(MOST_OWNERS.saturating_sub(discard.clients.len())).collect();
                discard.clients.extend(more);
                discard.syns &= before.syns;
            }
            self.discard = Some(discard);
        }
        let conn = event.socket.map_or(ConnId::NONE, |socket| socket.conn);
        if self.evidence.len() < MOST_EVIDENCE {
            self.evidence.push(Evidence { event: event.kind.name(), conn, boot_ns: event.boot_ns });
        }
        if conn != ConnId::NONE && self.distinct.len() < MOST_CONNECTIONS && !self.distinct.contains(&conn) {
            self.distinct.push(conn);
        }
        let concerned = event.socket.filter(|socket| !weight.of_sender || has_sent(socket, event));
        if let Some(owner) = concerned.and_then(|socket| socket.owner) {
            self.add_owner(owner);
        }
        if let Kind::Drop(drop) = event.kind
            && self.symbol.is_none()
        {
            self.symbol.clone_from(&drop.symbol);
            self.direction = stream::direction(drop.direction);
            self.iface.clone_from(&drop.iface);
            self.source = drop.ends.map(|ends| ends.saddr);
        }
    }

    fn add_owner(&mut self, owner: &Owner) {
        if self.owners.iter().any(|(pid, _)| *pid == owner.pid) {
            return;
        }
        if self.owners.len() < MOST_OWNERS {
            self.owners.push((owner.pid, owner.comm.clone()));
        } else {
            self.more_owners = true;
        }
    }
}

/// Whether the dropped packet came from this socket: the socket may be the listener that it was sent to.
fn has_sent(socket: &Socket<'_>, event: &Event<'_>) -> bool {
    let Kind::Drop(drop) = event.kind else { return true };
    let Some(ends) = drop.ends else { return false };
    socket.role != Role::Listener && socket.lport == ends.sport && socket.laddr.is_none_or(|addr| addr == ends.saddr)
}

/// The weight of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Packets.
    pub packets: u64,
    /// Connections.
    pub connections: u64,
    /// It is conclusive.
    pub certain: bool,
    /// SYNs without an answer.
    pub syns: u64,
    /// The wait for an answer, µs.
    pub waited_us: u64,
    /// Only the sender of the packet is concerned.
    pub of_sender: bool,
}

impl Weight {
    /// No weight.
    pub const NONE: Self = Self { packets: 0, connections: 0, certain: false, syns: 0, waited_us: 0, of_sender: false };
}

/// All cases of one run.
#[derive(Debug, Default)]
pub struct Findings {
    cases: HashMap<(usize, Subject), Case>,
    facts: Facts,
    backlogs: HashMap<(u32, u16, Option<u32>), Option<u32>>,
    /// Events of cases beyond [`MOST_CASES`].
    untold: u64,
}

impl Findings {
    /// Sets the current facts of the host.
    pub fn set_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// Takes an event; returns the finding that it completes: each finding is emitted once, when the evidence suffices.
    /// For most kinds of events this costs a look at the kind.
    pub fn event(&mut self, event: &Event<'_>) -> Option<Finding> {
        match event.kind {
            Kind::Listen { backlog: Some(backlog) } => self.remember_backlog(event, backlog),
            Kind::Close(close) if !close.verdict.is_failure() => return None,
            Kind::Connect { errno: None } => return None,
            _ if calls::is_about(event) => {}
            Kind::Drop(_) | Kind::Discard(_) | Kind::Retransmit { .. } | Kind::Close(_) | Kind::Connect { .. } => {}
            _ => return None,
        }
        let (index, rule, subject, weight) = RULES.iter().enumerate().find_map(|(index, rule)| {
            (rule.speaks)(event, &self.facts).map(|(subject, weight)| (index, rule, subject, weight))
        })?;
        let full = self.cases.len() >= MOST_CASES;
        let key = (index, subject);
        if full && !self.cases.contains_key(&key) {
            self.untold += 1;
            return None;
        }
        let listener = key.1.netns.zip(key.1.port).map(|(netns, port)| (netns, port, key.1.pid));
        let backlog = listener.and_then(|listener| self.backlogs.get(&listener).copied().flatten());
        let subject = key.1.clone();
        let case = self.cases.entry(key).or_insert_with(|| Case { subject, backlog, ..Case::default() });
        case.add(event, &weight);
        if case.said || case.packets.max(case.connections) < rule.least {
            return None;
        }
        case.said = true;
        Some(rule.finding(case, &self.facts))
    }

    fn remember_backlog(&mut self, event: &Event<'_>, backlog: u32) {
        if let Some((netns, port)) = event.socket.and_then(|socket| socket.netns.zip(socket.lport))
            && self.backlogs.len() < MOST_LISTENERS
        {
            let pid = event.socket.and_then(|socket| socket.owner).map(|owner| owner.pid);
            self.backlogs
                .entry((netns, port, pid))
                // One process has two listeners: the backlog that a packet meets is unknown.
                .and_modify(|known| *known = known.filter(|known| *known == backlog))
                .or_insert(Some(backlog));
        }
    }

    /// All findings with their final counts, the weightiest of each rule first, in the order of the table.
    #[must_use]
    pub fn all(&self) -> Vec<Finding> {
        let mut said: Vec<_> = self.cases.iter().filter(|(_, case)| case.said).collect();
        said.sort_by(|((a, _), one), ((b, _), other)| {
            let (weight, first) = (
                |case: &Case| case.packets.max(case.connections),
                |case: &Case| case.evidence.first().map_or(0, |evidence| evidence.boot_ns),
            );
            a.cmp(b).then_with(|| weight(other).cmp(&weight(one))).then_with(|| first(one).cmp(&first(other)))
        });
        said.into_iter().filter_map(|((index, _), case)| Some(RULES.get(*index)?.finding(case, &self.facts))).collect()
    }

    /// Events of cases without room.
    #[must_use]
    pub const fn untold(&self) -> u64 {
        self.untold
    }
}

#[cfg(test)]
mod tests;
