//! A rule of the firewall drops what programs need.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use tracer_stream::{Cause, Severity};

use super::{
    case::{Case, programs},
    claims::Claims,
    scene::{Carried, Conn, Dropped, Scene},
    words::{dropper, end, names, percent, place, show},
};

/// The least number of packets of one program that are no accident.
const LEAST: u64 = 2;

/// One cause: the place, what drops, the server's end, and whether it hits handshakes.
type Key = (Option<u32>, String, Option<IpAddr>, Option<u16>, bool);

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<Key, Case<'_>> = BTreeMap::new();
    let groups = scene.drops.groups().filter(|(number, group)| {
        !claims.has_drop(*number) && group.is_by_netfilter() && group.carried != Carried::Icmp
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|(_, group)| group.rule().is_none());
    // Where the search for the rule was given up, it is the one that is known to drop the same packets.
    let to = |group: &Dropped| (group.netns, group.saddr, group.daddr, group.port, group.carried);
    let known: HashMap<_, String> = groups
        .iter()
        .filter(|(_, group)| group.rule().is_some())
        .map(|(_, group)| (to(group), dropper(group)))
        .collect();
    for (number, group) in groups {
        let handshake = matches!(group.carried, Carried::Syn | Carried::SynAck);
        let hurt = scene.hurt(group);
        let (addr, port) = group.server();
        // Without a sufferer all that a rule drops is one cause.
        let (addr, port) =
            if hurt.clients.is_empty() && hurt.receivers.is_empty() { (None, None) } else { (addr, port) };
        let by_rule = known.get(&to(group)).filter(|_| group.rule().is_none());
        let dropper = by_rule.cloned().unwrap_or_else(|| dropper(group));
        let key = (group.netns, dropper, addr, port, handshake);
        cases.entry(key).or_default().add(number, group, hurt);
    }
    cases.into_iter().filter_map(|(key, case)| cause(scene, claims, &key, &case)).collect()
}

fn cause(scene: &Scene, claims: &mut Claims, key: &Key, case: &Case<'_>) -> Option<Cause> {
    let (netns, dropper, addr, port, handshake) = key;
    let (_, first) = case.groups.first()?;
    for (number, _) in &case.groups {
        claims.drop(*number);
    }
    // What one connection has tried, others of the program have tried, too.
    let mut suffers = 0;
    for conn in &case.conns {
        if fails(conn, *handshake) && claims.conn(conn.id) {
            suffers += 1;
        }
    }
    let count = case.count();
    let clients = &case.clients;
    let harmed = !clients.is_empty() && (count >= LEAST || suffers > 0);
    let fatal = *handshake || suffers > 0 || first.carried == Carried::Datagram;
    let severity = match (harmed, fatal) {
        (false, _) => Severity::Policy,
        (true, true) => Severity::Failure,
        (true, false) => Severity::Slow,
    };
    let to = end(*addr, *port);
    let at = scene.in_netns(*netns);
    let packets = case.packets();
    let text = match (clients.is_empty(), handshake, fatal) {
        (true, ..) if addr.is_none() => {
            format!("{packets} dropped{at} by {dropper}; no program of this host sent them")
        }
        (true, ..) => format!("{packets} from elsewhere to {to} dropped{at} by {dropper}"),
        (false, true, _) => {
            format!("{packets} of {who} to {to} dropped{at} by {dropper}: {who} cannot connect", who = names(clients))
        }
        (false, false, true) if first.carried == Carried::Datagram => {
            format!("{packets} of {} to {to} dropped{at} by {dropper}", names(clients))
        }
        (false, false, true) => {
            format!(
                "{packets} of connections of {} with {to} dropped{at} by {dropper}: they get no answer",
                names(clients)
            )
        }
        (false, false, false) => {
            format!("{packets} of connections of {} with {to} dropped{at} by {dropper}: they wait", names(clients))
        }
    };
    let mut evidence = Vec::new();
    let share = share(scene, &case.conns, *addr, *port).filter(|_| *handshake && harmed);
    if let Some((failed, tries)) = share {
        evidence.push(format!(
            "failed so far: {failed} of {} ({})",
            tries_in_words(tries),
            percent(ratio(failed, tries))
        ));
    }
    if let Some(iface) = &first.iface {
        evidence.push(format!("the device is {iface}, the reason {}", first.reason));
    }
    let sufferers = if clients.is_empty() { case.receivers.clone() } else { clients.clone() };
    Some(Cause {
        certain: first.nft.is_some(),
        sufferers,
        place: place(scene, first),
        peer: addr.map(|_| to),
        count,
        share: share.map(|(failed, tries)| ratio(failed, tries)),
        evidence,
        next: vec![show(scene, *netns, first.rule())],
        ..Cause::new("rule_drop", severity, text)
    })
}

fn fails(conn: &Conn, handshake: bool) -> bool {
    match &conn.close {
        Some(close) => close.is_failure(),
        None => handshake && conn.established_ns.is_none() && !conn.older,
    }
}

/// Of the tries of the programs of these connections to reach an end: those that failed, and all that ended.
fn share(scene: &Scene, conns: &[&Conn], addr: Option<IpAddr>, port: Option<u16>) -> Option<(u64, u64)> {
    let flow = scene.flows.of(&programs(conns), addr, port);
    (flow.failed > 0).then_some((flow.failed, flow.connections))
}

fn tries_in_words(tries: u64) -> String {
    if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") }
}

fn ratio(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Close, DropClass, Segment, Verdict};

    use super::super::{
        sample::{Sample, Told, ip, nft, packets},
        survey::Transport,
    };
    use super::*;

    const SYN: u8 = 2;
    const SYN_ACK: u8 = 0x12;
    const PUSH: u8 = 0x18;
    const GIVEN_UP: Close =
        Close { verdict: Verdict::NoAnswer, duration_us: Some(3_000_000), syns: Some(2), ..Close::UNKNOWN };

    #[test]
    fn syn_acks_in_a_router_are_the_clients_failure() {
        let cart = Told::client("cart", 8).to("10.0.2.1", 6379);
        let mut drop = packets(&cart.server("redis", 9), SYN_ACK, 3);
        drop.hint = nft("forward", 9, "iifname dmz0 drop");
        let sample = Sample::default()
            .look()
            .open(&cart, None)
            .again(&cart, Segment::Syn, 1)
            .dropped(&drop)
            .ends(&cart, &GIVEN_UP);
        let (found, claims) = sample.run(causes);
        let rule = "nft inet fw forward handle 9 \"iifname dmz0 drop\"";
        assert_eq!(
            found[0].text,
            format!("3 SYN-ACKs of cart[8] to 10.0.2.1:6379 dropped in router by {rule}: cart[8] cannot connect")
        );
        assert_eq!((found[0].severity, found[0].certain, found[0].share), (Severity::Failure, true, Some(1.0)));
        assert_eq!(found[0].next, ["ip netns exec router nft -a list chain inet fw forward"]);
        assert_eq!((found[0].place.netns, found[0].place.rule.as_deref()), (Some(3), Some(rule)));
        assert!(sample.scene.conns.failed().all(|conn| claims.has_conn(conn.id)));
    }

    #[test]
    fn datagrams_have_the_owner_of_their_socket() {
        let mut drop = packets(&Told::client("", 0).to("10.0.2.1", 5004).port(999), 0, 40);
        (drop.protocol, drop.tcp_flags) = (Some("udp"), None);
        drop.hint = nft("forward", 4, "udp dport 5004 drop");
        let sample = Sample::default().process("player", 5).bound(Transport::Udp, 1, "0.0.0.0", 999, 5).look();
        let (found, _) = sample.dropped(&drop).run(causes);
        assert!(
            found[0].text.starts_with("40 datagrams of player[5] to 10.0.2.1:5004 dropped in router by nft"),
            "{}",
            found[0].text
        );
        assert_eq!(found[0].severity, Severity::Failure);
    }

    #[test]
    fn segments_of_a_connection_that_goes_on_make_it_wait() {
        let told = Told::client("app", 8);
        let mut drop = packets(&told, PUSH, 4);
        drop.hint = nft("forward", 2, "tcp flags psh drop");
        let sample = Sample::default().look().open(&told, Some(true)).again(&told, Segment::Data, 4).dropped(&drop);
        assert_eq!(sample.run(causes).0[0].severity, Severity::Slow);
    }

    #[test]
    fn packets_of_others_are_policy_and_one_line() {
        let drop = |port| {
            let told = Told { local: (ip("192.0.2.9"), 55), ..Told::client("", 0).to("10.0.2.1", port) };
            let mut drop = packets(&told, SYN, 5);
            drop.hint = nft("input", 6, "drop");
            drop
        };
        let (found, _) = Sample::default().look().dropped(&drop(23)).dropped(&drop(25)).run(causes);
        assert_eq!((found.len(), found[0].severity, found[0].count), (1, Severity::Policy, 10));
    }

    #[test]
    fn other_drops_are_no_rules() {
        let told = Told::client("app", 8);
        let full = tracer_stream::Hint { full_conntrack: Some((8, 8)), ..tracer_stream::Hint::of("conntrack") };
        for drop in [
            tracer_stream::Drop { class: DropClass::Loss, ..packets(&told, PUSH, 9) },
            tracer_stream::Drop { reason: Some("IP_RPFILTER".into()), ..packets(&told, SYN, 9) },
            tracer_stream::Drop { hint: Some(Box::new(full)), ..packets(&told, SYN, 9) },
        ] {
            assert!(Sample::default().look().dropped(&drop).run(causes).0.is_empty(), "{drop:?}");
        }
    }
}
