//! A listener whose process does not accept: connections wait in its queue, and once that is full its SYNs are dropped.

use tracer_stream::{Cause, Party, Place, Role, Severity, TcpState};

use super::{
    claims::Claims,
    scene::{Conn, FailedCall, Scene},
    survey::{Survey, SurveyProcess, SurveySocket},
    words::{add, counted, end, inside, names, percent, seconds},
};

/// The most listeners that are looked at.
const MOST: usize = 16;
/// The most listeners with a queue whose past is looked at.
const MOST_WAITING: usize = 128;
/// The shortest time for which connections wait without an accept(), if the queue is not full.
const PATIENCE_NS: u64 = 1_500_000_000;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let host = scene.host();
    let waits = |socket: &&SurveySocket| socket.state == TcpState::Listen && socket.recv_q > 0;
    let mut stuck: Vec<&SurveySocket> = host.sockets.iter().filter(waits).collect();
    // The fullest first: where several share a port, a connection that cannot be told belongs to it.
    stuck.sort_by_key(|listener| std::cmp::Reverse(listener.recv_q));
    stuck.truncate(MOST_WAITING);
    stuck.retain(|listener| is_stuck(scene, listener));
    // Each costs a look at all connections, and others choose how many there are.
    stuck.truncate(MOST);
    stuck.into_iter().filter_map(|listener| cause(scene, claims, listener)).collect()
}

/// Whether connections wait in the queue of this listener, in every survey that can tell, and no fewer of them.
fn is_stuck(scene: &Scene, listener: &SurveySocket) -> bool {
    let Some(first) = &scene.first else { return false };
    let before = scene.before.as_ref().unwrap_or(first);
    let same = |survey: &Survey| survey.sockets.iter().find(|socket| is_same(socket, listener)).map(|one| one.recv_q);
    let waits = |survey: &Survey| same(survey).is_some_and(|queue| queue > 0 && queue <= listener.recv_q);
    let full = |survey: &Survey| same(survey).is_some_and(|queue| queue > listener.send_q);
    let looked_for = scene.host().boot_ns.saturating_sub(before.boot_ns);
    if Survey::is_full(listener) {
        return discards(scene, listener) > 0 || looked_for > 0 && full(before);
    }
    let since = scene.host().boot_ns.saturating_sub(first.boot_ns);
    let accepts = last_accept(scene, listener).is_some_and(|at| at + PATIENCE_NS > first.boot_ns);
    since >= PATIENCE_NS && !accepts && waits(first) && waits(before)
}

fn is_same(one: &SurveySocket, other: &SurveySocket) -> bool {
    one.state == TcpState::Listen
        && (one.netns, one.inode, one.laddr, one.lport) == (other.netns, other.inode, other.laddr, other.lport)
}

/// The last accept() that the trace has seen at this listener.
fn last_accept(scene: &Scene, listener: &SurveySocket) -> Option<u64> {
    listener.pids.iter().filter_map(|pid| scene.accepts.get(&(*pid, listener.lport)).copied()).max()
}

/// SYNs and last ACKs that the kernel threw away at this listener.
fn discards(scene: &Scene, listener: &SurveySocket) -> u64 {
    discards_of(scene, listener).map(|(count, _)| count).sum()
}

/// Each with the time since the last accept(), µs.
fn discards_of(scene: &Scene, listener: &SurveySocket) -> impl Iterator<Item = (u64, Option<u64>)> {
    let is = |ends: &super::scene::Ends, owner: Option<u32>| {
        (ends.netns, ends.lport) == (Some(listener.netns), Some(listener.lport))
            && owner.is_none_or(|pid| listener.pids.contains(&pid))
    };
    scene.discards.iter().filter_map(move |one| {
        let owner = one.owner.as_ref().map(|party| party.pid);
        one.socket.filter(|ends| is(ends, owner)).map(|_| (one.count, one.last.no_accept_us))
    })
}

/// What waits for this listener.
#[derive(Default)]
struct Waiting {
    sufferers: Vec<Party>,
    /// Clients on other hosts.
    strangers: Vec<String>,
    /// Connections that failed, or have no answer yet.
    connections: u64,
    /// Of these, those whose SYN has no answer.
    unanswered: u64,
    syns: u64,
    longest_ns: u64,
}

impl Waiting {
    fn add(&mut self, scene: &Scene, conn: &Conn, client: bool) {
        self.connections += 1;
        let ended_ns = conn.closed_ns.unwrap_or(scene.now_ns);
        self.longest_ns = self.longest_ns.max(ended_ns.saturating_sub(conn.since_ns));
        match (&conn.owner, client) {
            (Some(owner), true) => add(&mut self.sufferers, Party { netns: conn.ends.netns, ..owner.clone() }),
            _ => {
                let from = conn.ends.raddr.filter(|_| !client).map(|addr| addr.to_string());
                self.strangers.extend(from.filter(|addr| self.strangers.len() < 3 && !self.strangers.contains(addr)));
            }
        }
    }

    fn of(scene: &Scene, claims: &mut Claims, listener: &SurveySocket) -> Self {
        let mut waiting = Self::default();
        for conn in scene.conns.failed().chain(scene.conns.open()) {
            if claims.has_conn(conn.id) {
                continue;
            }
            let is_client = conn.role == Role::Client && reaches(scene, conn, listener);
            if is_client && conn.established_ns.is_none() && !conn.older {
                // Its SYN, or the ACK after it, was thrown away.
                let waits = conn.syn_retransmits > 0 || conn.close.as_ref().is_some_and(is_silent);
                // One that has only just begun will wait as the others do.
                let begins = conn.close.is_none() && Survey::is_full(listener);
                let is_ours = (waits || begins) && claims.conn(conn.id);
                if waits && is_ours {
                    waiting.add(scene, conn, true);
                    waiting.unanswered += 1;
                    waiting.syns += 1 + conn.syn_retransmits;
                }
            } else if is_client && is_in_queue(scene, conn, listener) {
                let gave_up = conn.close.is_some();
                let waits = gave_up || scene.now_ns.saturating_sub(conn.since_ns) >= PATIENCE_NS;
                if waits && claims.conn(conn.id) {
                    waiting.add(scene, conn, true);
                }
            } else if conn.role == Role::Server
                && conn.accepted_ns.is_none()
                && (conn.ends.netns, conn.ends.lport) == (Some(listener.netns), Some(listener.lport))
                && conn.owner.as_ref().is_some_and(|owner| listener.pids.contains(&owner.pid))
                && scene.twin(conn).is_none()
                && scene.now_ns.saturating_sub(conn.since_ns) >= PATIENCE_NS
                && claims.conn(conn.id)
            {
                waiting.add(scene, conn, false);
            }
        }
        waiting
    }
}

/// Whether the client got no answer at all.
fn is_silent(close: &tracer_stream::Close) -> bool {
    use tracer_stream::Verdict;
    matches!(close.verdict, Verdict::NoAnswer | Verdict::TimedOut)
}

/// Whether the connections of a client arrive at this listener's end.
fn reaches(scene: &Scene, conn: &Conn, listener: &SurveySocket) -> bool {
    conn.ends.rport == Some(listener.lport)
        && (listener.laddr.is_unspecified() || conn.ends.raddr == Some(listener.laddr))
        && scene.destination(conn).contains(&listener.netns)
}

/// Whether the other end of a client's connection still waits in the queue of this listener.
fn is_in_queue(scene: &Scene, conn: &Conn, listener: &SurveySocket) -> bool {
    match scene.twin(conn) {
        Some(twin) if !twin.older => {
            twin.accepted_ns.is_none()
                && twin.role == Role::Server
                && twin.owner.as_ref().is_some_and(|owner| listener.pids.contains(&owner.pid))
        }
        // Of one that is older than the trace the survey tells: it has no file yet.
        _ => {
            let Some((laddr, lport, raddr, rport)) = super::scene::tuple(conn) else { return false };
            scene.socket_of((raddr, rport, laddr, lport)).is_some_and(|socket| {
                socket.inode == 0
                    && matches!(socket.state, TcpState::Established | TcpState::CloseWait)
                    && socket.pids == listener.pids
            })
        }
    }
}

fn cause(scene: &Scene, claims: &mut Claims, listener: &SurveySocket) -> Option<Cause> {
    let at = end(Some(listener.laddr), Some(listener.lport));
    let here = scene.in_netns(Some(listener.netns));
    let holders: Vec<Party> = listener.pids.iter().filter_map(|pid| scene.party(*pid)).collect();
    let holder = holders.first().cloned();
    let who = if holders.is_empty() { "a process".to_owned() } else { names(&holders) };
    let waiting = Waiting::of(scene, claims, listener);
    let dropped = discards(scene, listener);
    let full = Survey::is_full(listener);
    let binders = binders(scene, claims, listener, holder.as_ref());
    if !full && waiting.connections == 0 && binders.is_empty() {
        // It may accept for the first time, or rarely, and harm none.
        return None;
    }
    let (queue, limit) = (listener.recv_q, listener.send_q);
    let state = if full {
        format!("accept queue full, {queue} of {limit}")
    } else {
        format!("{queue} of {limit} wait in its accept queue")
    };
    let others: Vec<&SurveySocket> = scene
        .listeners_of(listener.lport)
        .filter(|other| (other.netns, other.laddr) == (listener.netns, listener.laddr) && other.inode != listener.inode)
        .collect();
    let process = listener.pids.first().and_then(|pid| scene.host().process(*pid));
    let is_stopped = process.is_some_and(|process| matches!(process.state, Some('T' | 't')));
    let idle_us = discards_of(scene, listener).filter_map(|(_, idle)| idle).min();
    let accepted_ns = last_accept(scene, listener);
    let watched_ns = scene.now_ns.saturating_sub(scene.began_ns);
    let never = match idle_us {
        _ if is_stopped => " is stopped (state T)".to_owned(),
        _ if accepted_ns.is_some_and(|at| at + PATIENCE_NS > scene.now_ns) => " accepts too slowly".to_owned(),
        _ if accepted_ns.is_some() => {
            let at = accepted_ns.unwrap_or(scene.now_ns);
            format!(" has not accepted for {}", seconds(scene.now_ns.saturating_sub(at)))
        }
        Some(us) => format!(" has not accepted for {}", seconds((us * 1000).max(PATIENCE_NS))),
        None if scene.sees_accepts => format!(" has not accepted for {} at least", seconds(watched_ns)),
        None => " leaves them there".to_owned(),
    };
    let mut sufferers = waiting.sufferers.clone();
    let harm = harm(&waiting, dropped);
    let text = if let [binder, ..] = binders.as_slice() {
        binders.iter().filter_map(|call| call.by.clone()).for_each(|by| add(&mut sufferers, by));
        let tries: u64 = binders.iter().map(|call| call.count).sum();
        let by = binder.by.as_ref().map_or_else(|| "another program".to_owned(), Party::to_string);
        format!(
            "{at}{here} is held by {who}, which{never} ({state}): {by} cannot bind it (EADDRINUSE, {}); {harm}",
            counted(tries, "time")
        )
    } else if others.is_empty() {
        format!("{at}{here} takes no connections: {who}{never}, {state}; {harm}")
    } else {
        let rest: u32 = others.iter().map(|other| other.recv_q).sum();
        format!(
            "{at}{here}: {} listeners share the port, and that of {who}{never} ({state}; of the others {rest}); {harm}",
            others.len() + 1
        )
    };
    let mut evidence = Vec::new();
    if !others.is_empty() {
        let part = percent(1.0 / (others.len() + 1) as f64);
        evidence.push(format!(
            "the kernel gives each of the {} listeners about {part} of the connections",
            others.len() + 1
        ));
    }
    if let Some(process) = process {
        evidence.push(doing(scene, process, &who, !binders.is_empty()));
    }
    if dropped > 0 {
        evidence.push(format!("{} or last ACKs of handshakes dropped at this queue", counted(dropped, "SYN")));
    }
    let flow = match (listener.laddr.is_unspecified(), waiting.sufferers.is_empty()) {
        (false, false) => scene.flows.to(None, Some(listener.laddr), Some(listener.lport)),
        _ => super::scene::Flow::default(),
    };
    if flow.connections > 0 && flow.failed > 0 && evidence.len() < 3 {
        evidence.push(format!(
            "{} of {} that ended had no success, the longest wait was {}",
            flow.failed,
            counted(flow.connections, "connection"),
            seconds(waiting.longest_ns)
        ));
    }
    let pid = holder.as_ref().map(|party| party.pid);
    let mut next = vec![inside(scene, Some(listener.netns), &format!("ss -ltnp sport = :{}", listener.lport))];
    next.extend(pid.map(|pid| format!("cat /proc/{pid}/stack")));
    Some(Cause {
        certain: true,
        sufferers,
        culprits: holders,
        place: Place {
            netns: Some(listener.netns),
            netns_name: Some(scene.netns_name(listener.netns)),
            listener: Some(at.clone()),
            ..Place::default()
        },
        peer: Some(at),
        count: waiting.connections.max(dropped),
        share: (flow.connections > 0).then(|| flow.failed as f64 / flow.connections as f64),
        evidence,
        next,
        ..Cause::new("accept_queue_full", Severity::Failure, text)
    })
}

/// The failed bind() and listen() calls of others for this end.
fn binders<'s>(
    scene: &'s Scene,
    claims: &mut Claims,
    listener: &SurveySocket,
    holder: Option<&Party>,
) -> Vec<&'s FailedCall> {
    let is_for = |call: &FailedCall| {
        let held = call.held_by.as_ref().is_none_or(|held| listener.pids.contains(&held.pid));
        call.call != "accept"
            && call.errno == libc::EADDRINUSE
            && call.socket.lport == Some(listener.lport)
            && call.socket.netns.is_none_or(|netns| netns == listener.netns)
            && held
            && call.by.as_ref().map(|by| &by.comm) != holder.map(|holder| &holder.comm)
    };
    let found = scene.calls.iter().enumerate().filter(|(_, call)| is_for(call));
    found.filter(|(number, _)| claims.call(*number)).map(|(_, call)| call).collect()
}

/// What the connections suffer, in words.
fn harm(waiting: &Waiting, dropped: u64) -> String {
    let clients = match (waiting.sufferers.is_empty(), waiting.strangers.as_slice()) {
        (false, _) => names(&waiting.sufferers),
        (true, []) => "clients".to_owned(),
        (true, strangers) => format!("clients at {}", strangers.join(", ")),
    };
    let inside = waiting.connections - waiting.unanswered;
    let mut parts = Vec::new();
    if waiting.syns > 0 || dropped > 0 {
        parts.push(format!("{} of {clients} unanswered", counted(waiting.syns.max(dropped), "SYN")));
    }
    if inside > 0 {
        let whose = if parts.is_empty() { format!(" of {clients}") } else { String::new() };
        parts.push(format!("{}{whose} had no answer from its queue", counted(inside, "connection")));
    }
    if parts.is_empty() { "no client is known to suffer".to_owned() } else { parts.join(", ") }
}

/// What the holder does instead.
fn doing(scene: &Scene, process: &SurveyProcess, who: &str, orphan: bool) -> String {
    let state = match process.state {
        Some('T' | 't') => "is stopped (state T)".to_owned(),
        Some('D') => "is in uninterruptible sleep (state D)".to_owned(),
        Some('R') => "runs (state R)".to_owned(),
        Some('Z') => "is a zombie".to_owned(),
        _ => "sleeps".to_owned(),
    };
    let place = process.wchan.as_ref().map_or_else(String::new, |wchan| format!(" in {wchan}"));
    let lived = seconds(scene.now_ns.saturating_sub(process.start_ns));
    let parent = if orphan && process.parent == 1 {
        ", its parent is gone (an orphan that has inherited the listener)"
    } else {
        ""
    };
    let room = match (process.descriptors, process.descriptor_limit) {
        (Some(open), Some(limit)) if open + 1 >= limit => format!(", {open} of {limit} descriptors are open"),
        _ => String::new(),
    };
    format!("{who} {state}{place}, has run for {lived}{parent}{room}")
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::{Close, Segment, Verdict};

    use super::super::{
        sample::{S, Sample, Told},
        survey::Transport,
    };
    use super::*;

    const SILENT: Close =
        Close { verdict: Verdict::NoAnswer, syns: Some(3), duration_us: Some(3_000_000), ..Close::UNKNOWN };

    fn queue(mut sample: Sample, number: usize, waiting: u32, limit: u32) -> Sample {
        let socket = &mut sample.survey.sockets[number];
        (socket.recv_q, socket.send_q, socket.inode) = (waiting, limit, 70 + number as u64);
        sample
    }

    fn server(waiting: u32) -> Sample {
        let sample = Sample::default().process("worker", 40).bound(Transport::Tcp, 2, "10.0.2.1", 8000, 40);
        queue(sample, 0, waiting, 16)
    }

    fn client() -> Told {
        Told::client("app", 8).to("10.0.2.1", 8000)
    }

    #[test]
    fn a_full_queue_explains_the_silence() {
        let sample = server(17).look().connect(client(), &SILENT).later(2 * S).look();
        let (causes, claims) = sample.run(causes);
        let cause = &causes[0];
        assert_eq!(causes.len(), 1);
        assert_eq!(cause.culprits[0].comm, "worker");
        assert_eq!(cause.sufferers[0].comm, "app");
        let text = "10.0.2.1:8000 in right takes no connections: worker[40] has not accepted for 2.0 s at least, accept \
                    queue full, 17 of 16; 1 SYN of app[8] unanswered";
        assert_eq!(cause.text, text);
        assert!(claims.has_conn(tracer_stream::ConnId(1)));
    }

    #[test]
    fn where_no_accept_is_seen_none_is_denied() {
        let mut sample = server(17);
        sample.scene.sees_accepts = false;
        let (causes, _) = sample.look().connect(client(), &SILENT).later(2 * S).look().run(causes);
        assert!(causes[0].text.contains("worker[40] leaves them there, accept queue full"), "{}", causes[0].text);
    }

    #[test]
    fn the_stuck_one_of_several_that_share_a_port() {
        let sample = server(17).process("worker", 41).bound(Transport::Tcp, 2, "10.0.2.1", 8000, 41);
        let sample = queue(sample, 1, 0, 16).look().open(&client(), None).again(&client(), Segment::Syn, 2);
        let (causes, _) = sample.later(2 * S).look().run(causes);
        assert_eq!(causes.len(), 1);
        assert_eq!(causes[0].culprits[0].pid, 40);
        assert!(causes[0].text.contains("2 listeners share the port"), "{}", causes[0].text);
        assert!(causes[0].text.contains("3 SYNs of app[8]"), "{}", causes[0].text);
    }

    #[test]
    fn what_drains_is_in_order() {
        let mut sample = server(9).look().later(2 * S);
        sample.survey.sockets[0].recv_q = 2;
        assert!(sample.look().run(causes).0.is_empty(), "some were accepted");
        let mut sample = server(0).look().later(2 * S);
        sample.survey.sockets[0].recv_q = 17;
        assert!(sample.look().run(causes).0.is_empty(), "a burst, and nothing was dropped");
        assert!(server(2).look().later(2 * S).look().run(causes).0.is_empty(), "no client suffers");
    }

    #[test]
    fn an_orphan_keeps_the_port_of_another_program() {
        let mut sample = server(17);
        sample.survey.processes[0].parent = 1;
        let mut sample = sample.look().connect(client(), &SILENT).later(2 * S).look();
        let by = sample.scene.party(40).map(|party| Party { pid: 77, comm: "gateway".into(), ..party });
        let ends = super::super::scene::Ends { netns: Some(2), lport: Some(8000), ..Default::default() };
        let failed =
            FailedCall { call: "bind", errno: libc::EADDRINUSE, by, socket: ends, held_by: None, count: 3, last_ns: 0 };
        sample.scene.calls.push(failed);
        let (causes, claims) = sample.run(causes);
        assert!(causes[0].text.contains("is held by worker[40]"), "{}", causes[0].text);
        assert!(causes[0].text.contains("gateway[77] cannot bind it (EADDRINUSE, 3 times)"), "{}", causes[0].text);
        assert!(causes[0].evidence[0].contains("orphan"), "{:?}", causes[0].evidence);
        assert!(claims.has_call(0));
    }
}
