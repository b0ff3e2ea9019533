//! A listener's accept queue is full: its process does not accept.

use tracer_stream::{Cause, Place, Severity};

use super::{
    claims::Claims,
    scene::Scene,
    survey::{Survey, SurveySocket},
    words::{add, counted, end, names, seconds},
};

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let host = scene.host();
    let full = host.sockets.iter().filter(|socket| is_listener(socket) && Survey::is_full(socket));
    full.filter_map(|listener| cause(scene, claims, listener)).collect()
}

fn is_listener(socket: &SurveySocket) -> bool {
    socket.state == tracer_stream::TcpState::Listen
}

fn cause(scene: &Scene, claims: &mut Claims, listener: &SurveySocket) -> Option<Cause> {
    let at = end(Some(listener.laddr), Some(listener.lport));
    let holders: Vec<_> = listener.pids.iter().filter_map(|pid| scene.party(*pid)).collect();
    let mut sufferers = Vec::new();
    let (mut failed, mut syns) = (0, 0);
    for conn in scene.conns.failed().chain(scene.conns.open()) {
        let (Some(raddr), Some(rport)) = (conn.ends.raddr, conn.ends.rport) else { continue };
        let is_there = scene.host().homes(raddr).any(|home| home.inode == listener.netns)
            && rport == listener.lport
            && (listener.laddr == raddr || listener.laddr.is_unspecified());
        let waits = conn.established_ns.is_none() && (conn.syn_retransmits > 0 || conn.close.is_some());
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
    if failed == 0 && discarded == 0 {
        return None;
    }
    let who = names(&holders);
    let text = format!(
        "{} of {} unanswered: {at}{} takes no connections, accept queue of {who} is full ({} of {})",
        counted(syns.max(discarded), "SYN"),
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
        count: failed.max(discarded),
        evidence,
        next: vec![format!("tracer sockets -l --port {}", listener.lport)],
        ..Cause::new("accept_queue_full", Severity::Failure, text)
    })
}
