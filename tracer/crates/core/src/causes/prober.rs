//! A program that tries port after port: what it finds closed harms none.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use tracer_stream::{Cause, Party, Role, Severity, Verdict};

use super::{
    claims::Claims,
    scene::{Conn, Dropped, Scene},
    words::{add, counted},
};

/// The least number of distinct ports of one destination.
const LEAST_PORTS: usize = 5;
/// The least number if the program tries none of them again.
const LEAST_ONCE: usize = 3;

/// One source: a program, or an address whose program is unknown.
type By = (Option<String>, Option<IpAddr>);

#[derive(Default)]
struct Tries<'s> {
    ports: BTreeMap<u16, u64>,
    refused: u64,
    unanswered: u64,
    conns: Vec<&'s Conn>,
    parties: Vec<Party>,
    /// Numbers of groups of drops.
    drops: Vec<usize>,
    from: BTreeSet<IpAddr>,
}

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let wanted = Wanted::of(scene);
    let mut all: BTreeMap<(By, IpAddr), Tries<'_>> = BTreeMap::new();
    let waiting = scene.conns.open().filter(|conn| conn.established_ns.is_none() && conn.syn_retransmits > 0);
    for conn in scene.conns.failed().chain(waiting).filter(|conn| is_try(conn)) {
        let (Some(raddr), Some(rport)) = (conn.ends.raddr, conn.ends.rport) else { continue };
        let comm = conn.owner.as_ref().map(|owner| owner.comm.clone());
        if wanted.by_others(comm.as_deref(), raddr, rport) {
            continue;
        }
        let by = (comm.clone(), conn.ends.laddr.filter(|_| comm.is_none()));
        let tries = all.entry((by, raddr)).or_default();
        *tries.ports.entry(rport).or_default() += 1;
        let is_refused = conn.close.as_ref().is_some_and(|close| close.verdict == Verdict::Refused);
        *(if is_refused { &mut tries.refused } else { &mut tries.unanswered }) += 1;
        tries.conns.push(conn);
        tries.from.extend(conn.ends.laddr);
        conn.owner.iter().for_each(|owner| add(&mut tries.parties, owner.clone()));
    }
    let mut sources: HashMap<(IpAddr, IpAddr), (By, IpAddr)> = HashMap::new();
    for (key, tries) in &all {
        sources.extend(tries.from.iter().map(|from| ((*from, key.1), key.clone())));
    }
    // Those of other hosts have no connection here, only their packets.
    for (number, group) in scene.drops.groups().filter(|(_, group)| group.is_of_probes()) {
        let (Some(saddr), Some(daddr), Some(port)) = (group.saddr, group.daddr, group.port) else { continue };
        if claims.has_drop(number) || !scene.hurt(group).conns.is_empty() || wanted.by_others(None, daddr, port) {
            continue;
        }
        if let Some(tries) = sources.get(&(saddr, daddr)).and_then(|key| all.get_mut(key)) {
            tries.drops.push(number);
            continue;
        }
        let tries = all.entry(((None, Some(saddr)), daddr)).or_default();
        *tries.ports.entry(port).or_default() += group.count;
        *(if group.is_refused() { &mut tries.refused } else { &mut tries.unanswered }) += group.count;
        tries.from.insert(saddr);
        tries.drops.push(number);
    }
    let probes = all.into_iter().filter(|(_, tries)| {
        let once = tries.ports.values().all(|count| *count == 1);
        tries.ports.len() >= LEAST_PORTS || once && tries.ports.len() >= LEAST_ONCE
    });
    let mut to: HashMap<IpAddr, Vec<usize>> = HashMap::new();
    for (number, group) in scene.drops.groups() {
        if let (Some(server), _) = group.server() {
            to.entry(server).or_default().push(number);
        }
    }
    probes.map(|(key, tries)| cause(scene, claims, &to, &key, &tries)).collect()
}

/// Whether its handshake did not end. Of one that is older than the trace the end tells it.
fn is_try(conn: &Conn) -> bool {
    let by_end = || conn.close.as_ref().is_some_and(|close| close.syns.is_some());
    conn.role == Role::Client && conn.established_ns.is_none() && (!conn.older || by_end())
}

/// A program, and whether it has had an answer.
type Use<'s> = (Option<&'s str>, bool);

/// The ports that programs need: where one has had an answer, or several fail.
struct Wanted<'s> {
    by: HashMap<(IpAddr, u16), Vec<Use<'s>>>,
}

impl<'s> Wanted<'s> {
    fn of(scene: &'s Scene) -> Self {
        let mut by: HashMap<_, Vec<_>> = HashMap::new();
        for (key, flow) in scene.flows.all() {
            if let (Some(addr), Some(port)) = (key.raddr, key.rport) {
                by.entry((addr, port)).or_default().push((key.comm.as_deref(), flow.answered > 0));
            }
        }
        for conn in scene.conns.open().filter(|conn| conn.established_ns.is_some() || conn.older) {
            if let (Some(addr), Some(port)) = (conn.ends.raddr, conn.ends.rport) {
                let comm = conn.owner.as_ref().map(|owner| owner.comm.as_str());
                by.entry((addr, port)).or_default().push((comm, true));
            }
        }
        Self { by }
    }

    /// Whether the program itself has had an answer there, or another one tries it, too.
    fn by_others(&self, comm: Option<&str>, addr: IpAddr, port: u16) -> bool {
        let all = self.by.get(&(addr, port)).map_or(&[][..], Vec::as_slice);
        all.iter().any(|(by, answered)| *answered || *by != comm)
    }
}

fn cause(
    scene: &Scene,
    claims: &mut Claims,
    packets: &HashMap<IpAddr, Vec<usize>>,
    key: &(By, IpAddr),
    tries: &Tries<'_>,
) -> Cause {
    let ((_, from), to) = key;
    for conn in &tries.conns {
        claims.conn(conn.id);
    }
    // Packets to the same ports, wherever they were dropped.
    for number in packets.get(to).map_or(&[][..], Vec::as_slice) {
        let is_its = |group: &Dropped| {
            group.client().is_some_and(|from| tries.from.contains(&from))
                && group.port.is_some_and(|port| tries.ports.contains_key(&port))
        };
        if scene.drops.get(*number).is_some_and(is_its) {
            claims.drop(*number);
        }
    }
    for number in &tries.drops {
        claims.drop(*number);
    }
    let who = match (tries.parties.as_slice(), from) {
        ([], Some(from)) => from.to_string(),
        (parties, _) => super::words::names(parties),
    };
    let ports = tries.ports.len();
    let mut counts = Vec::new();
    if tries.refused > 0 {
        counts.push(format!("{} refused", tries.refused));
    }
    if tries.unanswered > 0 {
        counts.push(format!("{} without an answer", tries.unanswered));
    }
    let text = format!("{who} probes {} of {to} ({})", counted_closed(ports), counts.join(", "));
    Cause {
        certain: true,
        culprits: tries.parties.clone(),
        peer: Some(to.to_string()),
        count: tries.refused + tries.unanswered,
        evidence: vec![format!(
            "ports {}",
            tries.ports.keys().take(8).map(u16::to_string).collect::<Vec<_>>().join(", ")
        )],
        ..Cause::new("prober", Severity::Harmless, text)
    }
}

fn counted_closed(ports: usize) -> String {
    counted(u64::try_from(ports).unwrap_or(u64::MAX), "closed port")
}

#[cfg(test)]
mod tests {
    use tracer_stream::Close;

    use super::super::sample::{Sample, Told};
    use super::*;

    const REFUSED: Close = Close { verdict: Verdict::Refused, errno: Some(111), syns: Some(1), ..Close::UNKNOWN };

    fn refused(sample: Sample, comm: &str, pid: u32, ports: &[u16]) -> Sample {
        ports
            .iter()
            .fold(sample, |sample, port| sample.connect(Told::client(comm, pid).to("10.0.2.1", *port), &REFUSED))
    }

    #[test]
    fn a_scan_is_one_harmless_line() {
        let sample = refused(Sample::default(), "scan", 7, &[21, 22, 23, 25, 110]);
        let (causes, claims) = sample.run(causes);
        assert_eq!(causes[0].text, "scan[7] probes 5 closed ports of 10.0.2.1 (5 refused)");
        assert_eq!((causes.len(), causes[0].severity), (1, Severity::Harmless));
        assert!(sample.scene.conns.failed().all(|conn| claims.has_conn(conn.id)));
    }

    #[test]
    fn a_port_that_others_need_is_not_claimed() {
        let sample = refused(Sample::default(), "scan", 7, &[21, 22, 23, 25, 110, 6379]);
        let sample = refused(sample, "cart", 8, &[6379]);
        let (causes, claims) = sample.run(causes);
        assert_eq!(causes[0].count, 5);
        let left: Vec<_> = sample.scene.conns.failed().filter(|conn| !claims.has_conn(conn.id)).collect();
        assert!(left.len() == 2 && left.iter().all(|conn| conn.ends.rport == Some(6379)), "{left:?}");
    }

    #[test]
    fn two_ports_that_are_tried_again_and_again_are_needed() {
        let sample = refused(Sample::default(), "app", 7, &[5432, 6379, 5432, 6379, 5432, 6379]);
        assert!(sample.run(causes).0.is_empty());
    }
}
