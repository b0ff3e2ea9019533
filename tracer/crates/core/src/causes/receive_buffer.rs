//! A process does not read fast enough: its receive buffer is full.

use std::collections::BTreeMap;

use tracer_stream::{Cause, Party, Place, Severity};
use tracer_tables::discards::counter::UDP_FULL;

use super::{
    claims::Claims,
    scene::{Carried, Dropped, Scene},
    survey::SurveySocket,
    words::{add, bytes, counted, end, inside, names},
};

/// The packets that one socket had no room for.
#[derive(Default)]
struct Case {
    dropped: u64,
    discarded: u64,
    owners: Vec<Party>,
    senders: Vec<Party>,
    addr: Option<std::net::IpAddr>,
    reason: String,
}

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<(Option<u32>, Option<u16>), Case> = BTreeMap::new();
    for (number, group) in scene.drops.groups().filter(|(_, group)| is(group)) {
        if !claims.drop(number) {
            continue;
        }
        let hurt = scene.hurt(group);
        let port = if group.from_server { None } else { group.port };
        let case = cases.entry((group.netns, port)).or_default();
        case.dropped += group.count;
        case.addr = group.daddr;
        case.reason = group.reason.to_string();
        group.owners.iter().cloned().chain(hurt.receivers).for_each(|party| add(&mut case.owners, party));
        hurt.senders.into_iter().for_each(|party| add(&mut case.senders, party));
    }
    for one in scene.discards.iter().filter(|one| UDP_FULL.contains(&one.last.counter)) {
        // Without a socket it is a number of a namespace.
        let Some(ends) = one.socket else { continue };
        let case = cases.entry((one.netns.or(ends.netns), ends.lport)).or_default();
        case.discarded += one.count;
        case.addr = case.addr.or(ends.laddr);
        one.owner.iter().for_each(|owner| add(&mut case.owners, owner.clone()));
        if case.reason.is_empty() {
            one.last.counter.clone_into(&mut case.reason);
        }
    }
    cases.retain(|(netns, port), _| !netns.zip(*port).is_some_and(|(netns, port)| claims.has_unread(netns, port)));
    cases.into_iter().map(|((netns, port), case)| cause(scene, netns, port, &case)).collect()
}

fn is(group: &Dropped) -> bool {
    ["SOCKET_RCVBUFF", "SOCKET_BACKLOG"].contains(&&*group.reason)
        && matches!(group.carried, Carried::Datagram | Carried::Segment)
}

fn cause(scene: &Scene, netns: Option<u32>, port: Option<u16>, case: &Case) -> Cause {
    let is = |socket: &&SurveySocket| Some(socket.netns) == netns && Some(socket.lport) == port;
    let socket = scene.host().sockets.iter().filter(is).max_by_key(|socket| socket.recv_q);
    let mut owners = case.owners.clone();
    if owners.is_empty() {
        owners.extend(socket.and_then(|socket| scene.holder(socket)));
    }
    let count = case.dropped + case.discarded;
    let (who, at) = (names(&owners), scene.in_netns(netns));
    let to = end(case.addr, port);
    let from = if case.senders.is_empty() { String::new() } else { format!(" of {}", names(&case.senders)) };
    let text = format!(
        "{}{from} to {to} dropped{at}: {who} does not read fast enough, its receive buffer is full ({})",
        counted(count, "packet"),
        case.reason,
    );
    let mut evidence = Vec::new();
    if let Some(socket) = socket.filter(|socket| socket.recv_q > 0) {
        evidence.push(format!("{} wait to be read", bytes(socket.recv_q.into())));
    }
    if let Some(process) = owners.first().and_then(|owner| scene.host().process(owner.pid)) {
        let sleeps = process.wchan.as_ref().map_or_else(String::new, |wchan| format!(", sleeps in {wchan}"));
        evidence.push(format!("{who} is in state {}{sleeps}", process.state.unwrap_or('?')));
    }
    let sufferers = if case.senders.is_empty() { owners.clone() } else { case.senders.clone() };
    let filter = port.map_or_else(String::new, |port| format!(" sport = :{port}"));
    Cause {
        certain: true,
        sufferers,
        culprits: owners,
        place: Place {
            netns,
            netns_name: netns.map(|netns| scene.netns_name(netns)),
            reason: Some(case.reason.clone()),
            ..Place::default()
        },
        peer: Some(to),
        count,
        evidence,
        next: vec![inside(scene, netns, &format!("ss -uamp{filter}"))],
        ..Cause::new("receive_buffer", Severity::Failure, text)
    }
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, DropClass};

    use super::super::{
        sample::{Sample, Told, packets},
        survey::Transport,
    };
    use super::*;

    #[test]
    fn the_reader_and_the_sender_are_named() {
        let drop = Drop {
            reason: Some("SOCKET_RCVBUFF".into()),
            class: DropClass::Loss,
            netns: Some(2),
            protocol: Some("udp"),
            ..packets(&Told::client("", 0).to("10.0.2.1", 514).port(999), 0, 30)
        };
        let sample = Sample::default().process("sender", 5).process("syslogd", 6);
        let sample =
            sample.bound(Transport::Udp, 1, "0.0.0.0", 999, 5).bound(Transport::Udp, 2, "0.0.0.0", 514, 6).look();
        let (found, _) = sample.dropped(&drop).run(causes);
        assert_eq!(
            found[0].text,
            "30 packets of sender[5] to 10.0.2.1:514 dropped in right: syslogd[6] does not read fast enough, its receive \
             buffer is full (SOCKET_RCVBUFF)"
        );
        assert_eq!((found[0].culprits[0].pid, found[0].sufferers[0].pid), (6, 5));
    }

    #[test]
    fn a_rule_that_drops_datagrams_is_no_full_buffer() {
        assert!(Sample::default().look().dropped(&packets(&Told::client("a", 1), 2, 9)).run(causes).0.is_empty());
    }
}
