//! The holder of the port of a bind() or listen() that failed.

use serde_json::{Value, json};
use tracer_tests::agent::Agent;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::machine::tells_of_bound_sockets;
use tracer_tests::netns::Netns;

fn traced(netns: &Netns) -> Agent {
    Agent::live(&["--netns", &netns.inode().to_string()])
}

/// Waits for the event of the only bind() that failed; returns it.
fn only_bind(agent: Agent) -> Value {
    agent.wait_for("bind", |event| event["event"] == "bind");
    let ended = agent.stop();
    let binds: Vec<&Value> = ended.stream.kind("bind").collect();
    let [bind] = binds[..] else { panic!("{binds:?}") };
    assert_eq!((&bind["errno"], &ended.stream.summary()["events"]["bind"]), (&json!("EADDRINUSE"), &json!(1)));
    bind.clone()
}

#[test]
fn a_udp_port_is_held_by_whoever_has_bound_it() {
    let netns = Netns::new();
    let (holder, other) = (Actor::builder(&netns).comm("resolver").start(), Actor::start(&netns));
    holder.bind(holder.datagram_socket(4), "127.0.0.1:5353");
    let agent = traced(&netns);
    assert_eq!(other.try_bind(other.datagram_socket(4), "0.0.0.0:5353").as_deref(), Some("EADDRINUSE"));
    let bind = only_bind(agent);
    assert_eq!((&bind["proto"], &bind["owner"]["pid"]), (&json!("udp"), &json!(other.process.pid)));
    assert_eq!(bind["held_by"]["pid"], holder.process.pid, "{bind}");
    assert_eq!(bind["held_by"]["comm"], "resolver");
}

#[test]
fn a_udp_port_of_ipv6_at_any_address_holds_the_one_of_ipv4() {
    let netns = Netns::new();
    let (dual, other) = (Actor::start(&netns), Actor::start(&netns));
    dual.bind(dual.datagram_socket(6), "[::]:5354");
    let agent = traced(&netns);
    assert_eq!(other.try_bind(other.datagram_socket(4), "127.0.0.1:5354").as_deref(), Some("EADDRINUSE"));
    assert_eq!(only_bind(agent)["held_by"]["pid"], dual.process.pid);
}

/// A TCP port is another port than a UDP port.
#[test]
fn a_tcp_listener_does_not_hold_a_udp_port() {
    let netns = Netns::new();
    let (tcp, udp, other) = (Actor::start(&netns), Actor::start(&netns), Actor::start(&netns));
    let listener = tcp.socket(4);
    tcp.bind(listener, "127.0.0.1:5355");
    tcp.must(json!({ "op": "listen", "fd": listener, "backlog": 1 }));
    udp.bind(udp.datagram_socket(4), "127.0.0.1:5355");
    let agent = traced(&netns);
    assert_eq!(other.try_bind(other.datagram_socket(4), "127.0.0.1:5355").as_deref(), Some("EADDRINUSE"));
    assert_eq!(only_bind(agent)["held_by"]["pid"], udp.process.pid);
}

#[test]
fn a_socket_that_is_merely_bound_holds_its_port() {
    let netns = Netns::new();
    let (holder, other) = (Actor::start(&netns), Actor::start(&netns));
    holder.bind(holder.socket(4), "127.0.0.1:7101");
    let agent = traced(&netns);
    assert_eq!(other.try_bind(other.socket(4), "127.0.0.1:7101").as_deref(), Some("EADDRINUSE"));
    let bind = only_bind(agent);
    // On older kernels no table has the socket.
    let known = if tells_of_bound_sockets() { json!(holder.process.pid) } else { Value::Null };
    assert_eq!(bind["held_by"]["pid"], known, "{bind}");
}

/// A service starts again while a worker of the former one still talks to a client.
#[test]
fn a_connection_that_has_outlived_its_listener_holds_the_port() {
    let netns = Netns::new();
    let (server, other) = (Actor::start(&netns), Actor::start(&netns));
    let listener = Listener::open(&server, &netns, "127.0.0.1:0");
    let client = netns.within(|| std::net::TcpStream::connect(listener.addr)).expect("it connects");
    server.on("accept", listener.fd);
    let port = listener.addr.port();
    drop(listener);
    let agent = traced(&netns);
    assert_eq!(other.try_bind(other.socket(4), format!("0.0.0.0:{port}").as_str()).as_deref(), Some("EADDRINUSE"));
    let bind = only_bind(agent);
    assert_eq!(bind["held_by"]["pid"], server.process.pid, "{bind}");
    drop(client);
}

/// Both sockets are in the way: the tracer blames neither.
#[test]
fn of_two_processes_that_share_a_port_none_is_blamed() {
    let netns = Netns::new();
    let (one, two, other) = (Actor::start(&netns), Actor::start(&netns), Actor::start(&netns));
    for actor in [&one, &two] {
        actor.bind(actor.datagram_socket(4), "127.0.0.1:5356");
    }
    let agent = traced(&netns);
    assert_eq!(other.try_bind(other.datagram_socket(4), "127.0.0.1:5356").as_deref(), Some("EADDRINUSE"));
    assert_eq!(only_bind(agent)["held_by"], Value::Null);
}

/// The tracer names the holder even where the filter leaves it out.
#[test]
fn the_holder_is_named_although_the_filter_has_no_events_of_it() {
    let netns = Netns::new();
    let (holder, other) = (Actor::start(&netns), Actor::start(&netns));
    let listener = Listener::open(&holder, &netns, "127.0.0.1:0");
    let agent = Agent::live(&["-p", &other.process.pid.to_string()]);
    let at = format!("127.0.0.1:{}", listener.addr.port());
    assert_eq!(other.try_bind(other.socket(4), at.as_str()).as_deref(), Some("EADDRINUSE"));
    assert_eq!(only_bind(agent)["held_by"]["pid"], holder.process.pid);
}

#[test]
fn a_failed_listen_says_who_listens_there() {
    let netns = Netns::new();
    let (holder, other) = (Actor::builder(&netns).comm("first").start(), Actor::start(&netns));
    let (held, wanted) = (holder.socket(4), other.socket(4));
    for (actor, fd) in [(&holder, held), (&other, wanted)] {
        actor.bind(fd, "127.0.0.1:7102");
    }
    holder.must(json!({ "op": "listen", "fd": held, "backlog": 1 }));
    let agent = traced(&netns);
    assert_eq!(other.must(json!({ "op": "try_listen", "fd": wanted })).errno(), Some("EADDRINUSE"));
    let close = agent.wait_for("close", |event| event["event"] == "close" && event["verdict"] == "failed_local");
    assert_eq!(
        (&close["errno"], &close["held_by"]["pid"]),
        (&json!("EADDRINUSE"), &json!(holder.process.pid)),
        "{close}"
    );
    agent.finding("cannot_bind", &format!("held by first[{}]", holder.process.pid));
}
