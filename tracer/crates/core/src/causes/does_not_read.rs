//! A process does not read what has come: it is stopped, or hangs. A name server that does so makes all that ask it wait.

use std::collections::BTreeMap;

use tracer_stream::{Cause, Party, Place, Severity, TcpState};

use super::{
    claims::Claims,
    scene::{Asker, DNS, Scene},
    survey::{Survey, SurveyProcess, SurveySocket, Transport},
    words::{add, bytes, end, names, seconds},
};

/// The most sockets that are looked at, those with most unread bytes.
const MOST: usize = 128;
/// The shortest time of an uninterruptible sleep, ns. Three surveys a second apart take a little less.
const HELD_NS: u64 = 1_900_000_000;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let Some(before) = scene.before.as_ref() else { return Vec::new() };
    let mut cases: BTreeMap<u32, Vec<&SurveySocket>> = BTreeMap::new();
    let is_unread = |socket: &&SurveySocket| socket.recv_q > 0 && socket.state != TcpState::Listen;
    let mut unread: Vec<&SurveySocket> = scene.host().sockets.iter().filter(is_unread).collect();
    // Each costs a look at all sockets, and others choose how many there are.
    unread.sort_by_key(|socket| std::cmp::Reverse(socket.recv_q));
    unread.truncate(MOST);
    for socket in unread {
        let [pid] = socket.pids.as_slice() else { continue };
        let Some(process) = scene.host().process(*pid) else { continue };
        let waits = |survey: &Survey| same(survey, socket).map(|then| then.recv_q).filter(|bytes| *bytes > 0);
        let grows = || {
            let first = scene.first.as_ref().map_or(0, |first| waits(first).unwrap_or(0));
            waits(before).is_some_and(|then| then < socket.recv_q) && first < socket.recv_q && !is_connected(socket)
        };
        if is_held(scene, process) || socket.transport == Transport::Udp && grows() {
            cases.entry(*pid).or_default().push(socket);
        }
    }
    for socket in cases.values().flatten() {
        claims.unread(socket.netns, socket.lport);
        if socket.transport == Transport::Tcp {
            let (here, there) = ((socket.laddr, socket.lport), (socket.raddr, socket.rport));
            for tuple in [(here.0, here.1, there.0, there.1), (there.0, there.1, here.0, here.1)] {
                scene.conn_of(tuple).into_iter().for_each(|conn| _ = claims.conn(conn.id));
            }
        }
    }
    cases.into_iter().filter_map(|(pid, sockets)| cause(scene, pid, &sockets)).collect()
}

/// The same socket at another time.
fn same<'s>(survey: &'s Survey, socket: &SurveySocket) -> Option<&'s SurveySocket> {
    survey.sockets.iter().find(|then| (then.inode, then.netns) == (socket.inode, socket.netns) && then.inode != 0)
}

const fn is_stopped(process: &SurveyProcess) -> bool {
    matches!(process.state, Some('T' | 't'))
}

/// Whether the process cannot run: it is stopped, or all surveys found it in uninterruptible sleep.
fn is_held(scene: &Scene, process: &SurveyProcess) -> bool {
    is_stopped(process) || held_for(scene, process.pid, |process| process.state == Some('D')) >= HELD_NS
}

/// The time between the first and the last survey if all that are kept found the process in such a state, ns.
fn held_for(scene: &Scene, pid: u32, is: fn(&SurveyProcess) -> bool) -> u64 {
    let surveys = [&scene.first, &scene.before, &scene.last];
    let all = surveys.into_iter().flatten().all(|survey| survey.process(pid).is_some_and(is));
    let first = scene.first.as_ref().map_or(0, |first| first.boot_ns);
    if all { scene.host().boot_ns.saturating_sub(first) } else { 0 }
}

fn is_connected(socket: &SurveySocket) -> bool {
    socket.rport != 0
}

fn cause(scene: &Scene, pid: u32, sockets: &[&SurveySocket]) -> Option<Cause> {
    let process = scene.host().process(pid)?;
    let party = scene.party(pid)?;
    let most = sockets.iter().max_by_key(|socket| socket.recv_q)?;
    let at = end(Some(most.laddr), Some(most.lport));
    let place = scene.in_netns(Some(most.netns));
    let mut sufferers = Vec::new();
    for socket in sockets {
        clients(scene, socket).into_iter().for_each(|client| add(&mut sufferers, client));
    }
    let what = if most.transport == Transport::Udp && most.lport == DNS { "queries" } else { "requests" };
    let state = match (is_stopped(process), &process.wchan) {
        (true, _) => "is stopped (state T)".to_owned(),
        (false, Some(wchan)) if process.state == Some('D') => {
            format!("is in uninterruptible sleep (state D, in {wchan})")
        }
        (false, None) if process.state == Some('D') => "is in uninterruptible sleep (state D)".to_owned(),
        (false, Some(wchan)) => format!("does not read, and sleeps in {wchan}"),
        (false, None) => "does not read".to_owned(),
    };
    let who = if sufferers.is_empty() { String::new() } else { format!(" of {}", names(&sufferers)) };
    let unread = bytes(sockets.iter().map(|socket| u64::from(socket.recv_q)).sum());
    let mut evidence = Vec::new();
    if what == "queries" {
        evidence.push(waited(scene, most).unwrap_or_else(|| {
            "a resolver waits for its timeout (5 s, if resolv.conf says no other) before it asks the next server"
                .to_owned()
        }));
    }
    let held_ns = held_for(scene, pid, is_stopped).max(held_for(scene, pid, |process| process.state == Some('D')));
    if held_ns > 0 {
        evidence.push(format!("it was so whenever the surveys looked, for {} or more", seconds(held_ns)));
    }
    Some(Cause {
        certain: is_stopped(process),
        sufferers,
        culprits: vec![party.clone()],
        place: Place {
            netns: Some(most.netns),
            netns_name: Some(scene.netns_name(most.netns)),
            listener: Some(at.clone()),
            ..Place::default()
        },
        peer: Some(at.clone()),
        count: sockets.len().try_into().unwrap_or(u64::MAX),
        evidence,
        next: vec![
            format!("grep -e State -e Tracer /proc/{pid}/status"),
            format!("kill -CONT {pid}  # if it was stopped"),
        ],
        ..Cause::new(
            "does_not_read",
            Severity::Failure,
            format!("{what}{who} to {at}{place} stay without an answer: {party} {state}, {unread} wait unread"),
        )
    })
}

/// How long programs waited for this name server, as the surveys saw their sockets.
fn waited(scene: &Scene, server: &SurveySocket) -> Option<String> {
    let is_asked = |asker: &Asker| {
        let there = match asker.server.is_loopback() {
            true => asker.netns == server.netns,
            false => scene.homes_of(asker.server).contains(&server.netns),
        };
        there && (server.laddr == asker.server || server.laddr.is_unspecified())
    };
    let waits = scene.waits.all().filter(|(asker, waits)| waits.ended > 0 && is_asked(asker));
    let (asker, waits) = waits.max_by_key(|(_, waits)| waits.longest_ns)?;
    let times = if waits.ended == 1 { "seen once".to_owned() } else { format!("{} times seen", waits.ended) };
    Some(format!("{} waits {} or more each time, {times}", asker.comm, seconds(waits.longest_ns)))
}

/// The processes that wait for an answer of this socket, by the surveys.
fn clients(scene: &Scene, socket: &SurveySocket) -> Vec<Party> {
    let mut found = Vec::new();
    if socket.transport == Transport::Tcp {
        return scene
            .owner_of(Transport::Tcp, socket.raddr, socket.rport, (socket.laddr, socket.lport))
            .into_iter()
            .collect();
    }
    for survey in [&scene.first, &scene.before, &scene.last].into_iter().flatten() {
        for client in survey.sockets.iter().filter(|client| client.transport == socket.transport) {
            let to = (client.raddr, client.rport);
            let is = if is_connected(socket) {
                to == (socket.laddr, socket.lport) && (client.laddr, client.lport) == (socket.raddr, socket.rport)
            } else {
                let there = socket.laddr == client.raddr
                    || socket.laddr.is_unspecified()
                        && survey.homes(client.raddr).any(|home| home.inode == socket.netns);
                client.rport == socket.lport && there
            };
            if is {
                client.pids.iter().filter_map(|pid| scene.party(*pid)).for_each(|party| add(&mut found, party));
            }
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{
        super::{
            sample::{Sample, Told},
            survey::SurveyTcp,
        },
        *,
    };

    /// A name server with unread queries in a state, and a client that waits.
    fn server(state: char, unread: [u32; 3]) -> Sample {
        let mut sample = Sample::default()
            .bound(Transport::Udp, 2, "10.0.2.1", 53, 20)
            .process("names", 20)
            .bound(Transport::Udp, 1, "10.0.1.1", 40_000, 10)
            .process("shop", 10);
        sample.survey.processes.first_mut().unwrap().state = Some(state);
        let client = sample.survey.sockets.last_mut().unwrap();
        (client.raddr, client.rport, client.state) = ("10.0.2.1".parse().unwrap(), 53, TcpState::Established);
        for bytes in unread {
            sample.survey.sockets.first_mut().unwrap().recv_q = bytes;
            sample = sample.look().later(1_000_000_000);
        }
        sample
    }

    #[test]
    fn a_stopped_name_server() {
        let (causes, claims) = server('T', [2304, 2304, 2304]).run(causes);
        let cause = causes.first().unwrap();
        assert_eq!(
            cause.text,
            "queries of shop[10] to 10.0.2.1:53 in right stay without an answer: names[20] is stopped (state T), 2 kB \
             wait unread"
        );
        assert_eq!((cause.culprits.len(), cause.sufferers.len(), cause.certain), (1, 1, true));
        assert!(claims.has_unread(2, 53) && !claims.has_unread(1, 53), "what finds no room there follows from it");
    }

    #[test]
    fn an_uninterruptible_sleep_counts_if_it_lasts() {
        let (causes_of, _) = server('D', [768, 768, 768]).run(causes);
        let text = &causes_of.first().unwrap().text;
        assert!(text.ends_with("names[20] is in uninterruptible sleep (state D), 768 bytes wait unread"), "{text}");
        assert!(causes_of.iter().all(|cause| !cause.certain));
        let mut sample = server('S', [768, 768, 768]);
        sample.survey.processes.first_mut().unwrap().state = Some('D');
        sample.survey.sockets.first_mut().unwrap().recv_q = 768;
        assert!(sample.look().run(causes).0.is_empty(), "a disk access is short");
    }

    #[test]
    fn connections_with_a_stopped_server_have_their_cause() {
        let told = Told::client("shop", 8);
        let mut sample = Sample::default().process("web", 20).surveyed(&told.server("web", 20), SurveyTcp::default());
        sample.survey.processes.first_mut().unwrap().state = Some('T');
        sample.survey.sockets.first_mut().unwrap().recv_q = 80;
        let sample = sample.look().open(&told, Some(true)).later(3_000_000_000).look();
        let (found, claims) = sample.run(causes);
        let cause = found.first().unwrap();
        assert_eq!(
            cause.text,
            "requests of shop[8] to 10.0.2.1:80 in right stay without an answer: web[20] is stopped (state T), 80 bytes \
             wait unread"
        );
        assert_eq!(cause.evidence, ["it was so whenever the surveys looked, for 3.0 s or more"]);
        assert!(sample.scene.conns.open().all(|conn| claims.has_conn(conn.id)));
    }

    #[test]
    fn one_that_hangs_is_known_by_what_waits() {
        let (grows, _) = server('S', [768, 1536, 2304]).run(causes);
        assert_eq!(grows.first().map(|cause| cause.certain), Some(false));
        for unread in [[768, 768, 768], [0, 0, 768], [768, 1536, 0], [2304, 768, 1536]] {
            let (found, _) = server('S', unread).run(causes);
            assert!(found.is_empty(), "it reads, or waits a moment: {unread:?}");
        }
        assert!(server('T', [0, 0, 0]).run(causes).0.is_empty(), "none asks it");
    }
}
