//! The table of rules, in order: an event counts for the first rule that takes it.

use std::rc::Rc;

use tracer_common::drops::{TCP_ACK, TCP_SYN};
use tracer_stream::{ConnId, Drop, DropClass, Kind, Role, Segment, Verdict};

use super::{
    Subject, Weight,
    advice::POLICY,
    calls::{CANNOT_ACCEPT, CANNOT_BIND},
    conntrack::CONNTRACK_FULL,
    discards,
    rule::{ONE_CONNECTION, Rule, cause, counted, destination, dropped, end, of_owners, packets, remote},
};

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

/// The rule that dropped it, or another certain fact about the place.
fn rule_of(drop: &Drop) -> Option<Rc<str>> {
    let hint = drop.hint.as_ref().filter(|hint| !hint.undecided)?;
    (hint.nft.is_some() || hint.qdisc.is_some()).then(|| hint.text.as_str().into())
}

fn is_syn(drop: &Drop) -> bool {
    drop.tcp_flags.is_some_and(|flags| flags & TCP_SYN != 0 && flags & TCP_ACK == 0)
}
