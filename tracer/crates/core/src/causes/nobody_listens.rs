//! Nothing listens where programs try to connect.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Party, Place, Role, Severity, Verdict};

use super::{
    case::programs,
    claims::Claims,
    scene::{Conn, Scene},
    survey::SurveySocket,
    words::{add, counted, end, inside, names},
};

/// The least number of refused SYNs from other hosts.
const LEAST: u64 = 3;

type Server = (Option<IpAddr>, Option<u16>);

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<Server, Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed().filter(|conn| conn.role == Role::Client && !claims.has_conn(conn.id)) {
        if conn.close.as_ref().is_some_and(|close| close.verdict == Verdict::Refused && close.icmp.is_none()) {
            cases.entry((conn.ends.raddr, conn.ends.rport)).or_default().push(conn);
        }
    }
    let mut refused: BTreeMap<Server, (Option<u32>, u64)> = BTreeMap::new();
    for (number, group) in scene.drops.groups() {
        if group.is_refused() && group.is_of_probes() && !claims.has_drop(number) {
            claims.drop(number);
            let case = refused.entry(group.server()).or_insert((group.netns, 0));
            case.1 += group.count;
        }
    }
    let mut found: Vec<Cause> = Vec::new();
    for (server, conns) in &cases {
        let seen = refused.remove(server);
        found.extend(conns.first().map(|first| cause(scene, claims, *server, first, conns, seen.is_some())));
    }
    let others = refused.into_iter().filter(|(_, (_, count))| *count >= LEAST);
    found.extend(others.map(|((addr, port), (netns, count))| {
        let text = format!(
            "{} from elsewhere to {}{} refused: nothing listens there",
            counted(count, "SYN"),
            end(addr, port),
            scene.in_netns(netns)
        );
        let place = Place { netns, netns_name: netns.map(|netns| scene.netns_name(netns)), ..Place::default() };
        let peer = Some(end(addr, port));
        Cause { certain: true, place, peer, count, ..Cause::new("nobody_listens", Severity::Harmless, text) }
    }));
    found
}

fn cause(scene: &Scene, claims: &mut Claims, server: Server, first: &Conn, conns: &[&Conn], seen: bool) -> Cause {
    let (addr, port) = server;
    let mut sufferers: Vec<Party> = Vec::new();
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, owner.clone()));
    }
    let homes = scene.destination(first);
    let to = end(addr, port);
    let flow = scene.flows.of(&programs(conns), addr, port);
    let failed = u64::try_from(conns.len()).unwrap_or(u64::MAX);
    let tries = flow.connections.max(failed);
    let listeners: Vec<&SurveySocket> = port.into_iter().flat_map(|port| scene.listeners_of(port)).collect();
    let here = |socket: &&&SurveySocket| homes.contains(&socket.netns);
    let takes = |socket: &&SurveySocket| Some(socket.laddr) == addr || socket.laddr.is_unspecified();
    let at = scene.in_netns(homes.first().copied());
    let who =
        |socket: &SurveySocket| scene.holder(socket).map_or_else(|| "a process".to_owned(), |party| party.to_string());
    let now = listeners.iter().filter(here).find(|socket| takes(socket));
    let elsewhere = listeners.iter().filter(here).find(|socket| !takes(socket));
    let mut evidence = Vec::new();
    let mut culprits = Vec::new();
    let why = match (homes.is_empty(), now, elsewhere) {
        (true, ..) => "nothing listens there, or a firewall rejects it".to_owned(),
        (false, Some(socket), _) if flow.answered > 0 => {
            format!("{} listens there only for a part of the time", who(socket))
        }
        (false, Some(socket), _) => format!("{} listens there only since then", who(socket)),
        (false, None, Some(socket)) => {
            culprits.extend(scene.holder(socket));
            format!("{} listens on {} only", who(socket), end(Some(socket.laddr), port))
        }
        (false, None, None) => "nothing listens there".to_owned(),
    };
    let other = listeners.iter().find(|socket| !homes.contains(&socket.netns) && !homes.is_empty() && now.is_none());
    if let Some(socket) = other {
        let there = scene.netns_name(socket.netns);
        evidence.push(format!("{} listens on this port in another namespace, {there}", who(socket)));
    }
    if flow.answered > 0 {
        evidence.push(format!("{} of {tries} tries had an answer", flow.answered));
    }
    let were = if failed == 1 { "is" } else { "are" };
    let text = format!("{} of {} to {to}{at} {were} refused: {why}", counted(failed, "connection"), names(&sufferers));
    let netns = homes.first().copied();
    let filter = port.map_or_else(String::new, |port| format!(" sport = :{port}"));
    Cause {
        certain: !homes.is_empty() || seen,
        sufferers,
        culprits,
        place: Place { netns, netns_name: netns.map(|netns| scene.netns_name(netns)), ..Place::default() },
        peer: Some(to),
        count: failed,
        share: Some(failed as f64 / tries as f64),
        evidence,
        next: vec![inside(scene, netns, &format!("ss -ltnp{filter}"))],
        ..Cause::new("nobody_listens", Severity::Failure, text)
    }
}

#[cfg(test)]
mod tests {
    use tracer_stream::Close;

    use super::super::{
        sample::{Sample, Told},
        survey::Transport,
    };
    use super::*;

    const REFUSED: Close = Close { verdict: Verdict::Refused, errno: Some(111), syns: Some(1), ..Close::UNKNOWN };

    fn tries(sample: Sample) -> Vec<Cause> {
        let told = Told::client("app", 8).to("10.0.2.1", 80);
        sample.look().connect(told.clone(), &REFUSED).connect(told, &REFUSED).run(causes).0
    }

    #[test]
    fn nothing_at_all() {
        let found = tries(Sample::default());
        assert_eq!(found[0].text, "2 connections of app[8] to 10.0.2.1:80 in right are refused: nothing listens there");
        assert!(found[0].certain && found[0].severity == Severity::Failure);
        assert_eq!(found[0].next, ["ip netns exec right ss -ltnp sport = :80"]);
    }

    #[test]
    fn a_listener_on_another_address_or_in_another_namespace() {
        let sample = || Sample::default().process("nginx", 5);
        let found = tries(sample().bound(Transport::Tcp, 2, "127.0.0.1", 80, 5));
        assert!(found[0].text.ends_with("nginx[5] listens on 127.0.0.1:80 only"), "{}", found[0].text);
        assert_eq!(found[0].culprits[0].pid, 5);
        let found = tries(sample().bound(Transport::Tcp, 3, "0.0.0.0", 80, 5));
        assert_eq!(found[0].evidence, ["nginx[5] listens on this port in another namespace, router"]);
    }

    #[test]
    fn another_host_may_have_a_firewall() {
        let told = Told::client("app", 8).to("192.0.2.7", 80);
        let (found, _) = Sample::default().look().connect(told, &REFUSED).run(causes);
        assert!(!found[0].certain && found[0].text.ends_with("nothing listens there, or a firewall rejects it"));
    }

    #[test]
    fn answered_connections_are_none() {
        let well = Close { verdict: Verdict::ClosedLocal, connect_us: Some(9), ..Close::UNKNOWN };
        assert!(Sample::default().look().connect(Told::client("app", 8), &well).run(causes).0.is_empty());
    }
}
