//! connect() finds no local port: all of the range are taken towards that destination, and by whom.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Party, Place, Role, Severity, Verdict};

use super::{
    case::programs,
    claims::Claims,
    scene::{Conn, Scene},
    words::{add, counted, end, inside, names, percent},
};

type Key = (Option<u32>, Option<IpAddr>, Option<u16>);

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<Key, Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed().filter(|conn| finds_none(conn) && !claims.has_conn(conn.id)) {
        cases.entry((conn.ends.netns, conn.ends.raddr, conn.ends.rport)).or_default().push(conn);
    }
    cases.into_iter().filter_map(|(key, conns)| cause(scene, claims, key, &conns)).collect()
}

/// Whether the kernel had chosen the address, and found no port. Without an address that was missing (IPv6).
fn finds_none(conn: &Conn) -> bool {
    let failed = |close: &tracer_stream::Close| {
        (close.verdict, close.errno) == (Verdict::FailedLocal, Some(libc::EADDRNOTAVAIL))
    };
    conn.close.as_ref().is_some_and(failed)
        && conn.role != Role::Listener
        && conn.ends.laddr.is_some()
        && conn.ends.lport.is_none()
}

fn cause(scene: &Scene, claims: &mut Claims, (netns, addr, port): Key, conns: &[&Conn]) -> Option<Cause> {
    let mut sufferers: Vec<Party> = Vec::new();
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, Party { netns, ..owner.clone() }));
    }
    let count = u64::try_from(conns.len()).unwrap_or(u64::MAX);
    let (to, who) = (end(addr, port), names(&sufferers));
    let namespace = netns.and_then(|inode| scene.host().namespace(inode));
    let range = namespace.and_then(|namespace| namespace.ports);
    let all = range.map_or_else(
        || "all local ports".to_owned(),
        |(first, last)| format!("all {} local ports ({first}–{last})", u32::from(last.saturating_sub(first)) + 1),
    );
    let (taker, share) = taker(scene, netns, addr, port);
    let keenest = keenest(conns).filter(|_| taker.is_none());
    let at = scene.in_netns(netns);
    let by = match (&taker, share) {
        (Some(taker), Some(share)) => format!(", {} of them by {taker}", percent(share)),
        // The ports were taken before the trace, and TIME_WAIT keeps no owner.
        _ => keenest.as_ref().map_or_else(String::new, |(party, share)| {
            format!(", by whom cannot be seen any more; {} of the tries are those of {party}", percent(*share))
        }),
    };
    let text = format!("{who} cannot connect to {to}: {all}{at} are taken towards it{by}");
    let time_wait = netns.and_then(|inode| scene.host().time_wait.iter().find(|(of, _)| *of == inode)).map(|(_, n)| *n);
    let mut evidence = vec![format!("{} failed with EADDRNOTAVAIL", counted(count, "connect() call"))];
    if let Some(waiting) = time_wait.filter(|waiting| *waiting > 0) {
        evidence.push(format!(
            "{} in TIME_WAIT{at}: the side that closes first keeps its port for 60 s",
            counted(waiting, "connection")
        ));
    }
    if let Some(taker) = &taker {
        let flow = scene.flows.to(Some(&taker.comm), addr, port);
        evidence.push(format!(
            "{taker} has opened and closed {} to it in this time",
            counted(flow.connections, "connection")
        ));
    }
    let flow = scene.flows.of(&programs(conns), addr, port);
    Some(Cause {
        certain: true,
        sufferers,
        culprits: taker.or(keenest.map(|(party, _)| party)).into_iter().collect(),
        place: Place { netns, netns_name: netns.map(|netns| scene.netns_name(netns)), ..Place::default() },
        peer: Some(to),
        count,
        share: (flow.connections >= count).then(|| count as f64 / flow.connections as f64),
        evidence,
        next: vec![
            inside(scene, netns, "ss -tan state time-wait"),
            inside(scene, netns, "sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse"),
        ],
        ..Cause::new("local_ports", Severity::Failure, text)
    })
}

/// Of several programs the one with most tries, and its share of them.
fn keenest(conns: &[&Conn]) -> Option<(Party, f64)> {
    let mut tries: BTreeMap<&Party, usize> = BTreeMap::new();
    conns.iter().filter_map(|conn| conn.owner.as_ref()).for_each(|owner| *tries.entry(owner).or_default() += 1);
    let (party, most) = tries.iter().max_by_key(|(_, count)| **count).filter(|_| tries.len() > 1)?;
    Some(((*party).clone(), *most as f64 / conns.len() as f64))
}

/// The program that has opened most connections from this namespace to that end, and its share of them.
fn taker(scene: &Scene, netns: Option<u32>, addr: Option<IpAddr>, port: Option<u16>) -> (Option<Party>, Option<f64>) {
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, flow) in scene.flows.all() {
        if (key.netns, key.raddr, key.rport) == (netns, addr, port)
            && let Some(comm) = key.comm.as_deref()
        {
            // One that found no port has taken none.
            *by_name.entry(comm).or_default() += flow.connections.saturating_sub(flow.failed);
        }
    }
    let is_there = |socket: &&super::survey::SurveySocket| {
        Some(socket.netns) == netns && Some(socket.raddr) == addr && Some(socket.rport) == port
    };
    let held: Vec<Party> =
        scene.host().sockets.iter().filter(is_there).filter_map(|socket| scene.holder(socket)).collect();
    for party in &held {
        *by_name.entry(&party.comm).or_default() += 1;
    }
    let sum: u64 = by_name.values().sum();
    let Some((comm, most)) = by_name.iter().max_by_key(|(_, count)| **count).filter(|(_, most)| **most > 0) else {
        return (None, None);
    };
    let holder = held.iter().find(|party| party.comm == *comm).cloned();
    let process = || {
        let process = scene.host().processes.iter().find(|process| process.comm == *comm)?;
        scene.party(process.pid)
    };
    let by_conn = || {
        let mut conns = scene.conns.open().chain(scene.conns.failed());
        conns.find_map(|conn| conn.owner.clone().filter(|owner| owner.comm == *comm))
    };
    (holder.or_else(process).or_else(by_conn), Some(*most as f64 / sum as f64))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::Close;

    use super::super::sample::{Sample, Told};
    use super::*;

    const NONE_LEFT: Close =
        Close { verdict: Verdict::FailedLocal, errno: Some(libc::EADDRNOTAVAIL), ..Close::UNKNOWN };
    const FINE: Close = Close { verdict: Verdict::ClosedLocal, connect_us: Some(50), ..Close::UNKNOWN };

    #[test]
    fn who_has_taken_the_ports_is_named() {
        let (billing, export) = (Told::client("billing", 8), Told::client("export", 9));
        let mut sample = Sample::default().process("export", 9);
        sample.survey.namespaces[0].ports = Some((40_000, 40_199));
        sample.survey.time_wait = vec![(1, 190)];
        let mut sample = sample.look();
        for _ in 0..9 {
            sample = sample.connect(export.clone(), &FINE);
        }
        let sample = sample.connect(billing.clone(), &FINE).connect_without_port(billing, &NONE_LEFT);
        let (causes, _) = sample.run(causes);
        let text = "billing[8] cannot connect to 10.0.2.1:80: all 200 local ports (40000–40199) in left are taken towards \
                    it, 90 % of them by export[9]";
        assert_eq!(causes[0].text, text);
        assert_eq!(causes[0].culprits[0].pid, 9);
    }

    #[test]
    fn a_missing_address_is_another_matter() {
        let sample = Sample::default().look().connect(Told::client("app", 8), &NONE_LEFT);
        assert!(sample.run(causes).0.is_empty(), "it had a port");
    }
}
