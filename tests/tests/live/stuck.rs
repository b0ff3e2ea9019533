//! Processes whose memory map stays locked: their arguments cannot be read, and nothing else may wait for them.

use std::net::{TcpListener, TcpStream};

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::generator::Actor;
use tracer_tests::netns::Netns;
use tracer_tests::skip::skip;
use tracer_tests::stuck::Stuck;

/// Another process connects to `to` and closes: checks that its events come with all facts.
fn others_are_told(agent: &Agent, ns: &Netns, to: &str) {
    let other = Actor::start(ns);
    let fd = other.socket(4);
    assert_eq!(other.connect(fd, to).errno(), None);
    let pid = other.process.pid;
    other.on("close", fd);
    let close =
        agent.wait_for("close of another process", |event| event["event"] == "close" && event["owner"]["pid"] == pid);
    assert!(close["owner"]["exe"].is_string() && close["owner"].get("facts").is_none(), "{close}");
    let told = |event: &Value| event["event"] == "process" && event["pid"] == pid;
    let process = agent.wait_for("its process", told);
    assert!(process["cmdline"].to_string().contains("actor"), "its arguments are there: {process}");
}

/// Returns the stuck process's `established` event of its local port `port`, and its `process` event.
fn of_the_stuck_one(agent: &Agent, pid: u32, port: u16) -> (Value, Value) {
    let event = agent.wait_for("its connection", |event| {
        event["event"] == "established" && event["role"] == "client" && event["lport"] == port
    });
    let owner = &event["owner"];
    assert_eq!((&owner["pid"], &owner["comm"], &owner["uid"]), (&pid.into(), &"traffic".into(), &0.into()), "{event}");
    assert!(owner["exe"].as_str().is_some_and(|exe| exe.ends_with("/traffic")), "{event}");
    assert_eq!(event["owner_source"], "connect", "{event}");
    let process = agent.wait_for("its process", |event| event["event"] == "process" && event["pid"] == pid);
    (event, process)
}

/// Accepts the next connection; returns it and the peer's port.
fn next_of(listener: &TcpListener) -> (TcpStream, u16) {
    let (stream, peer) = listener.accept().expect("it connects");
    (stream, peer.port())
}

/// Checks that the trace ends although the map is still locked.
fn ends(agent: Agent, pid: u32, port: u16) {
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.stream.lost(), 0, "{}", ended.stream.summary());
    let close = ended.stream.kind("close").find(|close| close["lport"] == port && close["role"] == "client");
    let close = close.expect("its connection");
    assert_eq!((&close["verdict"], &close["owner"]["pid"]), (&"open_at_end".into(), &pid.into()), "{close}");
}

#[test]
fn a_process_whose_map_was_locked_before_holds_nobody_up() {
    alone();
    let ns = Netns::new();
    let listener = ns.within(|| TcpListener::bind("127.0.0.1:4690").expect("it listens"));
    let others = ns.within(|| TcpListener::bind("127.0.0.1:4691").expect("it listens"));
    let mut stuck = match Stuck::start(&ns, listener.local_addr().expect("an address")) {
        Ok(stuck) => stuck,
        Err(reason) => return skip(&reason),
    };
    stuck.stick();
    let agent = Agent::live(&["--netns", ns.name()]);
    others_are_told(&agent, &ns, "127.0.0.1:4691");
    stuck.connect();
    let (held, port) = next_of(&listener);
    others_are_told(&agent, &ns, "127.0.0.1:4691");
    let (event, process) = of_the_stuck_one(&agent, stuck.pid, port);
    assert_eq!(event["owner"]["facts"], "timeout", "{event}");
    assert!(process["cmdline"].is_null(), "the map was locked before: {process}");
    ends(agent, stuck.pid, port);
    drop((held, others, stuck));
}

#[test]
fn a_process_whose_map_is_locked_in_the_trace_keeps_what_was_known_of_it() {
    alone();
    let ns = Netns::new();
    let listener = ns.within(|| TcpListener::bind("127.0.0.1:4692").expect("it listens"));
    let others = ns.within(|| TcpListener::bind("127.0.0.1:4693").expect("it listens"));
    let agent = Agent::live(&["--netns", ns.name()]);
    let mut stuck = match Stuck::start(&ns, listener.local_addr().expect("an address")) {
        Ok(stuck) => stuck,
        Err(reason) => return skip(&reason),
    };
    stuck.connect();
    let (first, port) = next_of(&listener);
    let (event, process) = of_the_stuck_one(&agent, stuck.pid, port);
    assert!(event["owner"].get("facts").is_none(), "{event}");
    assert!(process["cmdline"].to_string().contains("stuck-in"), "{process}");
    stuck.stick();
    stuck.connect();
    let (second, port) = next_of(&listener);
    others_are_told(&agent, &ns, "127.0.0.1:4693");
    let (event, _) = of_the_stuck_one(&agent, stuck.pid, port);
    assert!(event["owner"].get("facts").is_none(), "its facts are known: {event}");
    ends(agent, stuck.pid, port);
    drop((first, second, others, stuck));
}
