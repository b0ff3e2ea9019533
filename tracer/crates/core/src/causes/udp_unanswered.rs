//! A name server that does not answer in time: its questions wait until the resolver's timeout, again and again.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_stream::{Cause, Party, Place, Severity};

use super::{
    claims::Claims,
    scene::{Asker, Carried, DNS, Scene, Waits},
    survey::SurveySocket,
    words::{add, counted, end, inside, names, seconds},
};

/// The least number of waits: one may be a slow answer.
const LEAST: u64 = 2;
/// A socket that stays for longer belongs to no single question, ns.
const LONGEST: u64 = 30_000_000_000;

/// The programs that wait for one server.
type Askers<'s> = Vec<(&'s Asker, &'s Waits)>;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<(IpAddr, Vec<u32>), Askers<'_>> = BTreeMap::new();
    for (asker, waits) in scene.waits.all() {
        let homes = homes(scene, asker);
        let has_cause = homes.iter().any(|netns| claims.has_unread(*netns, DNS)) || is_dropped(scene, claims, asker);
        if waits.ended >= LEAST && waits.ended > waits.short && waits.longest_ns <= LONGEST && !has_cause {
            cases.entry((asker.server, homes)).or_default().push((asker, waits));
        }
    }
    cases.into_iter().map(|((server, homes), askers)| cause(scene, server, &homes, &askers)).collect()
}

/// The namespaces where the questions arrive, if they are on this host.
fn homes(scene: &Scene, asker: &Asker) -> Vec<u32> {
    let homes = scene.homes_of(asker.server);
    if asker.server.is_loopback() || homes.contains(&asker.netns) { vec![asker.netns] } else { homes.to_vec() }
}

/// Whether another rule knows who drops the questions, or the answers.
fn is_dropped(scene: &Scene, claims: &Claims, asker: &Asker) -> bool {
    let mut groups = scene.drops.groups().filter(|(number, _)| claims.has_drop(*number));
    let end = (Some(asker.server), Some(DNS));
    groups.any(|(_, group)| group.carried == Carried::Datagram && group.server() == end)
}

fn cause(scene: &Scene, server: IpAddr, homes: &[u32], askers: &[(&Asker, &Waits)]) -> Cause {
    let mut sufferers: Vec<Party> = Vec::new();
    askers.iter().filter_map(|(_, waits)| waits.by.clone()).for_each(|by| add(&mut sufferers, by));
    let count: u64 = askers.iter().map(|(_, waits)| waits.ended).sum();
    let longest = askers.iter().map(|(_, waits)| waits.longest_ns).max().unwrap_or(0);
    let netns = homes.first().copied();
    let socket = socket(scene, server, homes);
    let holder = socket.and_then(|socket| scene.holder(socket));
    let process = holder.as_ref().and_then(|party| scene.host().process(party.pid));
    let is_stopped = process.is_some_and(|process| matches!(process.state, Some('T' | 't')));
    let why = match (&holder, process.and_then(|process| process.wchan.as_deref())) {
        (Some(party), _) if is_stopped => format!(": {party} is stopped (state T)"),
        (Some(party), Some(wchan)) => format!(": {party} is there, and sleeps in {wchan}"),
        (Some(party), None) => format!(": {party} is there"),
        (None, _) if socket.is_none() && !homes.is_empty() && scene.host().omitted == 0 => {
            ": no process has a UDP socket there".to_owned()
        }
        (None, _) => String::new(),
    };
    let to = end(Some(server), Some(DNS));
    let (who, wait) = (names(&sufferers), if sufferers.len() == 1 { "waits" } else { "wait" });
    let at = if homes.is_empty() { String::new() } else { scene.in_netns(netns) };
    let text =
        format!("{who} {wait} {} or more for {to} (DNS){at}, which does not answer in time{why}", seconds(longest));
    let mut evidence =
        vec![format!("{} of at least a second seen, each with a socket of its own", counted(count, "wait"))];
    evidence.extend(fallback(scene, askers));
    evidence.extend(tcp(scene, askers));
    let mut next = vec!["tracer sockets -u --port 53".to_owned()];
    match &holder {
        Some(party) => next.push(format!("ps -o pid,stat,wchan {}", party.pid)),
        None => next.push(inside(scene, askers.first().map(|(asker, _)| asker.netns), "cat /etc/resolv.conf")),
    }
    Cause {
        certain: is_stopped,
        sufferers,
        culprits: holder.into_iter().collect(),
        place: Place {
            netns,
            netns_name: netns.map(|netns| scene.netns_name(netns)),
            listener: Some(to.clone()),
            ..Place::default()
        },
        peer: Some(to),
        count,
        evidence,
        next,
        ..Cause::new("udp_unanswered", Severity::Slow, text)
    }
}

/// The socket of the name server, if it is on this host.
fn socket<'s>(scene: &'s Scene, server: IpAddr, homes: &[u32]) -> Option<&'s SurveySocket> {
    let takes = |socket: &&SurveySocket| {
        homes.contains(&socket.netns)
            && (socket.laddr == server || socket.laddr.is_unspecified())
            && (socket.rport == 0 || socket.raddr.is_unspecified())
    };
    scene.datagrams_of(DNS).find(takes)
}

/// The other servers that the same programs ask.
fn fallback(scene: &Scene, askers: &[(&Asker, &Waits)]) -> Option<String> {
    let is_same = |other: &Asker| {
        let mut askers = askers.iter();
        askers
            .any(|(asker, _)| (asker.netns, &asker.comm) == (other.netns, &other.comm) && asker.server != other.server)
    };
    let (other, _) = scene.waits.all().find(|(other, waits)| is_same(other) && waits.short > waits.ended)?;
    Some(format!("then {} asks {}", other.comm, end(Some(other.server), Some(DNS))))
}

/// How the TCP connections of the same programs are.
fn tcp(scene: &Scene, askers: &[(&Asker, &Waits)]) -> Option<String> {
    let clients: Vec<(Option<u32>, &str)> =
        askers.iter().map(|(asker, _)| (Some(asker.netns), asker.comm.as_str())).collect();
    let flow = scene.flows.by(&clients);
    (flow.answered > 0 && flow.failed == 0).then(|| {
        let slowest = flow.slowest_us as f64 / 1000.0;
        format!("TCP itself is fast: {} answered within {slowest:.1} ms", counted(flow.answered, "connection"))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::{Close, TcpState, Verdict};

    use super::super::{
        does_not_read,
        sample::{S, Sample, Told, ip, nft, packets},
        survey::Transport,
    };
    use super::*;

    /// A resolver that asks `server`: each question has a socket of its own for so many surveys.
    fn asks(mut sample: Sample, server: &str, lives: &[u32]) -> Sample {
        for (number, life) in (100..).zip(lives) {
            let before = sample.survey.sockets.len();
            sample = sample.bound(Transport::Udp, 1, "10.0.1.1", 40_000, 8);
            let socket = sample.survey.sockets.last_mut().unwrap();
            (socket.raddr, socket.rport, socket.inode) = (ip(server), DNS, sample.survey.boot_ns + number);
            socket.state = TcpState::Established;
            for _ in 0..*life {
                sample = sample.look().later(S);
            }
            sample.survey.sockets.truncate(before);
            sample = sample.look().later(S);
        }
        sample
    }

    fn shop() -> Sample {
        Sample::default().process("shop", 8)
    }

    #[test]
    fn a_server_elsewhere_stays_silent_and_another_is_asked() {
        let fine = Close { verdict: Verdict::ClosedLocal, connect_us: Some(400), ..Close::UNKNOWN };
        let sample = asks(asks(shop(), "192.0.2.53", &[6, 6]), "192.0.2.54", &[1, 1, 1]);
        let (found, _) = sample.connect(Told::client("shop", 8), &fine).run(causes);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, "shop[8] waits 5.0 s or more for 192.0.2.53:53 (DNS), which does not answer in time");
        assert_eq!((found[0].severity, found[0].certain, found[0].count), (Severity::Slow, false, 2));
        assert_eq!(
            found[0].evidence,
            [
                "2 waits of at least a second seen, each with a socket of its own",
                "then shop asks 192.0.2.54:53",
                "TCP itself is fast: 1 connection answered within 0.4 ms",
            ]
        );
    }

    #[test]
    fn a_server_on_this_host_is_stopped_or_missing() {
        let mut sample = shop().process("names", 20).bound(Transport::Udp, 2, "0.0.0.0", 53, 20);
        sample.survey.processes[1].state = Some('T');
        let (found, _) = asks(sample, "10.0.2.1", &[6, 6]).run(causes);
        assert!(
            found[0].text.ends_with("(DNS) in right, which does not answer in time: names[20] is stopped (state T)")
        );
        assert_eq!((found[0].culprits[0].pid, found[0].certain, found[0].place.netns), (20, true, Some(2)));
        let (found, _) = asks(shop(), "10.0.2.1", &[6, 6]).run(causes);
        assert!(found[0].text.ends_with("in time: no process has a UDP socket there"), "{}", found[0].text);
    }

    #[test]
    fn short_questions_one_wait_and_a_lasting_socket_are_none() {
        for lives in [&[1, 1, 1, 1][..], &[6], &[40, 40], &[2, 1, 1, 2, 1]] {
            assert!(asks(shop(), "192.0.2.53", lives).run(causes).0.is_empty(), "{lives:?}");
        }
    }

    #[test]
    fn what_has_its_cause_is_left_alone() {
        let mut sample = shop().process("names", 20).bound(Transport::Udp, 2, "10.0.2.1", 53, 20);
        sample.survey.processes[1].state = Some('T');
        sample.survey.sockets[0].recv_q = 900;
        let sample = asks(sample, "10.0.2.1", &[6, 6]);
        let mut claims = Claims::default();
        let stopped = does_not_read::causes(&sample.scene, &mut claims);
        assert_eq!((stopped.len(), causes(&sample.scene, &mut claims).len()), (1, 0));
        assert_eq!(stopped[0].evidence[0], "shop waits 5.0 s or more each time, 2 times seen");

        let mut drop = packets(&Told::client("", 0).to("192.0.2.53", 53), 0, 4);
        (drop.protocol, drop.tcp_flags, drop.hint) = (Some("udp"), None, nft("forward", 4, "udp dport 53 drop"));
        let sample = asks(shop(), "192.0.2.53", &[6, 6]).dropped(&drop);
        let mut claims = Claims::default();
        assert_eq!(causes(&sample.scene, &mut claims).len(), 1, "no rule has told it yet");
        assert_eq!(super::super::rule_drop::causes(&sample.scene, &mut claims).len(), 1);
        assert!(causes(&sample.scene, &mut claims).is_empty());
    }
}
