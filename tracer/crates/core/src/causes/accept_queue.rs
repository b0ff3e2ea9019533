//! A listener's accept queue is full: its process does not accept.

use tracer_stream::{Cause, Place, Severity};

use super::{
    claims::Claims,
    scene::Scene,
    survey::{Survey, SurveySocket},
    words::{add, counted, end, names, seconds},
};

/// `EADDRINUSE`.
const IN_USE: i32 = 98;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let host = scene.host();
    let full = host.sockets.iter().filter(|socket| is_listener(socket) && Survey::is_full(socket));
    full.filter_map(|listener| cause(scene, claims, listener)).collect()
}

/// Whether two listeners share a port (`SO_REUSEPORT`).
fn is_beside(one: &SurveySocket, other: &SurveySocket) -> bool {
    (one.netns, one.laddr) == (other.netns, other.laddr) && one.inode != other.inode
}

fn is_listener(socket: &SurveySocket) -> bool {
    socket.state == tracer_stream::TcpState::Listen
}

fn cause(scene: &Scene, claims: &mut Claims, listener: &SurveySocket) -> Option<Cause> {
    let at = end(Some(listener.laddr), Some(listener.lport));
    let holders: Vec<_> = listener.pids.iter().filter_map(|pid| scene.party(*pid)).collect();
    let mut sufferers = Vec::new();
    let (mut failed, mut syns, mut silent) = (0, 0, 0);
    for conn in scene.conns.failed().chain(scene.conns.open()) {
        let (Some(raddr), Some(rport)) = (conn.ends.raddr, conn.ends.rport) else { continue };
        let is_there = scene.host().homes(raddr).any(|home| home.inode == listener.netns)
            && rport == listener.lport
            && (listener.laddr == raddr || listener.laddr.is_unspecified());
        let waits = conn.established_ns.is_none() && (conn.syn_retransmits > 0 || conn.close.is_some());
        // The kernel took it into the queue, and the program has said nothing.
        let unanswered = conn.close.as_ref().is_some_and(|close| close.unanswered == Some(true));
        if is_there && unanswered && claims.conn(conn.id) {
            silent += 1;
            conn.owner.iter().for_each(|owner| add(&mut sufferers, owner.clone()));
        }
        if is_there && waits && claims.conn(conn.id) {
            failed += 1;
            syns += 1 + conn.syn_retransmits;
            conn.owner.iter().for_each(|owner| add(&mut sufferers, owner.clone()));
        }
    }
    let discarded: u64 = scene
        .discards
        .iter()
        .filter(|one| one.netns == Some(listener.netns))
        .filter(|one| one.socket.is_some_and(|ends| ends.lport == Some(listener.lport)))
        .map(|one| one.count)
        .sum();
    if failed == 0 && discarded == 0 && silent == 0 {
        return None;
    }
    let who = names(&holders);
    let hurt = match syns.max(discarded) {
        0 => counted(silent, "connection"),
        syns => counted(syns, "SYN"),
    };
    let text = format!(
        "{hurt} of {} unanswered: {at}{} takes no connections, accept queue of {who} is full ({} of {})",
        names(&sufferers),
        scene.in_netns(Some(listener.netns)),
        listener.recv_q,
        listener.send_q,
    );
    let mut evidence = Vec::new();
    if let Some(process) = listener.pids.first().and_then(|pid| scene.host().process(*pid)) {
        let sleeps = process.wchan.as_ref().map_or(String::new(), |wchan| format!(", sleeps in {wchan}"));
        let state = process.state.unwrap_or('?');
        let lived = seconds(scene.now_ns.saturating_sub(process.start_ns));
        evidence.push(format!("{who} is in state {state}{sleeps}, runs for {lived}"));
    }
    let others: Vec<_> = scene.listeners_of(listener.lport).filter(|other| is_beside(listener, other)).collect();
    if !others.is_empty() {
        let waiting: Vec<_> = others.iter().map(|other| format!("{} of {}", other.recv_q, other.send_q)).collect();
        let count = counted(others.len().try_into().unwrap_or(0), "other listener");
        evidence.push(format!("{count} of this port: {} wait there", waiting.join(", ")));
    }
    let mut in_vain = scene.calls.iter().filter(|call| {
        call.errno == IN_USE && (call.socket.netns, call.socket.lport) == (Some(listener.netns), Some(listener.lport))
    });
    if let Some(call) = in_vain.next() {
        let by = call.by.as_ref().map_or_else(|| "another process".to_owned(), |by| by.to_string());
        let held = match listener.pids.first().and_then(|pid| scene.host().process(*pid)) {
            Some(process) if process.parent <= 1 => ": the listener was left to a process whose parent is gone",
            _ => "",
        };
        evidence.push(format!("{by} cannot {} {at}: EADDRINUSE ({}){held}", call.call, counted(call.count, "time")));
        call.by.iter().for_each(|by| add(&mut sufferers, by.clone()));
    }
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
        count: failed.max(discarded).max(silent),
        evidence,
        next: vec![format!("tracer sockets -l --port {}", listener.lport)],
        ..Cause::new("accept_queue_full", Severity::Failure, text)
    })
}
