//! The destination cannot be reached: no route, or no neighbour that answers.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Icmp, Party, Place, Role, Severity, Verdict};

use super::{
    case::{by_place, programs},
    claims::Claims,
    scene::{Conn, Dropped, Scene},
    words::{add, counted, end, inside, names},
};

/// The destination, the error, and the source of a message of ICMP.
type Key = (Option<IpAddr>, Option<i32>, Option<(u8, u8, IpAddr)>);

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<Key, Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed().filter(|conn| conn.role == Role::Client && !claims.has_conn(conn.id)) {
        let Some(close) = &conn.close else { continue };
        let unreachable = close.verdict == Verdict::Unreachable
            || close.verdict == Verdict::FailedLocal
                && matches!(close.errno, Some(libc::ENETUNREACH | libc::EHOSTUNREACH));
        if unreachable {
            let icmp = close.icmp.map(|icmp| (icmp.kind, icmp.code, icmp.from));
            cases.entry((conn.ends.raddr, close.errno, icmp)).or_default().push(conn);
        }
    }
    // The drops say more than the errors: the next hop, and the device.
    let dropped = by_place(scene, claims, is);
    let mut found: Vec<Cause> = Vec::new();
    for ((addr, errno, _), conns) in &cases {
        let groups = dropped.iter().find(|((_, _, reason, to, _), _)| to == addr && fits(*errno, reason));
        found.extend(of_conns(scene, claims, *addr, *errno, conns, groups.and_then(|(_, case)| case.groups.first())));
        let same = dropped.iter().filter(|((.., to, _), _)| to == addr);
        same.flat_map(|(_, case)| &case.groups).for_each(|(number, _)| {
            claims.drop(*number);
        });
    }
    for ((netns, _, _, addr, port), case) in &dropped {
        let Some((number, first)) = case.groups.first() else { continue };
        // One packet without a way is no harm; programs that suffer have several.
        if claims.has_drop(*number) || case.clients.is_empty() || case.count() < 3 {
            continue;
        }
        let at = scene.in_netns(*netns);
        let words = first.hint.as_deref().unwrap_or(&first.reason);
        let text = format!("{} to {} dropped{at}: {words}", case.of_whom(), end(*addr, *port));
        let next = next(scene, *netns, *addr);
        found.extend(case.cause(scene, claims, name(&first.reason), text).map(|cause| Cause {
            certain: true,
            next,
            ..cause
        }));
    }
    found
}

fn is(group: &Dropped) -> bool {
    group.reason.starts_with("NEIGH_") || ["IP_OUTNOROUTES", "IP_INNOROUTES"].contains(&&*group.reason)
}

fn fits(errno: Option<i32>, reason: &str) -> bool {
    (errno == Some(libc::EHOSTUNREACH)) == reason.starts_with("NEIGH_")
}

fn name(reason: &str) -> &'static str {
    if reason.starts_with("NEIGH_") { "neighbour" } else { "no_route" }
}

fn next(scene: &Scene, netns: Option<u32>, addr: Option<IpAddr>) -> Vec<String> {
    let Some(addr) = addr else { return Vec::new() };
    vec![inside(scene, netns, &format!("ip route get {addr}")), inside(scene, netns, "ip neigh")]
}

fn of_conns(
    scene: &Scene,
    claims: &mut Claims,
    addr: Option<IpAddr>,
    errno: Option<i32>,
    conns: &[&Conn],
    dropped: Option<&(usize, &Dropped)>,
) -> Option<Cause> {
    let first = conns.first()?;
    let mut sufferers: Vec<Party> = Vec::new();
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, owner.clone()));
    }
    let icmp = first.close.as_ref()?.icmp;
    let hop = icmp.and_then(|icmp| scene.homes_of(icmp.from).first().copied());
    let netns = dropped.map_or_else(|| hop.or(first.ends.netns), |(_, group)| group.netns);
    let at = scene.in_netns(netns);
    let hint = dropped.and_then(|(_, group)| group.hint.as_deref());
    let (name, why) = match (icmp, hint, errno) {
        (_, Some(hint), _) => (dropped.map_or("neighbour", |(_, group)| name(&group.reason)), hint.to_owned()),
        (Some(icmp), None, _) => (if is_neighbour(&icmp) { "neighbour" } else { "no_route" }, message(&icmp)),
        (None, None, Some(libc::EHOSTUNREACH)) => ("neighbour", "no neighbour answers for it".to_owned()),
        (None, None, _) => ("no_route", "no route leads there, or one that refuses it".to_owned()),
    };
    let port = first.ends.rport.filter(|port| conns.iter().all(|conn| conn.ends.rport == Some(*port)));
    let to = match (addr, port) {
        (Some(addr), None) => addr.to_string(),
        (addr, port) => end(addr, port),
    };
    let failed = u64::try_from(conns.len()).unwrap_or(u64::MAX);
    let tries = scene.flows.of(&programs(conns), addr, port).connections.max(failed);
    let text = format!("{} of {} to {to} cannot be made: {why}{at}", counted(failed, "connection"), names(&sufferers),);
    Some(Cause {
        certain: true,
        sufferers,
        place: Place {
            netns,
            netns_name: netns.map(|netns| scene.netns_name(netns)),
            from: icmp.map(|icmp| icmp.from),
            iface: dropped.and_then(|(_, group)| group.iface.as_deref().map(str::to_owned)),
            reason: dropped.map(|(_, group)| group.reason.to_string()),
            ..Place::default()
        },
        peer: Some(to),
        count: failed,
        share: Some(failed as f64 / tries as f64),
        next: next(scene, netns, addr),
        ..Cause::new(name, Severity::Failure, text)
    })
}

/// A router says so whose neighbour does not answer.
const fn is_neighbour(icmp: &Icmp) -> bool {
    matches!((icmp.v6, icmp.kind, icmp.code), (false, 3, 1) | (true, 1, 3))
}

fn message(icmp: &Icmp) -> String {
    let meaning = icmp.meaning().map_or_else(String::new, |meaning| format!("{meaning}, "));
    format!("{} says so ({meaning}{} {}/{})", icmp.from, icmp.protocol(), icmp.kind, icmp.code)
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Close, Drop, DropClass, Hint};

    use super::super::sample::{Sample, Told, icmp, packets};
    use super::*;

    fn failed(verdict: Verdict, errno: i32, icmp: Option<Icmp>) -> Close {
        Close { verdict, errno: Some(errno), icmp, syns: Some(1), ..Close::UNKNOWN }
    }

    #[test]
    fn a_neighbour_that_does_not_answer_is_named_by_its_drops() {
        let told = Told::client("app", 8);
        let hint = Some(Box::new(Hint::of("no answer from neighbour 10.0.1.7 on eth0")));
        let drop = Drop {
            reason: Some("NEIGH_FAILED".into()),
            class: DropClass::Loss,
            netns: Some(1),
            hint,
            ..packets(&told, 2, 3)
        };
        let close = failed(Verdict::Unreachable, libc::EHOSTUNREACH, None);
        let (found, claims) = Sample::default().look().dropped(&drop).connect(told, &close).run(causes);
        assert_eq!(
            found[0].text,
            "1 connection of app[8] to 10.0.2.1:80 cannot be made: no answer from neighbour 10.0.1.7 on eth0 in left"
        );
        assert!(found.len() == 1 && found[0].name == "neighbour" && claims.has_drop(0));
    }

    #[test]
    fn a_router_without_a_route_is_the_place() {
        let close = failed(Verdict::Unreachable, libc::ENETUNREACH, icmp(3, 0, "10.0.1.254"));
        let (found, _) = Sample::default().look().connect(Told::client("app", 8), &close).run(causes);
        assert!(
            found[0].text.ends_with("10.0.1.254 says so (network unreachable, ICMP 3/0) in router"),
            "{}",
            found[0].text
        );
        assert_eq!((found[0].name, found[0].place.netns), ("no_route", Some(3)));
    }

    #[test]
    fn a_failed_call_without_a_route_is_its_own_namespace() {
        let close = failed(Verdict::FailedLocal, libc::ENETUNREACH, None);
        let (found, _) = Sample::default().look().connect(Told::client("app", 8), &close).run(causes);
        assert_eq!((found[0].name, found[0].place.netns), ("no_route", Some(1)));
        let other = failed(Verdict::FailedLocal, libc::EADDRNOTAVAIL, None);
        assert!(Sample::default().look().connect(Told::client("app", 8), &other).run(causes).0.is_empty());
    }
}
