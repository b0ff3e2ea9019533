//! A rule of a firewall answers connect() with an error.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use tracer_stream::{Cause, Icmp, Party, Place, Role, Severity, Verdict};

use super::{
    case::programs,
    claims::Claims,
    scene::{Conn, Dropped, Scene},
    words::{add, dropper, end, inside, names, percent, place, show},
};

/// The server's end.
type Server = (Option<IpAddr>, Option<u16>);

/// The source of the error: a message of ICMP, or a RST.
type Answer = (Option<(u8, u8)>, Option<IpAddr>);

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    // SYNs that a rule rejects, by their destination.
    let mut rejects: HashMap<Server, Vec<(usize, &Dropped)>> = HashMap::new();
    for (number, group) in scene.drops.groups() {
        let rejects_it = |rule: &str| rule.contains("reject");
        if group.is_of_probes() && group.rule().is_some_and(|nft| nft.rule.as_deref().is_some_and(rejects_it)) {
            rejects.entry(group.server()).or_default().push((number, group));
        }
    }
    let mut cases: BTreeMap<(Server, Answer), Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed().filter(|conn| conn.role == Role::Client && !claims.has_conn(conn.id)) {
        let Some(close) = &conn.close else { continue };
        let to = (conn.ends.raddr, conn.ends.rport);
        let answer = match close.icmp {
            Some(icmp) if says_so(&icmp) => (Some((icmp.kind, icmp.code)), Some(icmp.from)),
            // Without its rule a RST is that of a port where nothing listens.
            None if close.verdict == Verdict::Refused && rejects.contains_key(&to) => (None, None),
            _ => continue,
        };
        cases.entry((to, answer)).or_default().push(conn);
    }
    let all = cases.into_iter().filter_map(|((server, answer), conns)| {
        let groups = rejects.get(&server).map_or(&[][..], Vec::as_slice);
        cause(scene, claims, server, answer, &conns, groups)
    });
    all.collect()
}

/// Whether it is a rule's: a host does not answer a SYN with `port unreachable` by itself.
const fn says_so(icmp: &Icmp) -> bool {
    icmp.is_prohibition() || matches!((icmp.v6, icmp.kind, icmp.code), (false, 3, 3) | (true, 1, 4))
}

fn cause(
    scene: &Scene,
    claims: &mut Claims,
    (addr, port): Server,
    answer: Answer,
    conns: &[&Conn],
    groups: &[(usize, &Dropped)],
) -> Option<Cause> {
    let mut sufferers: Vec<Party> = Vec::new();
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, owner.clone()));
    }
    for (number, _) in groups {
        claims.drop(*number);
    }
    let home = answer.1.map(|from| scene.homes_of(from).to_vec()).unwrap_or_default();
    let is_there = |group: &&Dropped| home.is_empty() || group.netns.is_some_and(|netns| home.contains(&netns));
    let group = groups.iter().map(|(_, group)| *group).find(is_there);
    let to = end(addr, port);
    let failed = u64::try_from(conns.len()).ok()?;
    let tries = scene.flows.of(&programs(conns), addr, port).connections;
    let tries = tries.max(failed);
    let share = failed as f64 / tries as f64;
    let netns = group.map_or_else(|| home.first().copied(), |group| group.netns);
    let at = scene.in_netns(netns);
    let by = group.map_or_else(|| "a firewall".to_owned(), dropper);
    let message = match (answer, conns.first()?.close.as_ref()?.icmp) {
        ((Some((kind, code)), Some(from)), Some(icmp)) => {
            let meaning = icmp.meaning().map_or_else(String::new, |meaning| format!("{meaning}, "));
            format!("{meaning}{} {kind}/{code} from {from}", icmp.protocol())
        }
        _ => "RST".to_owned(),
    };
    let text = format!(
        "{failed} of {tries} tries of {} to connect to {to} rejected{at} by {by} ({message})",
        names(&sufferers)
    );
    let mut evidence = Vec::new();
    let limits = group
        .and_then(Dropped::rule)
        .is_some_and(|nft| nft.rule.as_deref().is_some_and(|rule| rule.contains("ct count")));
    if let Some(beside) = beside(conns).filter(|_| limits || share < 1.0) {
        evidence.push(beside);
    }
    evidence.push(format!("{} of these tries fail", percent(share)));
    let place = group.map_or_else(
        || Place { netns, netns_name: netns.map(|netns| scene.netns_name(netns)), ..Place::default() },
        |group| place(scene, group),
    );
    let mut next = vec![show(scene, netns, group.and_then(Dropped::rule))];
    if let Some(port) = port.filter(|_| limits) {
        next.push(inside(scene, netns, &format!("ss -tn state established sport = :{port}")));
    }
    Some(Cause {
        certain: group.is_some_and(|group| group.nft.is_some()),
        sufferers,
        place: Place { from: answer.1, ..place },
        peer: Some(to),
        count: failed,
        share: Some(share),
        evidence,
        next,
        ..Cause::new("rejected", Severity::Failure, text)
    })
}

/// The connections from the same address at the moments of the failures: the most of all moments, because those that
/// are closing may count for the limit, too.
fn beside(conns: &[&Conn]) -> Option<String> {
    let sum = |conn: &&&Conn| conn.beside.iter().map(|(_, count)| *count).sum::<u64>();
    let known = conns.iter().filter(|conn| !conn.beside.is_empty());
    let conn = known.max_by_key(sum)?;
    let (from, all) = (conn.ends.laddr?, sum(&conn));
    let by = conn.beside.iter().take(3);
    let by = by.map(|(comm, count)| format!("{} {count}", comm.as_deref().unwrap_or("unknown programs")));
    let by = by.collect::<Vec<_>>().join(", ");
    Some(format!("at those moments {from} has {all} connections there: {by}"))
}

#[cfg(test)]
mod tests {
    use tracer_stream::Close;

    use super::super::sample::{Sample, Told, icmp, nft, packets};
    use super::*;

    fn closed(icmp: Option<Icmp>) -> Close {
        Close { verdict: Verdict::Unreachable, errno: Some(113), icmp, syns: Some(1), ..Close::UNKNOWN }
    }

    const WELL: Close = Close { verdict: Verdict::ClosedLocal, connect_us: Some(80), ..Close::UNKNOWN };

    #[test]
    fn a_limit_of_connections_is_told_with_those_that_have_them() {
        let (ledger, checkout) =
            (Told::client("ledger", 7).to("10.0.2.1", 5432), Told::client("checkout", 8).to("10.0.2.1", 5432));
        let sample =
            (1..=4).fold(Sample::default().look(), |sample, port| sample.open(&ledger.clone().port(port), Some(true)));
        let sample = (5..=7).fold(sample, |sample, port| sample.open(&checkout.clone().port(port), Some(false)));
        let mut drop = packets(&checkout, 2, 1);
        (drop.netns, drop.hint) =
            (Some(2), nft("input", 4, "tcp dport 5432 ct state new add @c1 { ip saddr ct count over 7 } reject"));
        let sample =
            sample.dropped(&drop).connect(checkout.clone(), &closed(icmp(3, 13, "10.0.2.1"))).connect(checkout, &WELL);
        let (found, claims) = sample.run(causes);
        assert_eq!(
            found[0].text,
            "1 of 2 tries of checkout[8] to connect to 10.0.2.1:5432 rejected in right by nft inet fw input handle 4 \
             \"tcp dport 5432 ct state new add @c1 { ip saddr ct count over 7 } reject\" \
             (admin prohibited, ICMP 3/13 from 10.0.2.1)"
        );
        assert_eq!(found[0].evidence[0], "at those moments 10.0.1.1 has 7 connections there: ledger 4, checkout 3");
        assert!(found[0].certain && found[0].share == Some(0.5) && claims.has_drop(0));
    }

    #[test]
    fn without_the_drop_the_message_names_its_sender() {
        let app = Told::client("app", 8);
        let (found, _) = Sample::default().look().connect(app, &closed(icmp(3, 10, "10.0.1.254"))).run(causes);
        assert!(
            found[0].text.contains("rejected in router by a firewall (host prohibited, ICMP 3/10"),
            "{}",
            found[0].text
        );
        assert!(!found[0].certain);
    }

    #[test]
    fn an_unreachable_host_and_a_closed_port_are_no_rule() {
        let refused = Close { verdict: Verdict::Refused, errno: Some(111), ..Close::UNKNOWN };
        for close in [closed(icmp(3, 1, "10.0.1.254")), refused] {
            assert!(Sample::default().look().connect(Told::client("app", 8), &close).run(causes).0.is_empty());
        }
    }
}
