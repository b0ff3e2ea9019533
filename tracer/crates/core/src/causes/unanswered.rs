//! Requests that get no answer, although the connection itself is in order: the server's program is slow, or a proxy
//! gives up before it.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Close, Party, Place, Severity, Verdict};

use super::{
    case::programs,
    claims::Claims,
    scene::{Conn, Scene, tuple},
    words::{add, counted, end, inside, names, seconds},
};

/// Two legs that end within this time end together.
const TOGETHER_NS: u64 = 100_000_000;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<(Option<IpAddr>, Option<u16>), Vec<&Conn>> = BTreeMap::new();
    for conn in scene.conns.failed() {
        if conn.close.as_ref().is_some_and(is_unanswered) && !claims.has_conn(conn.id) && scene.is_client(conn) {
            cases.entry((conn.ends.raddr, conn.ends.rport)).or_default().push(conn);
        }
    }
    // The far leg of a proxy first: its server is the reason for the near one.
    let legs: Vec<(u32, u64)> =
        cases.values().flatten().filter_map(|conn| Some((pid(conn)?, conn.closed_ns?))).collect();
    let proxies = |server: Option<u32>, conns: &[&Conn]| {
        let ended = |conn: &&&Conn| {
            let at = conn.closed_ns.unwrap_or(0);
            legs.iter().any(|(pid, ns)| Some(*pid) == server && ns.abs_diff(at) < TOGETHER_NS)
        };
        conns.iter().filter(ended).count()
    };
    let mut all: Vec<_> = cases
        .iter()
        .map(|((addr, port), conns)| {
            let server = conns.iter().find_map(|conn| server(scene, conn));
            let behind = proxies(server.as_ref().map(|party| party.pid), conns);
            ((*addr, *port), conns, server, behind)
        })
        .collect();
    all.sort_by_key(|(.., behind)| *behind > 0);
    all.into_iter().filter_map(|(to, conns, server, behind)| cause(scene, claims, to, conns, server, behind)).collect()
}

fn pid(conn: &Conn) -> Option<u32> {
    conn.owner.as_ref().map(|owner| owner.pid)
}

/// The client waited in vain: its request is acknowledged, and no answer came.
fn is_unanswered(close: &Close) -> bool {
    close.unanswered == Some(true) && close.unacked_bytes == Some(0) && close.verdict != Verdict::ResetRemote
}

/// The process at the other end, if it is on this host.
fn server(scene: &Scene, conn: &Conn) -> Option<Party> {
    let (laddr, lport, raddr, rport) = tuple(conn)?;
    let other = (raddr, rport, laddr, lport);
    let by_conn = scene.conn_of(other).and_then(|twin| twin.owner.clone());
    let by_end = || scene.ends.get(other).and_then(|ended| ended.owner.clone());
    let by_listener = || {
        let homes = scene.destination(conn);
        let listener = scene.listeners_of(rport).find(|socket| homes.contains(&socket.netns))?;
        scene.holder(listener)
    };
    by_conn.or_else(by_end).or_else(by_listener)
}

fn cause(
    scene: &Scene,
    claims: &mut Claims,
    (addr, port): (Option<IpAddr>, Option<u16>),
    conns: &[&Conn],
    server: Option<Party>,
    behind: usize,
) -> Option<Cause> {
    let first = conns.first()?;
    let mut sufferers: Vec<Party> = Vec::new();
    let mut longest_us = 0;
    for conn in conns {
        claims.conn(conn.id);
        conn.owner.iter().for_each(|owner| add(&mut sufferers, Party { netns: conn.ends.netns, ..owner.clone() }));
        longest_us = longest_us.max(conn.close.as_ref().and_then(|close| close.idle_us).unwrap_or(0));
    }
    let count = u64::try_from(conns.len()).unwrap_or(u64::MAX);
    let homes = scene.destination(first);
    let (to, at) = (end(addr, port), scene.in_netns(homes.first().copied()));
    let who = names(&sufferers);
    let waited = seconds(longest_us * 1000);
    let flow = scene.flows.of(&programs(conns), addr, port);
    let peer = server.as_ref().map_or_else(|| "the server".to_owned(), Party::to_string);
    let ended = first.close.as_ref().map(|close| close.verdict);
    let gave_up = match ended {
        Some(Verdict::ClosedRemote | Verdict::ClosedBoth) => format!("{peer} closes without an answer"),
        _ => format!("{who} gives up"),
    };
    let requests = counted(count, "request");
    let text = match (behind > 0, &server) {
        (true, Some(proxy)) => format!(
            "{requests} of {who} to {to}{at} {} no answer: {proxy} gives up after {waited}, in the moment in which it gives \
             up its own request",
            if count == 1 { "gets" } else { "get" }
        ),
        _ => format!(
            "{requests} of {who} to {to}{at} {} no answer: {gave_up} after {waited}; the network has delivered them",
            if count == 1 { "gets" } else { "get" }
        ),
    };
    let mut evidence = Vec::new();
    if flow.connections > 0 {
        let failed = count.min(flow.connections);
        evidence.push(format!("{failed} of {} to it ended like that", counted(flow.connections, "connection")));
    }
    if let Some(process) = server.as_ref().and_then(|party| scene.host().process(party.pid)) {
        let place = process.wchan.as_ref().map_or_else(String::new, |wchan| format!(", sleeps in {wchan}"));
        evidence.push(format!("{peer} is in state {}{place}", process.state.unwrap_or('?')));
    }
    if behind > 0 {
        evidence.push(format!("both legs of {behind} of these connections end within 0.1 s"));
    }
    let netns = homes.first().copied();
    let mut next: Vec<String> = server.iter().map(|party| format!("strace -f -p {}", party.pid)).collect();
    next.push(inside(scene, netns, "ss -tnpi"));
    Some(Cause {
        certain: false,
        sufferers,
        culprits: server.into_iter().map(|party| Party { netns, ..party }).collect(),
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
        next,
        ..Cause::new("unanswered", Severity::Failure, text)
    })
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::{Sample, Told};
    use super::*;

    const WAITED: Close = Close {
        verdict: Verdict::ClosedLocal,
        connect_us: Some(90),
        unanswered: Some(true),
        unacked_bytes: Some(0),
        idle_us: Some(2_000_000),
        ..Close::UNKNOWN
    };
    const FINE: Close = Close { verdict: Verdict::ClosedLocal, connect_us: Some(90), ..Close::UNKNOWN };

    #[test]
    fn a_slow_program_is_named() {
        let told = Told::client("shop", 8).to("10.0.2.1", 80);
        let sample =
            Sample::default().process("pricing", 40).bound(super::super::survey::Transport::Tcp, 2, "10.0.2.1", 80, 40);
        let sample = sample.look().connect(told.clone(), &FINE).connect(told.port(4002), &WAITED);
        let (causes, _) = sample.run(causes);
        let text = "1 request of shop[8] to 10.0.2.1:80 in right gets no answer: shop[8] gives up after 2.0 s; the network \
                    has delivered them";
        assert_eq!(causes[0].text, text);
        assert_eq!((causes[0].culprits[0].pid, causes[0].share), (40, Some(0.5)));
    }

    #[test]
    fn a_proxy_gives_up_both_legs() {
        let near = Told::client("shop", 8).to("10.0.1.254", 80);
        let far = Told {
            local: (super::super::sample::ip("10.0.1.254"), 4100),
            ..Told::client("proxy", 50).to("10.0.2.1", 80)
        };
        let by_proxy = Close { verdict: Verdict::ClosedLocal, idle_us: Some(2_000_000), ..Close::UNKNOWN };
        let cut = Close { verdict: Verdict::ClosedRemote, ..WAITED };
        let gave_up = Close { verdict: Verdict::ResetLocal, ..WAITED };
        let sample = Sample::default().look().connect(near.server("proxy", 50), &by_proxy).connect(far, &gave_up);
        let (causes, _) = sample.connect(near, &cut).run(causes);
        assert_eq!(causes.len(), 2);
        assert!(causes[0].text.contains("of proxy[50] to 10.0.2.1:80"), "{}", causes[0].text);
        assert!(causes[1].text.contains("proxy[50] gives up after 2.0 s"), "{}", causes[1].text);
    }

    #[test]
    fn what_was_answered_is_none() {
        let told = Told::client("shop", 8).to("10.0.2.1", 80);
        assert!(Sample::default().look().connect(told, &FINE).run(causes).0.is_empty());
    }
}
