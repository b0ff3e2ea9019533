//! Conclusions from the stream: short sentences, each with the events that it rests on.
//!
//! Every rule stands in one table ([`rules::RULES`]). A rule says of an event what it speaks for, and
//! of a case what there is to say; this module counts. Events come in, findings go out: what else a
//! sentence needs ([`Facts`]) is an input, too.

mod advice;
mod calls;
mod conntrack;
mod discards;
mod facts;
mod no_answer;
mod ports;
mod rules;
mod unreachable;

use std::{collections::HashMap, net::IpAddr, rc::Rc};

use crate::stream::{self, ConnId, Discard, Event, Evidence, Finding, Icmp, Kind, Owner, Role, Socket};

pub use facts::Facts;
pub use rules::{RULES, Rule};

/// The kinds of events that rules look at and for which the kernel is hooked only if they are wanted.
pub const SOURCES: [&str; 3] = ["drop", "retransmit", "discard"];

/// Cases that are told apart; what comes later only counts.
const MOST_CASES: usize = 1024;
/// Events, owners and connections that are kept of a case.
const MOST_EVIDENCE: usize = 8;
const MOST_OWNERS: usize = 4;
const MOST_CONNECTIONS: usize = 64;
/// Listeners whose backlog is remembered, by namespace, port and owner.
const MOST_LISTENERS: usize = 4096;

/// What a case is about. Rules fill in what makes it one case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// A process, where it is the point.
    pub pid: Option<u32>,
    /// Of a destination, or of a listener.
    pub addr: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Network namespace.
    pub netns: Option<u32>,
    /// A reason or a device.
    pub what: Option<Rc<str>>,
    /// The rule of a firewall, as it stands in the ruleset. Hostile bytes.
    pub rule: Option<Rc<str>>,
    /// An ICMP error.
    pub icmp: Option<Icmp>,
}

/// What has been seen of one subject.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What it is about.
    pub subject: Subject,
    /// Packets that were dropped or sent again.
    pub packets: u64,
    /// Connections, where the events are their ends or beginnings.
    pub connections: u64,
    /// Processes concerned, the first few.
    pub owners: Vec<(u32, String)>,
    /// There are more of them.
    pub more_owners: bool,
    /// Where the first of the packets was dropped.
    pub symbol: Option<Rc<str>>,
    /// Which way it went.
    pub direction: Option<&'static str>,
    /// The backlog of the listener.
    pub backlog: Option<u32>,
    /// Of the packets, those that only the kernel's counters tell of.
    pub discarded: u64,
    /// The last one of these.
    pub discard: Option<Discard>,
    /// The local address of the first event.
    pub local: Option<IpAddr>,
    /// What was seen leaves no doubt.
    pub certain: bool,
    /// SYNs that had no answer.
    pub syns: u64,
    /// The longest wait for an answer, µs.
    pub longest_us: u64,
    /// Of the connections, those that the kernel gave up.
    pub timed_out: u64,
    /// The first events.
    pub evidence: Vec<Evidence>,
    distinct: Vec<ConnId>,
    said: bool,
}

impl Case {
    /// Connections with events of it, as far as they were told apart.
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
        if let Kind::Discard(discard) = event.kind {
            self.discarded += weight.packets;
            let mut discard = discard.clone();
            // Who waited at an earlier one may have gone.
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

/// Whether the dropped packet came from this socket: it may be the listener's that it was to.
fn has_sent(socket: &Socket<'_>, event: &Event<'_>) -> bool {
    let Kind::Drop(drop) = event.kind else { return true };
    let Some(ends) = drop.ends else { return false };
    socket.role != Role::Listener && socket.lport == ends.sport && socket.laddr.is_none_or(|addr| addr == ends.saddr)
}

/// How much an event counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Packets.
    pub packets: u64,
    /// Connections.
    pub connections: u64,
    /// It leaves no doubt.
    pub certain: bool,
    /// SYNs without an answer.
    pub syns: u64,
    /// How long an answer was waited for, µs.
    pub waited_us: u64,
    /// Only who has sent the packet is concerned.
    pub of_sender: bool,
}

impl Weight {
    /// It counts nothing.
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
    /// The host as it is now.
    pub fn set_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// Takes an event; gives what it is the last piece for: each finding is given once, when there is
    /// enough for it. Of most kinds of events this is a look at the kind.
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
                // Two of one process: which of them a packet is for is not known.
                .and_modify(|known| *known = known.filter(|known| *known == backlog))
                .or_insert(Some(backlog));
        }
    }

    /// All findings with their final counts, the weightiest of each rule first, in the order of the
    /// table.
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

    /// Events of cases that there was no room for.
    #[must_use]
    pub const fn untold(&self) -> u64 {
        self.untold
    }
}

#[cfg(test)]
mod tests;
