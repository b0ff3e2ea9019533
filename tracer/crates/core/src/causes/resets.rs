//! Established connections that end by a RST of the peer: it had closed after a silence, was restarted, or gave up.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Party, Place, Role, Severity, Verdict};

use super::{
    case::programs,
    claims::Claims,
    scene::{Conn, Ended, Scene, tuple},
    words::{add, counted, end, inside, names, percent, seconds},
};

/// A silence after which a server closes is a time-out of it, µs.
const IDLE_US: u64 = 900_000;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<(Option<IpAddr>, Option<u16>), Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed() {
        let is_reset = conn.close.as_ref().is_some_and(|close| {
            close.verdict == Verdict::ResetRemote && (close.preexisting || conn.older || conn.established_ns.is_some())
        });
        if is_reset
            && !claims.has_conn(conn.id)
            && matches!(conn.role, Role::Client | Role::Unknown)
            && is_ours(scene, conn)
        {
            cases.entry((conn.ends.raddr, conn.ends.rport)).or_default().push(conn);
        }
    }
    cases.into_iter().filter_map(|(server, conns)| cause(scene, claims, server, &conns)).collect()
}

/// Whether this end asked for the connection, and suffers: it had sent what has no answer, or waited for one.
fn is_ours(scene: &Scene, conn: &Conn) -> bool {
    let lost = conn
        .close
        .as_ref()
        .is_some_and(|close| close.unacked_bytes.is_some_and(|bytes| bytes > 0) || close.unanswered == Some(true));
    scene.is_client(conn) && lost
}

/// The end of the other side of a connection, if it is on this host.
fn other_end<'s>(scene: &'s Scene, conn: &Conn) -> Option<&'s Ended> {
    let (laddr, lport, raddr, rport) = tuple(conn)?;
    scene.ends.get((raddr, rport, laddr, lport))
}

fn cause(
    scene: &Scene,
    claims: &mut Claims,
    (addr, port): (Option<IpAddr>, Option<u16>),
    conns: &[&Conn],
) -> Option<Cause> {
    let first = conns.first()?;
    let mut sufferers: Vec<Party> = Vec::new();
    let mut culprits: Vec<Party> = Vec::new();
    let (mut idle, mut shortest_us) = (0_u64, u64::MAX);
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, Party { netns: conn.ends.netns, ..owner.clone() }));
        if let Some(ended) = other_end(scene, conn) {
            ended.owner.iter().for_each(|owner| add(&mut culprits, Party { netns: ended.netns, ..owner.clone() }));
            if ended.idle_us >= IDLE_US && ended.verdict == Verdict::ClosedLocal {
                idle += 1;
                shortest_us = shortest_us.min(ended.idle_us);
            }
        }
    }
    let count = u64::try_from(conns.len()).unwrap_or(u64::MAX);
    let homes = scene.destination(first);
    let to = end(addr, port);
    let at = scene.in_netns(homes.first().copied());
    let who = names(&sufferers);
    let listener =
        port.into_iter().flat_map(|port| scene.listeners_of(port)).find(|socket| homes.contains(&socket.netns));
    let holder = listener.and_then(|socket| scene.holder(socket));
    let born_ns = holder.as_ref().and_then(|party| scene.host().process(party.pid)).map(|process| process.start_ns);
    let young = born_ns.filter(|born| conns.iter().all(|conn| conn.older || conn.since_ns < *born));
    let mut evidence = Vec::new();
    let flow = scene.flows.of(&programs(conns), addr, port);
    let text = if idle > 0 && idle * 2 >= count {
        let server = if culprits.is_empty() { to.clone() } else { names(&culprits) };
        evidence.push(format!("{server} closes first (FIN), {who} has not noticed when it sends the next request"));
        format!(
            "{} of {who} to {to}{at} fail: {server} closes after {} of silence, and {who} sends after that (it gets a RST)",
            counted(count, "connection"),
            seconds(shortest_us * 1000),
        )
    } else if let (Some(born), Some(holder)) = (young, &holder) {
        add(&mut culprits, holder.clone());
        let age = seconds(scene.now_ns.saturating_sub(born));
        format!(
            "{} of {who} to {to}{at} {} reset: {holder} was started {age} ago, and older connections are unknown to it",
            counted(count, "connection"),
            if count == 1 { "is" } else { "are" },
        )
    } else {
        let by = if culprits.is_empty() { holder.iter().cloned().collect() } else { culprits.clone() };
        let by = if by.is_empty() { "the peer".to_owned() } else { names(&by) };
        format!(
            "{} of {who} to {to}{at} {} reset by {by} while data was under way",
            counted(count, "connection"),
            if count == 1 { "is" } else { "are" },
        )
    };
    if flow.connections >= count {
        let share = percent(count as f64 / flow.connections as f64);
        evidence.push(format!("{share} of {} to it ended like that", counted(flow.connections, "connection")));
    }
    let netns = homes.first().copied();
    let filter = port.map_or_else(String::new, |port| format!(" sport = :{port}"));
    Some(Cause {
        certain: idle * 2 >= count || young.is_some(),
        sufferers,
        culprits,
        place: Place {
            netns,
            netns_name: netns.map(|netns| scene.netns_name(netns)),
            listener: Some(to.clone()),
            ..Place::default()
        },
        peer: Some(to),
        count,
        share: (flow.connections >= count).then(|| count as f64 / flow.connections as f64),
        evidence,
        next: vec![inside(scene, netns, &format!("ss -tnpo{filter}")), "tracer --failed -w".to_owned()],
        ..Cause::new("resets", Severity::Failure, text)
    })
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::Close;

    use super::super::{
        sample::{S, Sample, Told},
        survey::Transport,
    };
    use super::*;

    const RESET: Close = Close {
        verdict: Verdict::ResetRemote,
        errno: Some(libc::EPIPE),
        connect_us: Some(90),
        unacked_bytes: Some(38),
        unanswered: Some(true),
        ..Close::UNKNOWN
    };
    const IDLE: Close = Close { verdict: Verdict::ClosedLocal, idle_us: Some(2_040_000), ..Close::UNKNOWN };

    fn shop(port: u16) -> Told {
        Told::client("shop", 8).to("10.0.2.1", 80).port(port)
    }

    #[test]
    fn a_server_closes_what_is_idle() {
        let mut sample = Sample::default().bound(Transport::Tcp, 2, "10.0.2.1", 80, 40).process("web", 40).look();
        for port in [4001, 4002] {
            sample = sample.connect(shop(port).server("web", 40), &IDLE).connect(shop(port), &RESET);
        }
        let (causes, _) = sample.run(causes);
        assert_eq!(causes.len(), 1);
        let text = "2 connections of shop[8] to 10.0.2.1:80 in right fail: web[40] closes after 2.0 s of silence, and \
                    shop[8] sends after that (it gets a RST)";
        assert_eq!((causes[0].text.as_str(), causes[0].certain), (text, true));
        assert_eq!(causes[0].culprits[0].pid, 40);
    }

    #[test]
    fn a_server_was_started_anew() {
        let sample = Sample::default().bound(Transport::Tcp, 2, "10.0.2.1", 80, 41).process("web", 41);
        let mut sample = sample.open(&shop(4001), Some(true)).later(S);
        sample.survey.processes[0].start_ns = sample.scene.now_ns;
        let (causes, _) = sample.later(S).ends(&shop(4001), &RESET).look().run(causes);
        assert!(causes[0].text.contains("web[41] was started 1.0 s ago"), "{}", causes[0].text);
    }

    #[test]
    fn a_health_check_that_resets_is_none() {
        let checked = Close { unacked_bytes: Some(0), unanswered: Some(false), ..RESET };
        let sample = Sample::default().look().connect(shop(1), &checked).connect(shop(2).server("web", 40), &RESET);
        assert!(sample.run(causes).0.is_empty());
    }
}
