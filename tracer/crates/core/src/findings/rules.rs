//! The table of rules, in order: an event counts for the first rule that takes it.

use std::rc::Rc;

use tracer_common::drops::{TCP_ACK, TCP_SYN};
use tracer_stream::{ConnId, Drop, DropClass, Endpoint, Event, Finding, Kind, Role, Segment, Socket, Verdict};

use super::{
    Case, Facts, Subject, Weight, advice,
    calls::{CANNOT_ACCEPT, CANNOT_BIND},
    conntrack::CONNTRACK_FULL,
    discards,
};

/// A rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its name in the stream.
    pub name: &'static str,
    /// The number of packets or connections that make a finding.
    pub least: u64,
    /// The subject that an event supports, and its weight.
    pub speaks: fn(&Event<'_>, &Facts) -> Option<(Subject, Weight)>,
    /// The sentence.
    pub(super) say: fn(&Case, &Facts) -> String,
    /// Commands for further diagnosis.
    pub(super) look: &'static [&'static str],
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Rule {
    /// The finding of `case`.
    #[must_use]
    pub fn finding(&self, case: &Case, facts: &Facts) -> Finding {
        Finding {
            name: self.name,
            text: (self.say)(case, facts),
            look: advice::of_case(self.name, case)
                .unwrap_or(self.look)
                .iter()
                .map(|command| advice::filled(command, case))
                .collect(),
            count: case.packets.max(case.connections),
            evidence: case.evidence.clone(),
        }
    }
}

/// Every rule.
pub const RULES: [Rule; 12] = [
    CANNOT_BIND,
    CANNOT_ACCEPT,
    CONNTRACK_FULL,
    Rule {
        name: POLICY,
        least: 1,
        speaks: |event, _| {
            let drop = dropped(event).filter(|drop| drop.class == DropClass::Policy && is_syn(drop))?;
            // A full table of connection tracking is stronger evidence than a rule that may match.
            if super::conntrack::full(drop).is_some() {
                return None;
            }
            let weight = Weight { of_sender: true, ..packets(drop) };
            // Different rules are different findings.
            let rule = rule_of(drop);
            Some((Subject { what: cause(drop), rule, ..destination(event, drop)? }, weight))
        },
        say: |case, _| {
            let Subject { what, rule, .. } = &case.subject;
            let place = match rule {
                Some(rule) => [Some(rule.as_ref()), case.direction],
                None => [case.symbol.as_deref(), case.direction],
            };
            let place = place.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let place = if place.is_empty() { place } else { format!(" ({place})") };
            let (who, end, rule) = (of_owners(case), end(case), what.as_deref().unwrap_or("a rule"));
            let count = counted(case.packets, "SYN");
            let were = if case.packets == 1 { "was" } else { "were" };
            format!("{count}{who} to {end} {were} dropped by {rule}{place}")
        },
        look: &["tracer drops --stack", "tracer explain REASON"],
    },
    discards::ACCEPT_QUEUE,
    discards::RECEIVE_BUFFER,
    discards::DISCARDED,
    super::unreachable::RULE,
    super::ports::RULE,
    Rule {
        name: "nobody_listens",
        least: 1,
        speaks: |event, _| match event.kind {
            Kind::Drop(drop) if drop.class == DropClass::Refused && is_syn(drop) => {
                // A connection of this host is counted at its end.
                let followed = event.socket.is_some_and(|socket| socket.conn != ConnId::NONE);
                let here = followed || drop.iface.as_deref() == Some("lo");
                let packets = if here { 0 } else { drop.count };
                Some((destination(event, drop)?, Weight { packets, certain: true, ..Weight::default() }))
            }
            Kind::Close(close) if close.verdict == Verdict::Refused => {
                Some((remote(event.socket.as_ref()?), ONE_CONNECTION))
            }
            _ => None,
        },
        say: |case, _| {
            let (number, what) = match case.connections {
                0 => (case.packets, "SYN"),
                connections => (connections, "connection"),
            };
            let doubt = if case.certain { "" } else { ", or a firewall rejects" };
            let (end, count, were) = (end(case), counted(number, what), if number == 1 { "was" } else { "were" });
            format!("nothing listens at {end}{doubt}: {count}{} {were} refused", of_owners(case))
        },
        look: &["ss -lntp", "tracer explain ECONNREFUSED"],
    },
    super::no_answer::RULE,
    Rule {
        name: "retransmit_heavy",
        least: 10,
        speaks: |event, _| match event.kind {
            // A probe asks whether anything is missing; often nothing is.
            Kind::Retransmit { what, .. } if what != Segment::Probe => {
                let socket = event.socket.as_ref()?;
                let port = if socket.role == Role::Client { socket.rport } else { None };
                Some((Subject { port, ..remote(socket) }, Weight { packets: 1, ..Weight::default() }))
            }
            _ => None,
        },
        say: |case, _| {
            let connections = match case.distinct_connections() {
                0 => String::new(),
                n if n == super::MOST_CONNECTIONS => format!(", of {n} connections or more"),
                n => format!(", of {}", counted(n as u64, "connection")),
            };
            let count = counted(case.packets, "segment");
            format!("{count} to {} had to be retransmitted{connections}{}", end(case), of_owners(case))
        },
        look: &["ss -tine dst ADDRESS", "nstat -az TcpRetransSegs TcpExtTCPLostRetransmit"],
    },
];

pub(super) const POLICY: &str = "syn_dropped_by_policy";
pub(super) const ONE_CONNECTION: Weight = Weight { connections: 1, ..Weight::NONE };

pub(super) fn dropped<'a>(event: &Event<'a>) -> Option<&'a Drop> {
    match event.kind {
        Kind::Drop(drop) => Some(drop),
        _ => None,
    }
}

pub(super) fn packets(drop: &Drop) -> Weight {
    Weight { packets: drop.count, ..Weight::default() }
}

/// Whether netfilter dropped it. Among drops without a reason only netfilter's have class `policy`.
pub(super) fn is_by_netfilter(drop: &Drop) -> bool {
    match drop.reason.as_deref() {
        None | Some("NOT_SPECIFIED") => drop.class == DropClass::Policy,
        Some(reason) => reason == "NETFILTER_DROP",
    }
}

/// The rule that dropped it, or another certain fact about the place.
fn rule_of(drop: &Drop) -> Option<Rc<str>> {
    let hint = drop.hint.as_ref().filter(|hint| !hint.undecided)?;
    (hint.nft.is_some() || hint.qdisc.is_some()).then(|| hint.text.as_str().into())
}

fn is_syn(drop: &Drop) -> bool {
    drop.tcp_flags.is_some_and(|flags| flags & TCP_SYN != 0 && flags & TCP_ACK == 0)
}

pub(super) fn cause(drop: &Drop) -> Option<Rc<str>> {
    drop.reason.clone().or_else(|| drop.symbol.clone())
}

pub(super) fn netns(event: &Event<'_>) -> Option<u32> {
    event.socket.and_then(|socket| socket.netns)
}

/// The destination of a packet.
pub(super) fn destination(event: &Event<'_>, drop: &Drop) -> Option<Subject> {
    let ends = drop.ends?;
    Some(Subject { addr: Some(ends.daddr), port: ends.dport, netns: netns(event), ..Subject::default() })
}

/// The other end of a connection.
pub(super) fn remote(socket: &Socket<'_>) -> Subject {
    Subject { addr: socket.raddr, port: socket.rport, netns: socket.netns, ..Subject::default() }
}

pub(super) fn end(case: &Case) -> String {
    let Subject { addr, port, .. } = case.subject;
    match (addr, port) {
        (Some(addr), None) => addr.to_string(),
        _ => Endpoint { addr, port, ifindex: None }.to_string(),
    }
}

/// ` of curl[1], wget[2] and others`; empty if no owner is known.
pub(super) fn of_owners(case: &Case) -> String {
    if case.owners.is_empty() {
        return String::new();
    }
    let names: Vec<String> = case.owners.iter().map(|(pid, comm)| format!("{comm}[{pid}]")).collect();
    format!(" of {}{}", names.join(", "), if case.more_owners { " and others" } else { "" })
}

pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
