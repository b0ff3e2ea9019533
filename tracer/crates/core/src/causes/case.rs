//! Groups of dropped packets that have one cause, with all that they concern.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Party, Severity};

use super::{
    claims::Claims,
    scene::{Carried, Conn, Dropped, Hurt, Scene},
    words::{add, end, names, place},
};

/// The groups of one cause.
#[derive(Debug, Default)]
pub(super) struct Case<'s> {
    pub groups: Vec<(usize, &'s Dropped)>,
    pub conns: Vec<&'s Conn>,
    pub clients: Vec<Party>,
    pub receivers: Vec<Party>,
}

impl<'s> Case<'s> {
    pub fn add(&mut self, number: usize, group: &'s Dropped, hurt: Hurt<'s>) {
        self.groups.push((number, group));
        for conn in hurt.conns {
            if self.conns.iter().all(|known| known.id != conn.id) {
                self.conns.push(conn);
            }
        }
        hurt.clients.into_iter().for_each(|party| add(&mut self.clients, party));
        hurt.receivers.into_iter().for_each(|party| add(&mut self.receivers, party));
    }

    pub fn count(&self) -> u64 {
        self.groups.iter().map(|(_, group)| group.count).sum()
    }

    /// `10 SYNs and 2 SYN-ACKs`.
    pub fn packets(&self) -> String {
        let mut by: BTreeMap<Carried, u64> = BTreeMap::new();
        for (_, group) in &self.groups {
            *by.entry(group.carried).or_default() += group.count;
        }
        let words: Vec<_> = by.iter().map(|(carried, count)| format!("{count} {}", carried.words(*count))).collect();
        words.join(" and ")
    }

    /// `10 SYNs of curl[3]`; without a program of this host, with their source.
    pub fn of_whom(&self) -> String {
        let from = self.groups.first().and_then(|(_, group)| group.client());
        match (self.clients.is_empty(), from) {
            (true, Some(from)) => format!("{} from {from}", self.packets()),
            (true, None) => self.packets(),
            (false, _) => format!("{} of {}", self.packets(), names(&self.clients)),
        }
    }

    /// The cause `name` at the place of the first group. Claims the packets, and the connections that failed.
    pub fn cause(&self, scene: &Scene, claims: &mut Claims, name: &'static str, text: String) -> Option<Cause> {
        let (_, first) = self.groups.first()?;
        for (number, _) in &self.groups {
            claims.drop(*number);
        }
        let mut failed = 0;
        for conn in &self.conns {
            let fails =
                conn.close.as_ref().map_or(conn.established_ns.is_none() && !conn.older, |close| close.is_failure());
            failed += u64::from(fails && claims.conn(conn.id));
        }
        let (addr, port) = first.server();
        let known = !self.clients.is_empty() || !self.receivers.is_empty();
        let severity = if known { Severity::Failure } else { Severity::Policy };
        let flow = scene.flows.of(&programs(&self.conns), addr, port);
        Some(Cause {
            sufferers: if self.clients.is_empty() { self.receivers.clone() } else { self.clients.clone() },
            place: place(scene, first),
            peer: addr.map(|_| end(addr, port)),
            count: self.count(),
            share: (failed > 0 && flow.connections >= failed).then(|| failed as f64 / flow.connections as f64),
            ..Cause::new(name, severity, text)
        })
    }
}

/// One cause: the place, its reason, and the server's end.
pub(super) type Place = (Option<u32>, Option<String>, String, Option<IpAddr>, Option<u16>);

/// The groups that `is` chooses, by place, reason and server.
pub(super) fn by_place<'s>(scene: &'s Scene, claims: &Claims, is: fn(&Dropped) -> bool) -> BTreeMap<Place, Case<'s>> {
    let mut cases: BTreeMap<Place, Case<'s>> = BTreeMap::new();
    for (number, group) in scene.drops.groups().filter(|(number, group)| !claims.has_drop(*number) && is(group)) {
        let (addr, port) = group.server();
        let iface = group.iface.as_deref().map(str::to_owned);
        let key = (group.netns, iface, group.reason.to_string(), addr, port);
        cases.entry(key).or_default().add(number, group, scene.hurt(group));
    }
    cases
}

/// The programs of connections, with their namespaces.
pub(super) fn programs<'s>(conns: &[&'s Conn]) -> Vec<(Option<u32>, &'s str)> {
    let named = |conn: &&'s Conn| conn.owner.as_ref().map(|owner| (conn.ends.netns, owner.comm.as_str()));
    let mut all: Vec<_> = conns.iter().filter_map(named).collect();
    all.sort_unstable();
    all.dedup();
    all
}
