//! bind(), listen() and accept() that fail: why a service does not start, or accepts no connection.

use serde_json::{Value, json};
use tracer_tests::agent::Agent;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;

fn traced(netns: &Netns) -> Agent {
    Agent::live(&["--audit", "--netns", &netns.inode().to_string()])
}

fn finding<'a>(events: &'a [Value], name: &str) -> Option<&'a str> {
    events.iter().find(|event| event["event"] == "finding" && event["name"] == name)?["text"].as_str()
}

#[test]
fn a_bind_that_fails_says_who_holds_the_port() {
    let netns = Netns::new();
    // One listener is older than the trace, the other one younger.
    let (old, new) = (Actor::builder(&netns).comm("old").start(), Actor::start(&netns));
    let older = Listener::open(&old, &netns, "127.0.0.1:0");
    let agent = traced(&netns);
    let younger = Listener::open(&old, &netns, "[::]:0");
    for port in [older.addr.port(), younger.addr.port()] {
        let fd = new.socket(4);
        let reply = new.must(json!({ "op": "try_bind", "fd": fd, "addr": format!("0.0.0.0:{port}") }));
        assert_eq!(reply.errno(), Some("EADDRINUSE"));
        agent.wait_for("bind", |event| event["event"] == "bind" && event["lport"] == port);
    }
    let fd = new.socket(6);
    let reply = new.must(json!({ "op": "try_bind", "fd": fd, "addr": "[2001:db8::1]:7099" }));
    assert_eq!(reply.errno(), Some("EADDRNOTAVAIL"));
    agent.wait_for("bind", |event| event["event"] == "bind" && event["lport"] == 7099);
    let ended = agent.stop();
    let binds: Vec<&Value> = ended.stream.kind("bind").collect();
    assert_eq!(binds.len(), 3, "{binds:?}");
    for (bind, listener) in binds.iter().zip([&older, &younger]) {
        assert_eq!((&bind["errno"], &bind["laddr"]), (&json!("EADDRINUSE"), &json!("0.0.0.0")));
        assert_eq!(bind["lport"], listener.addr.port());
        assert_eq!((&bind["owner"]["pid"], &bind["owner_source"]), (&json!(new.process.pid), &json!("bind")));
        assert_eq!(bind["held_by"]["pid"], old.process.pid, "{bind}");
        assert_eq!((&bind["proto"], &bind["raddr"]), (&json!("tcp"), &Value::Null));
    }
    let unknown = binds[2];
    assert_eq!((&unknown["errno"], &unknown["laddr"]), (&json!("EADDRNOTAVAIL"), &json!("2001:db8::1")));
    assert_eq!(unknown["held_by"], Value::Null);
    assert_eq!(ended.stream.summary()["events"]["bind"], 3);
    let text = finding(&ended.stream.events, "cannot_bind").expect("a finding");
    assert!(text.contains(&format!("held by old[{}]", old.process.pid)), "{text}");
}

#[test]
fn a_bind_of_udp_that_fails_is_told() {
    let netns = Netns::new();
    let agent = traced(&netns);
    let taken = netns.within(|| std::net::UdpSocket::bind("127.0.0.1:0")).expect("a port");
    let addr = taken.local_addr().expect("an address");
    let refused = netns.within(|| std::net::UdpSocket::bind(addr));
    assert!(refused.is_err());
    let bind = agent.wait_for("bind", |event| event["event"] == "bind" && event["lport"] == addr.port());
    assert_eq!((&bind["proto"], &bind["errno"]), (&json!("udp"), &json!("EADDRINUSE")));
    assert_eq!(bind["owner"]["pid"], std::process::id());
    // The tracer cannot always know which of two sockets of one process is older.
    let held_by = &bind["held_by"];
    assert!(held_by.is_null() || held_by["pid"] == std::process::id(), "{bind}");
}

/// Both are bound, because of SO_REUSEADDR; only one may listen.
#[test]
fn a_listen_that_fails_is_no_orderly_end() {
    let netns = Netns::new();
    let actor = Actor::start(&netns);
    let agent = traced(&netns);
    let (first, second) = (actor.socket(4), actor.socket(4));
    for fd in [first, second] {
        actor.bind(fd, "127.0.0.1:7098");
    }
    assert_eq!(actor.must(json!({ "op": "try_listen", "fd": first })).errno(), None);
    assert_eq!(actor.must(json!({ "op": "try_listen", "fd": second })).errno(), Some("EADDRINUSE"));
    agent.wait_for("close", |event| event["event"] == "close");
    actor.on("close", first);
    agent.wait_for("close", |event| event["event"] == "close" && event["verdict"] == "closed_local");
    let ended = agent.stop();
    let closes: Vec<&Value> = ended.stream.kind("close").collect();
    assert_eq!(closes.len(), 2, "{closes:?}");
    assert_eq!((&closes[0]["verdict"], &closes[0]["errno"]), (&json!("failed_local"), &json!("EADDRINUSE")));
    assert_eq!((&closes[0]["role"], &closes[0]["owner"]["pid"]), (&json!("listener"), &json!(actor.process.pid)));
    assert_eq!(ended.stream.kind("listen").count(), 2);
    assert!(finding(&ended.stream.events, "cannot_bind").is_some_and(|text| text.contains("cannot listen on")));
}

#[test]
fn accepts_without_descriptors_are_told_once_a_second_and_counted_exactly() {
    const TIMES: u64 = 20_000;
    let netns = Netns::new();
    let master = Actor::start(&netns);
    let agent = traced(&netns);
    let listener = Listener::open(&master, &netns, "127.0.0.1:0");
    let worker = master.fork();
    worker.must(json!({ "op": "accept_without_descriptors", "fd": listener.fd, "times": TIMES }));
    agent.wait_for("error", |event| event["event"] == "error");
    let port = listener.addr.port();
    drop((worker, listener));
    let ended = agent.stop();
    let errors: Vec<&Value> = ended.stream.kind("error").collect();
    let total: u64 = errors.iter().filter_map(|error| error["count"].as_u64()).sum();
    assert_eq!(total, TIMES, "{errors:?}");
    assert!(errors.len() < 100, "{} events", errors.len());
    for error in &errors {
        assert_eq!((&error["errno"], &error["call"]), (&json!("EMFILE"), &json!("accept")));
        assert_eq!((&error["lport"], &error["role"]), (&json!(port), &json!("listener")));
        assert_ne!(error["owner"]["pid"], master.process.pid, "the worker has called it");
        assert_eq!(error["owner_source"], "accept");
    }
    let conn = ended.stream.kind("listen").next().expect("it listens")["conn"].clone();
    assert!(errors.iter().all(|error| error["conn"] == conn), "{errors:?}");
    assert!(finding(&ended.stream.events, "cannot_accept").is_some_and(|text| text.contains("EMFILE")));
}

/// The hook of accept() itself does not see these failures: they have a hook of their own.
#[test]
fn accepts_without_descriptors_have_a_hook_of_their_own_and_the_conn_of_an_older_listener() {
    let netns = Netns::new();
    let master = Actor::start(&netns);
    let listener = Listener::open(&master, &netns, "[::1]:0");
    let agent = traced(&netns);
    agent.wait_for("the older listener", |event| event["event"] == "open" && event["role"] == "listener");
    let worker = master.fork();
    worker.must(json!({ "op": "accept_without_descriptors", "fd": listener.fd, "times": 7 }));
    agent.wait_for("error", |event| event["event"] == "error");
    let port = listener.addr.port();
    drop((worker, listener));
    let ended = agent.stop();
    let summary = ended.stream.summary();
    assert!(summary["backends"]["sys_accept"].is_string(), "{summary}");
    let open = ended.stream.kind("open").find(|open| open["role"] == "listener").expect("it was open before");
    let errors: Vec<&Value> = ended.stream.kind("error").collect();
    let total: u64 = errors.iter().filter_map(|error| error["count"].as_u64()).sum();
    assert_eq!(total, 7, "{errors:?}");
    for error in errors {
        assert_eq!((&error["errno"], &error["call"]), (&json!("EMFILE"), &json!("accept")));
        assert_eq!((&error["conn"], &error["lport"], &error["laddr"]), (&open["conn"], &json!(port), &json!("::1")));
        assert_ne!(error["owner"]["pid"], master.process.pid);
    }
}
