//! A queueing discipline drops packets: it has no room, because something fills it.

use std::collections::{BTreeMap, BTreeSet};

use tracer_stream::{Cause, DropClass, Party, Place, Severity};

use super::{
    claims::Claims,
    scene::{Carried, Dropped, Scene, Tuple, ends},
    words::{add, bytes, counted, end, inside, is_plain, names, percent, place},
};

/// The least number of packets: a queue that signals congestion drops one now and then.
const LEAST: u64 = 10;
/// The share of the bytes that fills a queue.
const MOST: f64 = 0.5;

/// One program's packets there.
#[derive(Default)]
struct Load {
    parties: Vec<Party>,
    packets: u64,
    dropped: u64,
    datagrams: u64,
    tuples: BTreeSet<Tuple>,
    to: Option<String>,
}

#[derive(Default)]
struct Case<'s> {
    groups: Vec<(usize, &'s Dropped)>,
    /// By program; without a name those of other hosts.
    loads: BTreeMap<Option<String>, Load>,
}

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<_, Case<'_>> = BTreeMap::new();
    for (number, group) in scene.drops.groups().filter(|(_, group)| is_by_queue(group)) {
        if claims.has_drop(number) {
            continue;
        }
        let key = (group.netns, group.iface.clone());
        let case = cases.entry(key).or_default();
        case.groups.push((number, group));
        let senders = scene.hurt(group).senders;
        let load = case.loads.entry(senders.first().map(|party| party.comm.clone())).or_default();
        load.packets += group.count;
        load.dropped += group.bytes;
        load.datagrams += if group.carried == Carried::Datagram { group.count } else { 0 };
        senders.into_iter().for_each(|party| add(&mut load.parties, party));
        load.to.get_or_insert_with(|| end(group.daddr, if group.from_server { None } else { group.port }));
        if group.carried == Carried::Segment {
            load.tuples.extend(ends(group).into_iter().map(|(from, to)| (from.0, from.1, to.0, to.1)));
        }
    }
    cases.into_values().filter_map(|case| cause(scene, claims, &case)).collect()
}

fn is_by_queue(group: &Dropped) -> bool {
    let by_reason = ["QDISC_", "FQ_", "CAKE_"].iter().any(|start| group.reason.starts_with(start));
    group.class == DropClass::Loss && (by_reason || group.qdisc.is_some())
}

fn cause(scene: &Scene, claims: &mut Claims, case: &Case<'_>) -> Option<Cause> {
    let count: u64 = case.groups.iter().map(|(_, group)| group.count).sum();
    if count < LEAST {
        return None;
    }
    let (_, first) = case.groups.iter().max_by_key(|(_, group)| (group.qdisc.is_some(), group.count))?;
    for (number, group) in &case.groups {
        claims.drop(*number);
        for id in &group.conns {
            if scene.conns.get(*id).is_some_and(|conn| conn.close.as_ref().is_none_or(|close| !close.is_failure())) {
                claims.conn(*id);
            }
        }
    }
    // Offered: what got through, as far as it is known, and what did not.
    let offered = |load: &Load| load.dropped + load.tuples.iter().filter_map(|tuple| scene.sent(*tuple)).sum::<u64>();
    let all: u64 = case.loads.values().map(offered).sum();
    let (most, filler) = case.loads.values().map(|load| (offered(load), load)).max_by_key(|(bytes, _)| *bytes)?;
    let share = most as f64 / all.max(1) as f64;
    let fills = share > MOST && !filler.parties.is_empty();
    let others: Vec<&Load> = case.loads.values().filter(|load| !std::ptr::eq(*load, filler)).collect();
    let mut sufferers: Vec<Party> = Vec::new();
    for load in if fills && !others.is_empty() { others.clone() } else { case.loads.values().collect() } {
        load.parties.iter().for_each(|party| add(&mut sufferers, party.clone()));
    }
    if sufferers.is_empty() {
        filler.parties.iter().for_each(|party| add(&mut sufferers, party.clone()));
    }
    let iface = first.iface.as_deref().unwrap_or("an unknown device");
    let at = scene.in_netns(first.netns);
    let qdisc = match (&first.qdisc, &first.hint) {
        (Some(qdisc), _) => format!("{} {}", qdisc.kind, qdisc.handle),
        (None, Some(hint)) => hint.trim_start_matches("qdisc ").to_owned(),
        (None, None) => "of the device".to_owned(),
    };
    let who = names(&sufferers);
    let lost: u64 = sufferers_load(case, &sufferers).map(|load| load.packets).sum();
    let dropped =
        if sufferers.is_empty() { counted(count, "packet") } else { format!("{} of {who}", counted(lost, "packet")) };
    let doing = if fills {
        format!("; {} of the bytes there are those of {}, which fills the link", percent(share), names(&filler.parties))
    } else {
        "; more packets arrive than the link takes".to_owned()
    };
    let text = format!("{dropped} dropped{at} on {iface} by qdisc {qdisc}{doing}");
    let mut by: Vec<_> = case.loads.iter().collect();
    by.sort_by_key(|(_, load)| std::cmp::Reverse(load.packets));
    let by: Vec<_> = by
        .iter()
        .take(4)
        .map(|(comm, load)| {
            let comm = comm.as_deref().unwrap_or("other hosts");
            let to = load.to.as_deref().unwrap_or("unknown ends");
            format!("{comm} to {to} {} ({})", load.packets, bytes(load.dropped))
        })
        .collect();
    let mut next = Vec::new();
    if is_plain(iface) {
        next.push(inside(scene, first.netns, &format!("tc -s -d qdisc show dev {iface}")));
    }
    let datagrams = sufferers_load(case, &sufferers).any(|load| load.datagrams >= LEAST);
    let peer = sufferers_load(case, &sufferers).next().and_then(|load| load.to.clone());
    let severity = if datagrams { Severity::Failure } else { Severity::Slow };
    Some(Cause {
        certain: first.qdisc.is_some(),
        culprits: if fills { filler.parties.clone() } else { Vec::new() },
        place: Place { qdisc: Some(qdisc), ..place(scene, first) },
        peer,
        count,
        evidence: vec![format!("{} dropped there: {}", counted(count, "packet"), by.join(", "))],
        next,
        sufferers,
        ..Cause::new("qdisc", severity, text)
    })
}

fn sufferers_load<'c>(case: &'c Case<'_>, sufferers: &'c [Party]) -> impl Iterator<Item = &'c Load> {
    let is = |load: &&Load| load.parties.iter().any(|party| sufferers.iter().any(|known| known.pid == party.pid));
    case.loads.values().filter(is)
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Discipline, Drop, Hint};

    use super::super::{
        sample::{Sample, Told, packets},
        survey::Transport,
    };
    use super::*;

    fn queued(told: &Told, count: u64, len: u32) -> Drop {
        let mut drop = packets(told, 0x18, count);
        (drop.reason, drop.class, drop.len) = (Some("QDISC_DROP".into()), DropClass::Loss, len);
        let qdisc = Some(Discipline { kind: "tbf".into(), handle: "7:".into() });
        drop.hint = Some(Box::new(Hint { qdisc, ..Hint::of("qdisc tbf 7: on eth0") }));
        drop
    }

    #[test]
    fn who_fills_the_queue_and_who_suffers() {
        let uplink = Told::client("uplink", 8).to("10.0.2.1", 9000);
        let sample = Sample::default().process("player", 5).bound(Transport::Udp, 1, "0.0.0.0", 999, 5).look();
        let mut datagrams = queued(&Told::client("", 0).to("10.0.2.1", 5004).port(999), 300, 632);
        (datagrams.protocol, datagrams.tcp_flags) = (Some("udp"), None);
        let sample = sample.open(&uplink, Some(true)).dropped(&queued(&uplink, 700, 10_000)).dropped(&datagrams);
        let (found, _) = sample.run(causes);
        assert_eq!(
            found[0].text,
            "300 packets of player[5] dropped in router on eth0 by qdisc tbf 7:; 97 % of the bytes there are those of \
             uplink[8], which fills the link"
        );
        assert_eq!((found.len(), found[0].severity, found[0].count), (1, Severity::Failure, 1000));
        assert_eq!((found[0].culprits[0].pid, found[0].sufferers[0].pid), (8, 5));
        assert_eq!(found[0].next, ["ip netns exec router tc -s -d qdisc show dev eth0"]);
    }

    #[test]
    fn a_program_that_fills_its_own_queue_is_slow() {
        let uplink = Told::client("uplink", 8).to("10.0.2.1", 9000);
        let (found, _) =
            Sample::default().look().open(&uplink, Some(true)).dropped(&queued(&uplink, 70, 1_500)).run(causes);
        assert_eq!((found[0].severity, found[0].sufferers.len(), found[0].culprits.len()), (Severity::Slow, 1, 1));
    }

    #[test]
    fn a_few_packets_are_no_cause() {
        let uplink = Told::client("uplink", 8).to("10.0.2.1", 9000);
        assert!(Sample::default().look().dropped(&queued(&uplink, 9, 1_500)).run(causes).0.is_empty());
    }
}
