//! Connections and listeners that are older than the trace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::net::TcpStream;

use serde_json::{Value, json};
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::busy::Busy;
use tracer_tests::churn::Endless;
use tracer_tests::generator::{Actor, Fact, Listener, Pair};
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::scale;
use tracer_tests::skip::skip;
use tracer_tests::stream::Stream;
use tracer_tests::trace::Trace;
use tracer_tests::traffic::{churn, sys};

/// The facts of a connection that is older than the trace, in these states.
fn older<'a>(pair: Pair<'a>, client: &'static str, server: &'static str) -> Pair<'a> {
    let Pair { client_fact, server_fact, .. } = pair;
    let (mut client_fact, mut server_fact) = (client_fact.preexisting(client), server_fact.preexisting(server));
    // Only the listener shows which side connected.
    (client_fact.any_role, server_fact.any_role) = (true, true);
    Pair { client_fact, server_fact, ..pair }
}

fn older_listener(mut listener: Listener<'_>) -> Listener<'_> {
    listener.fact = listener.fact.preexisting("LISTEN");
    listener
}

/// Connections in `near` and `far` (may be one) to `at` that begin before the trace and end in it.
fn opened_before(near: &Netns, far: &Netns, at: &str) {
    let (client, server) = (Actor::start(near), Actor::start(far));
    let listener = Listener::open(&server, far, at);
    let mut pairs: Vec<Pair<'_>> = (0..3).map(|_| Pair::open(&client, near, &listener)).collect();
    for pair in &mut pairs {
        pair.client_sends(100);
    }
    let trace = Trace::start();
    let listener = older_listener(listener);
    let mut facts = Vec::new();
    for (i, pair) in pairs.into_iter().enumerate() {
        let mut pair = older(pair, "ESTABLISHED", "ESTABLISHED");
        pair.server_sends(10);
        facts.extend(match i {
            0 => pair.client_closes_first(),
            1 => pair.server_closes_first(),
            _ => pair.client_resets(),
        });
    }
    facts.push(listener.close());
    let mut namespaces = vec![near];
    if near.inode() != far.inode() {
        namespaces.push(far);
    }
    trace.expect(&namespaces, &facts);
}

#[test]
fn opened_before_v4() {
    let ns = Netns::new();
    opened_before(&ns, &ns, "127.0.0.1:0");
}

#[test]
fn opened_before_v6() {
    let ns = Netns::new();
    opened_before(&ns, &ns, "[::1]:0");
}

#[test]
fn opened_before_between_namespaces() {
    let (near, far) = Netns::pair();
    opened_before(&near, &far, "10.7.0.2:0");
}

#[test]
fn half_closed_before() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let pair = Pair::open(&client, &ns, &listener);
    client.on("shutdown", pair.client_fd);
    server.await_state(pair.server_fd, "CLOSE_WAIT");
    client.await_state(pair.client_fd, "FIN_WAIT2");
    let trace = Trace::start();
    let mut pair = older(pair, "FIN_WAIT2", "CLOSE_WAIT");
    server.on("close", pair.server_fd);
    client.on("recv_end", pair.client_fd);
    client.on("close", pair.client_fd);
    pair.client_fact.end("closed_local", None);
    pair.server_fact.end("closed_remote", None);
    let mut facts = pair.facts().to_vec();
    facts.push(older_listener(listener).close());
    trace.expect(&[&ns], &facts);
}

#[test]
fn open_before_and_after() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let pair = Pair::open(&client, &ns, &listener);
    let trace = Trace::start();
    let mut facts: Vec<Fact> = older(pair, "ESTABLISHED", "ESTABLISHED").stays_open().to_vec();
    let mut listener = older_listener(listener).stay();
    listener.close_optional = false;
    facts.push(listener);
    trace.expect(&[&ns], &facts);
}

#[test]
fn older_listener_takes_new_connections() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let trace = Trace::start();
    let listener = older_listener(listener);
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
}

/// A connection that waits for accept() when the trace begins belongs to its listener, and ends with it.
#[test]
fn older_connections_that_wait_for_accept_are_the_listeners() {
    let ns = Netns::new();
    let server = Actor::start(&ns);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let at = listener.addr;
    let clients = [0; 3].map(|_| ns.within(|| TcpStream::connect(at).expect("it connects")));
    let agent = Agent::live(&["--netns", ns.name(), "--role", "server"]);
    let _ = listener.close();
    let of = |events: &[Value], kind: &str| {
        events.iter().filter(|e| e["event"] == kind && e["role"] == "server").cloned().collect::<Vec<_>>()
    };
    assert!(agent.settles(|events| of(events, "close").len() == clients.len()), "each has its close");
    let events = agent.stop().stream.events;
    for event in of(&events, "open").iter().chain(&of(&events, "close")) {
        let owner = json!([event["owner"]["pid"], event["owner_source"]]);
        assert_eq!(owner, json!([server.process.pid, "listener"]), "{event}");
    }
    assert_eq!(of(&events, "open").len(), clients.len());
    assert!(of(&events, "close").iter().all(|e| e["verdict"] == "listener_closed"), "{events:?}");
}

#[test]
fn over_before() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    // This leaves a socket in TIME_WAIT, which has no owner.
    let _ = Pair::open(&client, &ns, &listener).client_closes_first();
    let _ = listener.close();
    let trace = Trace::start();
    trace.expect(&[&ns], &[]);
}

/// A listener that only a thread with a file table of its own holds.
#[test]
fn what_one_thread_holds_has_its_owner() {
    let busy = Busy::start();
    if busy.apart == 0 {
        return skip("kernel: unshare(CLONE_FILES) is refused");
    }
    let said = Trace::start().told(&[]);
    let netns = busy.ns.inode();
    let open = said.of_netns(netns).find(|e| e["event"] == "open" && e["lport"] == busy.apart).expect("it is told");
    assert_eq!(open["owner"]["pid"], busy.holder.id(), "{open}");
}

#[test]
fn start_race() {
    alone();
    let ns = Netns::new();
    let path = scratch().join("start-race");
    // Connections go on until the end; the tracer starts in the middle.
    let churn = Endless::start(&ns, 2, &[], Some(&path));
    // Into a file: a reader of the stream would be the bottleneck.
    let stream = scratch().join("start-race-stream");
    let agent = Agent::live_into(File::create(&stream).expect("the stream's file is made"), &[]);
    let ready = sys::boot_ns();
    // The events of one connection have some thousand bytes.
    let enough = scale::load(15_000, 2000) as u64 * 2000;
    sys::until(|| Ok(stream.metadata().is_ok_and(|file| file.len() > enough))).expect("connections go on");
    let did = churn.end();
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let said = Stream::read(BufReader::new(File::open(&stream).expect("the stream opens")));
    std::fs::remove_file(&stream).expect("the stream is removed");
    assert_eq!(said.lost(), 0, "{}", said.summary());

    // Connections that began after the start are all there, thread by thread, in order.
    let facts = churn::facts(&path);
    std::fs::remove_file(&path).expect("the facts are removed");
    let mut seen: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for (conn, mut events) in said.conns(&[ns.inode()]) {
        // Events of its last packets may come after its close.
        events.retain(|e| !["drop", "reset", "retransmit"].iter().any(|kind| e["event"] == *kind));
        let count = |kind: &str| events.iter().filter(|e| e["event"] == kind).count();
        let close = events.last().expect("a connection has an event");
        if close["role"] == "listener" {
            continue;
        }
        // A connection that was in the middle comes once: it begins with `open` or with its first event.
        assert_eq!((count("close"), &close["event"]), (1, &"close".into()), "{conn}: {events:?}");
        assert!(count("open") + count("connect") <= 1, "{conn}: {events:?}");
        if let Some(connect) = events.iter().find(|e| e["event"] == "connect") {
            let tid = close["owner"]["tid"].as_u64().expect("an owner");
            let at = connect["boot_ns"].as_u64().expect("a time");
            seen.entry(tid).or_default().push((close["lport"].as_u64().expect("a port"), at));
        }
    }
    assert_eq!(facts.len(), 2);
    let connections: usize = facts.values().map(Vec::len).sum();
    assert_eq!(did["connections"], connections);
    let mut after_ready = 0;
    for (tid, did) in &facts {
        let late: Vec<u64> = did.iter().filter(|(_, began)| *began > ready).map(|(port, _)| *port).collect();
        let mut came = seen.remove(tid).unwrap_or_default();
        came.sort_by_key(|(_, at)| *at);
        let came: Vec<u64> = came.iter().rev().take(late.len()).rev().map(|(port, _)| *port).collect();
        assert_eq!(came, late, "thread {tid}");
        after_ready += late.len();
    }
    assert!(after_ready > 0 && after_ready < connections, "the tracer started in the middle: {after_ready}");
}
