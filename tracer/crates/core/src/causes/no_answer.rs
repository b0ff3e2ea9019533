//! connect() has no answer, and no better cause is known.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Party, Place, Role, Severity, Verdict};

use super::{
    case::programs,
    claims::Claims,
    scene::{Conn, Scene},
    words::{add, counted, end, inside, names, seconds},
};

/// The shortest wait that counts, µs: the loser of a race between addresses ends before.
const PATIENCE_US: u64 = 100_000;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<(Option<IpAddr>, Option<u16>), Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed().chain(scene.conns.open()) {
        if conn.role == Role::Client && waits(conn) && !claims.has_conn(conn.id) {
            cases.entry((conn.ends.raddr, conn.ends.rport)).or_default().push(conn);
        }
    }
    cases.into_iter().filter_map(|(server, conns)| cause(scene, claims, server, &conns)).collect()
}

/// Whether it had to wait, and no answer came.
fn waits(conn: &Conn) -> bool {
    let Some(close) = &conn.close else {
        return conn.established_ns.is_none() && !conn.older && conn.syn_retransmits > 0;
    };
    let patient = close.duration_us.is_some_and(|us| us >= PATIENCE_US) || close.syns.is_some_and(|syns| syns > 1);
    match close.verdict {
        Verdict::NoAnswer => patient,
        Verdict::TimedOut => close.syns.is_some() || close.connect_us.is_none() && !close.preexisting,
        _ => false,
    }
}

fn cause(
    scene: &Scene,
    claims: &mut Claims,
    (addr, port): (Option<IpAddr>, Option<u16>),
    conns: &[&Conn],
) -> Option<Cause> {
    let first = conns.first()?;
    let mut sufferers: Vec<Party> = Vec::new();
    let (mut syns, mut longest) = (0, 0);
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, owner.clone()));
        syns += conn.close.as_ref().and_then(|close| close.syns).map_or(1 + conn.syn_retransmits, u64::from);
        let so_far = scene.now_ns.saturating_sub(conn.since_ns);
        // Of one that is older than the trace only the time since then is known.
        let seen = conn.closed_ns.map_or(so_far, |end| end.saturating_sub(conn.since_ns));
        let waited = conn.close.as_ref().and_then(|close| close.duration_us).map_or(seen, |us| us * 1_000);
        longest = longest.max(waited);
    }
    let homes = scene.destination(first);
    let to = end(addr, port);
    let failed = u64::try_from(conns.len()).unwrap_or(u64::MAX);
    let flow = scene.flows.of(&programs(conns), addr, port);
    let listeners = port.into_iter().flat_map(|port| scene.listeners_of(port));
    let takes = |socket: &&super::survey::SurveySocket| {
        homes.contains(&socket.netns) && (Some(socket.laddr) == addr || socket.laddr.is_unspecified())
    };
    let listener = listeners.into_iter().find(takes);
    let at = scene.in_netns(homes.first().copied());
    let why = match (homes.is_empty(), listener) {
        (true, _) => "no namespace of this host has that address, and nothing comes back".to_owned(),
        (false, Some(listener)) => {
            let who = scene.holder(listener).map_or_else(|| "a process".to_owned(), |party| party.to_string());
            format!("{who} listens there, so packets are lost on the way")
        }
        (false, None) => "nothing listens there, and no RST comes back".to_owned(),
    };
    let text = format!(
        "{} of {} to {to}{at} without an answer for up to {}: {why}",
        counted(failed, "connection"),
        names(&sufferers),
        seconds(longest),
    );
    let mut evidence = vec![format!("{} sent", counted(syns, "SYN"))];
    if flow.answered > 0 {
        evidence.push(format!("{} of {} had an answer", flow.answered, counted(flow.connections, "connection")));
    }
    let mut next = Vec::new();
    if let Some(addr) = addr {
        next.push(inside(scene, first.ends.netns, &format!("ip route get {addr}")));
        next.push(inside(scene, first.ends.netns, &format!("ip neigh show {addr}")));
    }
    let netns = homes.first().copied();
    let tries = flow.connections.max(failed);
    Some(Cause {
        sufferers,
        place: Place { netns, netns_name: netns.map(|netns| scene.netns_name(netns)), ..Place::default() },
        peer: Some(to),
        count: failed,
        share: Some(failed as f64 / tries as f64),
        evidence,
        next,
        ..Cause::new("no_answer", Severity::Failure, text)
    })
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Close, Segment};

    use super::super::{
        sample::{Sample, Told},
        survey::Transport,
    };
    use super::*;

    fn given_up(us: u64) -> Close {
        Close { verdict: Verdict::NoAnswer, duration_us: Some(us), syns: Some(1), ..Close::UNKNOWN }
    }

    #[test]
    fn another_host_is_silent() {
        let told = Told::client("app", 8).to("192.0.2.7", 80);
        let (found, _) = Sample::default().look().connect(told, &given_up(3_000_000)).run(causes);
        assert_eq!(
            found[0].text,
            "1 connection of app[8] to 192.0.2.7:80 without an answer for up to 3.0 s: no namespace of this host has \
             that address, and nothing comes back"
        );
        assert!(!found[0].certain && found[0].next[0] == "ip netns exec left ip route get 192.0.2.7");
    }

    #[test]
    fn a_listener_of_this_host_makes_it_a_loss() {
        let told = Told::client("app", 8);
        let sample = Sample::default().process("web", 5).bound(Transport::Tcp, 2, "0.0.0.0", 80, 5).look();
        let (found, _) = sample.open(&told, None).again(&told, Segment::Syn, 2).run(causes);
        assert!(found[0].text.ends_with("web[5] listens there, so packets are lost on the way"), "{}", found[0].text);
        assert_eq!(found[0].evidence, ["3 SYNs sent"]);
    }

    #[test]
    fn an_impatient_client_tells_nothing() {
        let told = Told::client("app", 8);
        let sample = Sample::default().look().connect(told.clone(), &given_up(5_000)).open(&told, None);
        assert!(sample.run(causes).0.is_empty());
    }
}
