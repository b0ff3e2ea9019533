//! A limit of a rate drops what exceeds it: a rule of nftables, or a policer of traffic control.

use std::collections::{BTreeMap, BTreeSet};

use tracer_stream::{Cause, Direction, Party, Severity};

use super::{
    claims::Claims,
    scene::{Carried, Dropped, Scene, ends},
    words::{add, bytes, dropper, end, inside, names, percent, place, show},
};

/// The least number of packets of one program: a burst may lose a few without harm.
const LEAST: u64 = 3;

/// The packets of one program to one end that one limit has dropped.
#[derive(Default)]
struct Case<'s> {
    groups: Vec<(usize, &'s Dropped)>,
    senders: Vec<Party>,
    receivers: Vec<Party>,
    /// Ends of the connections whose traffic is known.
    tuples: BTreeSet<super::scene::Tuple>,
}

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<_, Case<'_>> = BTreeMap::new();
    for (number, group) in scene.drops.groups() {
        if claims.has_drop(number) || !is_by_limit(group) {
            continue;
        }
        let hurt = scene.hurt(group);
        let mut who: Vec<&str> = hurt.senders.iter().map(|party| party.comm.as_str()).collect();
        who.sort_unstable();
        let key = (group.netns, dropper(group), who.join(" "), group.server());
        let case = cases.entry(key).or_default();
        case.groups.push((number, group));
        for (from, to) in ends(group) {
            case.tuples.insert((from.0, from.1, to.0, to.1));
        }
        // The acknowledgements of a connection come from the other end.
        hurt.senders.into_iter().for_each(|party| add(&mut case.senders, party));
        hurt.receivers.into_iter().for_each(|party| add(&mut case.receivers, party));
    }
    cases.into_values().filter_map(|case| cause(scene, claims, &case)).collect()
}

/// Whether a limit of a rate has dropped them.
fn is_by_limit(group: &Dropped) -> bool {
    let carried = matches!(group.carried, Carried::Segment | Carried::Datagram);
    let rule = group.rule().filter(|_| group.is_by_netfilter());
    let by_rule = rule.is_some_and(|nft| nft.rule.as_deref().is_some_and(|rule| rule.contains("limit rate")));
    // Of traffic control the kernel says no more than that one of its filters has dropped.
    let by_filter = ["TC_INGRESS", "TC_EGRESS"].contains(&&*group.reason)
        && group.hint.as_deref().is_some_and(|hint| hint.starts_with("a filter of tc"));
    carried && (by_rule || by_filter)
}

fn cause(scene: &Scene, claims: &mut Claims, case: &Case<'_>) -> Option<Cause> {
    let count: u64 = case.groups.iter().map(|(_, group)| group.count).sum();
    let (_, first) = case.groups.iter().max_by_key(|(_, group)| group.count)?;
    let known = !case.senders.is_empty() || !case.receivers.is_empty();
    if known && count < LEAST {
        return None;
    }
    for (number, group) in &case.groups {
        claims.drop(*number);
        for id in &group.conns {
            // One that failed has a cause of its own, unless it is this.
            if scene.conns.get(*id).is_some_and(|conn| conn.close.as_ref().is_none_or(|close| !close.is_failure())) {
                claims.conn(*id);
            }
        }
    }
    let lost: u64 = case.groups.iter().map(|(_, group)| group.bytes).sum();
    let sent: u64 = case.tuples.iter().filter_map(|tuple| scene.sent(*tuple)).sum();
    let share = (sent > 0).then(|| lost as f64 / (sent + lost) as f64);
    let of = share.map_or_else(String::new, |share| format!(", {} of its bytes", percent(share)));
    let to = end(first.daddr, if first.from_server { None } else { first.port });
    let what = match first.carried {
        Carried::Datagram => "datagrams",
        _ => "segments",
    };
    let who = if case.senders.is_empty() {
        end(first.saddr, if first.from_server { first.port } else { None })
    } else {
        names(&case.senders)
    };
    let on = first.iface.as_ref().map_or_else(String::new, |iface| format!(" on {iface}"));
    let way = if first.direction == Direction::In { " (ingress)" } else { "" };
    let text = format!(
        "{count} {what} ({}{of}) of {who} to {to} dropped{}{on}{way} by {}: the rate is limited there",
        bytes(lost),
        scene.in_netns(first.netns),
        dropper(first),
    );
    let again: u64 =
        case.tuples.iter().filter_map(|tuple| scene.conn_of(*tuple)).map(|conn| conn.data_retransmits).sum();
    let mut evidence = Vec::new();
    if again > 0 {
        evidence.push(format!("{who} sent {again} segments again"));
    }
    let mut sufferers = case.senders.clone();
    case.receivers.iter().for_each(|party| add(&mut sufferers, party.clone()));
    let next = match (first.rule(), &first.iface) {
        (None, Some(iface)) if super::words::is_plain(iface) => {
            let hook = if first.direction == Direction::In { "ingress" } else { "egress" };
            inside(scene, first.netns, &format!("tc -s filter show dev {iface} {hook}"))
        }
        (rule, _) => show(scene, first.netns, rule),
    };
    let severity = if known { Severity::Slow } else { Severity::Policy };
    Some(Cause {
        certain: first.nft.is_some(),
        sufferers,
        place: place(scene, first),
        peer: Some(to),
        count,
        share,
        evidence,
        next: vec![next],
        ..Cause::new("policer", severity, text)
    })
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, Segment};

    use super::super::{
        sample::{Sample, Told, nft, packets},
        survey::SurveyTcp,
    };
    use super::*;

    fn upload() -> Told {
        Told::client("backup", 8).to("10.0.2.1", 9000)
    }

    fn limited(count: u64, rule: &str) -> Drop {
        let mut drop = packets(&upload(), 0x18, count);
        (drop.hint, drop.len, drop.direction) = (nft("bulk", 4, rule), 1_500, Direction::In);
        drop
    }

    fn sent(tx_bytes: u64) -> SurveyTcp {
        SurveyTcp { tx_bytes: Some(tx_bytes), ..SurveyTcp::default() }
    }

    #[test]
    fn an_upload_is_slow_and_the_limit_has_its_share() {
        let told = upload();
        let sample = Sample::default().surveyed(&told, sent(1_000)).look().surveyed(&told, sent(2_851_000)).look();
        let sample = sample.open(&told, Some(true)).again(&told, Segment::Data, 90);
        let drop = limited(100, "limit rate over 1500 kbytes/second burst 96 kbytes drop");
        let (found, _) = sample.dropped(&drop).run(causes);
        assert_eq!(
            found[0].text,
            "100 segments (150 kB, 5 % of its bytes) of backup[8] to 10.0.2.1:9000 dropped in router on eth0 (ingress) by \
             nft inet fw bulk handle 4 \"limit rate over 1500 kbytes/second burst 96 kbytes drop\": the rate is limited there"
        );
        assert_eq!((found[0].severity, found[0].sufferers.len()), (Severity::Slow, 1));
        assert_eq!(found[0].evidence, ["backup[8] sent 90 segments again"]);
    }

    #[test]
    fn a_rule_without_a_limit_is_another_cause() {
        let sample = Sample::default().look().open(&upload(), Some(true));
        assert!(sample.dropped(&limited(100, "tcp dport 9000 drop")).run(causes).0.is_empty());
    }

    #[test]
    fn a_burst_that_lost_a_packet_is_no_cause() {
        let sample = Sample::default().look().open(&upload(), Some(true));
        assert!(sample.dropped(&limited(2, "limit rate over 9/second burst 5 packets drop")).run(causes).0.is_empty());
    }
}
