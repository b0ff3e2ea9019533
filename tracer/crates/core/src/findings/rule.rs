//! A rule, and the words that rules share.

use std::rc::Rc;

use tracer_stream::{Drop, DropClass, Endpoint, Event, Finding, Kind, Socket};

use super::{Case, Facts, Subject, Weight, advice};

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
