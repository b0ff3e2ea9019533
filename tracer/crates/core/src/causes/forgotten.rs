//! Connection tracking has forgotten a connection: the firewall drops what comes after a silence.

use std::collections::BTreeMap;

use tracer_stream::{Cause, Party, Severity};

use super::{
    claims::Claims,
    scene::{Carried, Conn, Dropped, Scene, tuple},
    survey::{Survey, SurveySocket, SurveyTcp},
    words::{add, counted, dropper, end, inside, names, place, seconds, show},
};

/// The shortest silence that a firewall may take for an end, ns.
const SILENCE: u64 = 3_000_000_000;

/// The connections that one rule has cut off from one server.
#[derive(Default)]
struct Case<'s> {
    groups: Vec<(usize, &'s Dropped)>,
    conns: Vec<&'s Conn>,
    clients: Vec<Party>,
    /// The longest silence, ns.
    silence: u64,
    /// Nothing came back for all of it: the first segment after it may be older than the trace.
    in_vain: bool,
    /// A SYN to the same end passed.
    passes: bool,
}

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<_, Case<'_>> = BTreeMap::new();
    for (number, group) in scene.drops.groups() {
        if claims.has_drop(number) || !is_about_state(group) {
            continue;
        }
        let hurt = scene.hurt(group);
        let mut silent: Vec<(&Conn, u64, bool)> = Vec::new();
        for conn in hurt.conns {
            match silence(scene, conn, group.first_ns) {
                Some((ns, in_vain)) => silent.extend((ns >= SILENCE).then_some((conn, ns, in_vain))),
                // Its age and the rule's own words have to do.
                None => silent.extend((conn.older && names_state(group) && group.count > 1).then_some((conn, 0, true))),
            }
        }
        if silent.is_empty() {
            continue;
        }
        let server = silent.first().map(|(conn, ..)| (conn.ends.raddr, conn.ends.rport)).unwrap_or_default();
        let case = cases.entry((group.netns, dropper(group), server)).or_default();
        case.groups.push((number, group));
        hurt.clients.into_iter().for_each(|party| add(&mut case.clients, party));
        for (conn, ns, in_vain) in silent {
            if case.conns.iter().all(|known| known.id != conn.id) {
                case.conns.push(conn);
            }
            if !in_vain && (case.in_vain || ns > case.silence)
                || case.silence == 0
                || in_vain && case.in_vain && ns > case.silence
            {
                (case.silence, case.in_vain) = (ns, in_vain);
            }
        }
        case.passes |= passes(scene, server);
    }
    cases.into_values().filter_map(|case| cause(scene, claims, &case)).collect()
}

/// Whether the rule judges by the state of the connection, or drops all that no rule let through.
fn is_about_state(group: &Dropped) -> bool {
    let Some(nft) = group.rule() else { return false };
    let drops_all = nft.rule.as_deref().is_none_or(|rule| rule == "drop");
    group.is_by_netfilter() && group.carried == Carried::Segment && (drops_all || names_state(group))
}

/// Whether the rule itself names the state.
fn names_state(group: &Dropped) -> bool {
    let names = |rule: &str| rule.contains("invalid") || rule.contains("INVALID");
    group.rule().and_then(|nft| nft.rule.as_deref()).is_some_and(names)
}

/// How long neither end had sent anything before the drop, ns, and whether the segments before it were in vain, too.
fn silence(scene: &Scene, conn: &Conn, dropped_ns: u64) -> Option<(u64, bool)> {
    let tuple = tuple(conn)?;
    let of =
        |survey: &Option<Survey>, socket: Option<&SurveySocket>| Some((survey.as_ref()?.boot_ns, socket?.tcp.clone()?));
    let ago = |at: u64, ms: Option<u32>| Some(at.saturating_sub(u64::from(ms?) * 1_000_000));
    let received = |(at, tcp): &(u64, SurveyTcp)| ago(*at, tcp.last_received_ms);
    let early = of(&scene.first, scene.first_socket_of(tuple)).filter(|(at, _)| *at <= dropped_ns || conn.older);
    let late = of(&scene.last, scene.socket_of(tuple)).as_ref().and_then(received).filter(|ns| *ns <= dropped_ns);
    let received = late.or_else(|| early.as_ref().and_then(received))?;
    let in_vain = early.as_ref().is_some_and(|(_, tcp)| tcp.backoff.unwrap_or(0) > 0 || tcp.unacked.unwrap_or(0) > 0);
    let sent = early.as_ref().filter(|_| !in_vain).and_then(|(at, tcp)| ago(*at, tcp.last_sent_ms));
    let last = received.max(sent.filter(|ns| *ns <= dropped_ns).unwrap_or(0));
    Some((dropped_ns.saturating_sub(last), in_vain))
}

/// Whether other connections with that end go on, or begin.
fn passes(scene: &Scene, (addr, port): (Option<std::net::IpAddr>, Option<u16>)) -> bool {
    let flow = scene.flows.to(None, addr, port);
    let goes_on = |conn: &Conn| {
        (conn.ends.raddr, conn.ends.rport) == (addr, port)
            && conn.established_ns.is_some()
            && conn.data_retransmits == 0
    };
    flow.answered > 0 || scene.conns.open().any(goes_on)
}

fn cause(scene: &Scene, claims: &mut Claims, case: &Case<'_>) -> Option<Cause> {
    let (_, first) = case.groups.first()?;
    for (number, _) in &case.groups {
        claims.drop(*number);
    }
    for conn in &case.conns {
        claims.conn(conn.id);
    }
    let conn = case.conns.first()?;
    let to = end(conn.ends.raddr, conn.ends.rport);
    let who = if case.clients.is_empty() { "a connection without a process".to_owned() } else { names(&case.clients) };
    let at = scene.in_netns(first.netns);
    let silence = seconds(case.silence);
    let timeout = first.netns.and_then(|netns| scene.host().namespace(netns)).and_then(|home| home.conntrack_timeout_s);
    let forgets = match timeout {
        Some(s) if s * 1_000_000_000 <= case.silence => {
            format!("connection tracking forgets idle connections after {s} s (nf_conntrack_tcp_timeout_established)")
        }
        _ => "connection tracking does not know the connection any more".to_owned(),
    };
    let dropper = dropper(first);
    let text = if case.silence == 0 {
        format!("segments of {who} to {to} are dropped{at} by {dropper}: {forgets}")
    } else if case.in_vain {
        format!("each segment of {who} to {to}, silent for {silence}, is dropped{at} by {dropper}: {forgets}")
    } else {
        format!("the first segment after {silence} of silence of {who} to {to} is dropped{at} by {dropper}: {forgets}")
    };
    let count: u64 = case.groups.iter().map(|(_, group)| group.count).sum();
    let of = counted(u64::try_from(case.conns.len()).unwrap_or(u64::MAX), "connection");
    let mut evidence = vec![format!("{} of {of} dropped", counted(count, "segment"))];
    if case.passes {
        evidence.push(format!("other connections with {to} pass"));
    }
    let expires = timeout.is_some_and(|s| s * 1_000_000_000 <= case.silence);
    Some(Cause {
        certain: expires || case.silence > 0 && case.passes,
        sufferers: case.clients.clone(),
        place: place(scene, first),
        peer: Some(to),
        count,
        evidence,
        next: vec![
            inside(scene, first.netns, "sysctl net.netfilter.nf_conntrack_tcp_timeout_established"),
            show(scene, first.netns, first.rule()),
        ],
        ..Cause::new("forgotten", Severity::Failure, text)
    })
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, Segment};

    use super::super::sample::{S, Sample, Told, nft, packets};
    use super::*;

    fn idle(ms: u32) -> SurveyTcp {
        SurveyTcp { last_sent_ms: Some(ms), last_received_ms: Some(ms), ..SurveyTcp::default() }
    }

    fn data(told: &Told, rule: &str) -> Drop {
        let mut drop = packets(told, 0x18, 2);
        drop.hint = nft("forward", 3, rule);
        drop.first_ns = 105 * S;
        drop
    }

    #[test]
    fn a_segment_after_a_silence_is_dropped() {
        let told = Told::client("reports", 8).to("10.0.2.1", 5432);
        let mut sample = Sample::default().surveyed(&told, idle(21_000));
        sample.survey.namespaces[2].conntrack_timeout_s = Some(15);
        let sample = sample.look().open(&told, Some(true)).later(5 * S).again(&told, Segment::Data, 2);
        let (found, claims) = sample.dropped(&data(&told, "ct state invalid drop")).run(causes);
        assert_eq!(
            found[0].text,
            "the first segment after 26 s of silence of reports[8] to 10.0.2.1:5432 is dropped in router by nft inet fw \
             forward handle 3 \"ct state invalid drop\": connection tracking forgets idle connections after 15 s \
             (nf_conntrack_tcp_timeout_established)"
        );
        assert!(found[0].certain && found[0].severity == Severity::Failure && claims.has_drop(0));
    }

    #[test]
    fn without_a_known_silence_the_rule_and_the_age_suggest_it() {
        let told = Told::client("reports", 8).to("10.0.2.1", 5432);
        let sample = Sample::default().look().open(&told, Some(true));
        let (found, _) = sample.dropped(&data(&told, "ct state invalid drop")).run(causes);
        assert!(found[0].text.starts_with("segments of reports[8] to 10.0.2.1:5432 are dropped") && !found[0].certain);
    }

    #[test]
    fn a_busy_connection_has_another_cause() {
        let told = Told::client("reports", 8).to("10.0.2.1", 5432);
        let sample = Sample::default().later(4 * S).surveyed(&told, idle(10)).look().open(&told, Some(true));
        assert!(sample.dropped(&data(&told, "ct state invalid drop")).run(causes).0.is_empty());
    }

    #[test]
    fn a_rule_about_ports_forgets_nothing() {
        let told = Told::client("reports", 8).to("10.0.2.1", 5432);
        let sample = Sample::default().surveyed(&told, idle(21_000)).look().open(&told, Some(true));
        assert!(sample.dropped(&data(&told, "tcp dport 5432 drop")).run(causes).0.is_empty());
    }
}
