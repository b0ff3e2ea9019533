//! A process has no descriptors left; most often it keeps connections that its peers have closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracer_stream::{Cause, Party, Place, Severity, TcpState};

use super::{
    claims::Claims,
    scene::{Conn, Scene},
    survey::{Survey, SurveyProcess, SurveySocket, Transport},
    words::{add, counted, end, inside, names},
};

/// `EMFILE`: the process has no descriptor left; `ENFILE`: the host has no file left.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];
/// Accepting needs a descriptor, and a program often frees the last ones for a moment.
const ALMOST: u64 = 2;
/// The least connections that a process keeps after their peers have closed them, to be worth a word.
const KEPT: usize = 4;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let failing = scene.calls.iter().filter(|call| NO_DESCRIPTORS.contains(&call.errno));
    let failing = failing.filter_map(|call| call.by.as_ref()).map(|party| party.pid);
    let full = scene.host().processes.iter().filter(|process| used_up(scene, process.pid).is_some());
    let pids: BTreeSet<u32> = failing.chain(full.map(|process| process.pid)).collect();
    pids.into_iter().filter_map(|pid| cause(scene, claims, pid)).collect()
}

/// Descriptors and limit at the survey with the most of them, if they are used up.
fn used_up(scene: &Scene, pid: u32) -> Option<(u64, u64)> {
    let surveys = [&scene.first, &scene.before, &scene.last];
    let of = |process: &SurveyProcess| process.descriptors.zip(process.descriptor_limit);
    let counts = surveys.into_iter().flatten().filter_map(|survey| of(survey.process(pid)?));
    counts.max().filter(|(used, limit)| *limit > 0 && used.saturating_add(ALMOST) >= *limit)
}

fn cause(scene: &Scene, claims: &mut Claims, pid: u32) -> Option<Cause> {
    let calls: Vec<_> = scene
        .calls
        .iter()
        .filter(|call| NO_DESCRIPTORS.contains(&call.errno) && call.by.as_ref().is_some_and(|by| by.pid == pid))
        .collect();
    let party = scene.party(pid).or_else(|| calls.first()?.by.clone())?;
    let used = used_up(scene, pid);
    let sockets = || scene.host().sockets.iter().filter(|socket| socket.pids.contains(&pid));
    let listeners: Vec<&SurveySocket> =
        sockets().filter(|socket| socket.state == TcpState::Listen && socket.transport == Transport::Tcp).collect();
    let (sufferers, failed) = sufferers(scene, claims, &listeners);
    // Of a process that only comes close to its limit none knows whether it needs more.
    if calls.is_empty() && failed == 0 {
        return None;
    }
    let mut kept: BTreeMap<(IpAddr, u16), usize> = BTreeMap::new();
    for socket in sockets().filter(|socket| socket.state == TcpState::CloseWait) {
        *kept.entry((socket.raddr, socket.rport)).or_default() += 1;
    }
    let most = kept.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count >= KEPT);
    let figures = used.map_or_else(String::new, |(used, limit)| format!(" ({used} of {limit})"));
    let holds = most.map_or_else(String::new, |((addr, port), count)| {
        let to = end(Some(*addr), Some(*port));
        format!(": it keeps {count} connections to {to} that the peer has closed (CLOSE_WAIT)")
    });
    let hurt = if sufferers.is_empty() {
        String::new()
    } else {
        format!(", and {} of {} stay without an answer", counted(failed, "connection"), names(&sufferers))
    };
    let mut evidence: Vec<String> =
        calls.iter().map(|call| format!("{}() failed with EMFILE {}", call.call, times(call.count))).collect();
    if let (Some((to, count)), Some(first)) = (most, &scene.first) {
        let before = count_in(first, pid, *to);
        if *count > before && before > 0 {
            let grown = format!("{} of these connections were there at the first look, {count} at the last", before);
            evidence.push(grown);
        }
    }
    let listener = listeners.first();
    let netns = listener.map(|listener| listener.netns).or(calls.first().and_then(|call| call.socket.netns));
    Some(Cause {
        certain: !calls.is_empty() || failed > 0 && most.is_some(),
        sufferers,
        culprits: vec![party.clone()],
        place: Place {
            netns,
            netns_name: netns.map(|netns| scene.netns_name(netns)),
            listener: listener.map(|listener| end(Some(listener.laddr), Some(listener.lport))),
            reason: Some("EMFILE".to_owned()),
            ..Place::default()
        },
        peer: most.map(|((addr, port), _)| end(Some(*addr), Some(*port))),
        count: failed.max(calls.iter().map(|call| call.count).sum()),
        evidence,
        next: vec![
            inside(scene, netns, &format!("ss -tnp state close-wait | grep pid={pid}")),
            format!("ls /proc/{pid}/fd | wc -l; grep files /proc/{pid}/limits"),
        ],
        ..Cause::new(
            "descriptors_used_up",
            Severity::Failure,
            format!("{party}{} has no descriptors left{figures}{holds}{hurt}", scene.in_netns(netns)),
        )
    })
}

/// `once`, `12 times`.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn count_in(survey: &Survey, pid: u32, (addr, port): (IpAddr, u16)) -> usize {
    let is = |socket: &&SurveySocket| {
        socket.state == TcpState::CloseWait
            && (socket.raddr, socket.rport) == (addr, port)
            && socket.pids.contains(&pid)
    };
    survey.sockets.iter().filter(is).count()
}

/// The clients of these listeners whose connections fail or have no answer; claims them.
fn sufferers(scene: &Scene, claims: &mut Claims, listeners: &[&SurveySocket]) -> (Vec<Party>, u64) {
    let (mut parties, mut failed) = (Vec::new(), 0);
    for conn in scene.conns.failed().chain(scene.conns.open()) {
        let is_there = listeners.iter().any(|listener| goes_to(scene, conn, listener));
        let fails = match &conn.close {
            Some(close) => close.is_failure(),
            None => conn.established_ns.is_none() && conn.syn_retransmits > 0,
        };
        if scene.is_client(conn) && is_there && fails && claims.conn(conn.id) {
            failed += 1;
            conn.owner.iter().for_each(|owner| add(&mut parties, owner.clone()));
        }
    }
    (parties, failed)
}

/// Whether a connection of a client goes to this listener.
pub(super) fn goes_to(scene: &Scene, conn: &Conn, listener: &SurveySocket) -> bool {
    conn.ends.rport == Some(listener.lport)
        && (listener.laddr.is_unspecified() || conn.ends.raddr == Some(listener.laddr))
        && scene.destination(conn).contains(&listener.netns)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::{Close, Verdict, sample};

    use super::{
        super::sample::{Sample, Told},
        *,
    };

    const UNANSWERED: Close =
        Close { verdict: Verdict::ClosedRemote, unanswered: Some(true), connect_us: Some(90), ..sample::CLOSE };

    /// A server with this many descriptors of 16, and this many connections that its upstream has closed.
    fn server(descriptors: u64, kept: usize) -> Sample {
        let mut sample = Sample::default().bound(Transport::Tcp, 2, "10.0.2.1", 80, 20).process("stock", 20);
        let process = sample.survey.processes.first_mut().unwrap();
        (process.descriptors, process.descriptor_limit) = (Some(descriptors), Some(16));
        let listener = sample.survey.sockets.first().unwrap().clone();
        let upstream = |n| SurveySocket {
            state: TcpState::CloseWait,
            lport: 30_000 + n,
            raddr: "10.0.1.1".parse().unwrap(),
            rport: 8080,
            ..listener.clone()
        };
        let kept: Vec<SurveySocket> = (0..kept).map(|n| upstream(u16::try_from(n).unwrap())).collect();
        sample.survey.sockets.extend(kept);
        sample.look()
    }

    #[test]
    fn a_leak_is_named_with_its_peer_and_its_limit() {
        let sample = server(16, 12).connect(Told::client("shop", 10), &UNANSWERED);
        let (causes, claims) = sample.run(causes);
        let cause = causes.first().unwrap();
        assert_eq!(
            cause.text,
            "stock[20] in right has no descriptors left (16 of 16): it keeps 12 connections to 10.0.1.1:8080 that the \
             peer has closed (CLOSE_WAIT), and 1 connection of shop[10] stay without an answer"
        );
        assert_eq!((cause.culprits.len(), cause.sufferers.len(), cause.certain), (1, 1, true));
        assert!(sample.scene.conns.failed().all(|conn| claims.has_conn(conn.id)));
    }

    #[test]
    fn others_are_left_alone() {
        let (few, _) = server(9, 6).connect(Told::client("shop", 10), &UNANSWERED).run(causes);
        assert!(few.is_empty(), "it has descriptors");
        let (well, _) = server(16, 12).run(causes);
        assert!(well.is_empty(), "none fails");
    }
}
