//! More sockets than the kernel side has room for: they have all events, marked, and are counted.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::churn::churn;
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::scale;
use tracer_tests::scene::Scene;
use tracer_tests::stream::Stream;
use tracer_tests::trace::Trace;

/// Closes that are marked as incomplete.
fn incomplete(stream: &Stream) -> Vec<&Value> {
    stream.kind("close").filter(|close| close["incomplete"] == true).collect()
}

fn untracked(stream: &Stream) -> Option<u64> {
    stream.summary()["incomplete"]["sockets_untracked"].as_u64()
}

#[test]
fn connections_beyond_the_table_are_told_and_counted() {
    alone();
    let scene = Scene::loopback_with(&["--sockets", "3"]);
    let mut facts = Vec::new();
    // All at the same time: one socket of the listener, and two of each connection.
    let listener = scene.listen("127.0.0.1:0");
    let mut pairs: Vec<Pair<'_>> = (0..5).map(|_| scene.pair(&listener)).collect();
    for (n, pair) in (1..).zip(&mut pairs) {
        pair.client_sends(n * 10);
        pair.server_sends(n);
    }
    let fd = scene.client.socket(6);
    let refused = scene.client.connect(fd, "[::1]:9");
    let refused = scene.attempt(&refused, "[::1]:9").never_established().ends("refused", Some("ECONNREFUSED"));
    facts.push(refused);
    // The sockets without room close first.
    for (n, pair) in (0..).zip(pairs.into_iter().rev()) {
        facts.extend(match n {
            0 => pair.client_closes_first(),
            1 => pair.server_resets(),
            2 => pair.client_resets(),
            _ => pair.server_closes_first(),
        });
    }
    facts.push(listener.close());
    let netns = scene.client_ns.inode();
    // Owners, verdicts and bytes are right without room, too.
    let stream = scene.expect(&facts);
    let marked = incomplete(&stream);
    assert_eq!(marked.iter().filter(|close| close["netns"] == netns).count(), 5 * 2 + 1 + 1 - 3, "{marked:#?}");
    assert_eq!(untracked(&stream), Some(marked.len() as u64), "each is counted once");
}

#[test]
fn nothing_is_counted_where_there_is_room() {
    alone();
    let scene = Scene::loopback_with(&["--sockets", "1000"]);
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = scene.pair(&listener).client_closes_first().to_vec();
    facts.push(listener.close());
    let stream = scene.expect(&facts);
    assert_eq!((untracked(&stream), incomplete(&stream).len()), (Some(0), 0));
    assert_eq!(stream.summary()["incomplete"]["closes_recovered"], 0);
}

/// The kernel gives the memory of a socket to the next one, whose number from the address is the same: each connection
/// has a name of its own nevertheless, and the right owner.
#[test]
fn many_beyond_the_table_one_after_another() {
    alone();
    let connections = scale::load(5000, 500);
    let ns = Netns::new();
    // Older than the trace, and open to its end.
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let old = Listener::open(&server, &ns, "127.0.0.1:0");
    let pair = Pair::open(&client, &ns, &old);
    let agent = Agent::live(&["--sockets", "3", "--netns", &ns.inode().to_string()]);
    let did = churn(&ns, connections);
    pair.client_resets();
    let ended = agent.stop();
    let missed = ended.stream.missed();
    let mut conns = BTreeSet::new();
    let (mut closes, mut unseen) = (0, 0);
    for close in ended.stream.kind("close") {
        assert!(conns.insert(close["conn"].as_str().expect("a name")), "one name for two: {close}");
        let pid = &close["owner"]["pid"];
        if close["rport"] == did["port"] || close["lport"] == did["port"] {
            closes += 1;
            let side = if close["role"] == "client" { "client" } else { "server" };
            // The parent, which is the client, owns the listener.
            let right = *pid == did[side]["pid"] || close["role"] == "listener";
            // After a missed accept() the owner is the listener's, and the source says so.
            assert!(right || close["owner_source"] == "listener", "{close}: {did}");
            unseen += u64::from(!right);
            assert_ne!(close["verdict"], "open_at_end", "{close}");
        } else {
            assert!(*pid == client.process.pid || *pid == server.process.pid, "{close}");
        }
    }
    assert!(unseen <= missed, "{missed} missed, {unseen} without their accept()");
    let due = 2 * connections as u64 + 1;
    assert!((due.saturating_sub(missed)..=due).contains(&closes), "{missed} missed, {closes} of {due} have closed");
    let marked = incomplete(&ended.stream).len() as u64;
    assert!(marked > connections as u64, "{marked} of {connections}");
    assert!(untracked(&ended.stream).expect("a count") >= marked, "each is counted");
    drop(old);
}

/// The kernel side cannot decide the process filter without room: the agent decides it.
#[test]
fn a_process_filter_holds_without_room() {
    alone();
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener_before = Listener::open(&server, &ns, "127.0.0.1:0");
    let worker = server.fork();
    let trace = Trace::with(&["--sockets", "1", "-p", &worker.process.pid.to_string()]);
    // It takes the only place, and the filter leaves it out.
    let other = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Vec::new();
    for acceptor in [&worker, &server, &worker] {
        let fd = client.socket(4);
        let connected = client.connect(fd, listener_before.addr);
        assert_eq!(connected.errno(), None);
        let reply = acceptor.must(json!({ "op": "accept", "fd": listener_before.fd }));
        client.send(fd, 9);
        acceptor.recv(reply.fd(), 9);
        client.on("close", fd);
        acceptor.on("recv_end", reply.fd());
        acceptor.on("close", reply.fd());
        let mut fact = listener_before.accepted(&reply).ends("closed_remote", None);
        (fact.rx, fact.listener_unseen) = (Some(9), true);
        facts.push(fact);
    }
    facts.retain(|fact| fact.owner.pid == worker.process.pid);
    assert_eq!(facts.len(), 2);
    let stream = trace.expect_filtered(&[&ns], &facts);
    assert_eq!(incomplete(&stream).len(), 2, "both are marked");
    assert!(untracked(&stream).expect("a count") >= 2);
    drop((other, listener_before));
}
