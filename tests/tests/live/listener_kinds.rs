//! Kinds of listeners: for both families, for one, and those of the kernel.

use serde_json::{Value, json};
use tracer_tests::agent::Agent;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::skip::{lacks, skip};

fn traced(netns: &Netns) -> Agent {
    Agent::live(&["--netns", &netns.inode().to_string()])
}

/// Listens at `port`, with this `IPV6_V6ONLY`.
fn listen6(actor: &Actor, port: u16, v6only: i32) {
    let fd = actor.socket(6);
    let (level, name) = (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
    actor.must(json!({ "op": "set_option", "fd": fd, "level": level, "name": name, "value": v6only }));
    actor.bind(fd, format!("[::]:{port}").as_str());
    actor.must(json!({ "op": "listen", "fd": fd, "backlog": 1 }));
}

fn listen4(actor: &Actor, port: u16) {
    let fd = actor.socket(4);
    actor.bind(fd, format!("0.0.0.0:{port}").as_str());
    actor.must(json!({ "op": "listen", "fd": fd, "backlog": 1 }));
}

#[test]
fn a_listener_says_whether_it_takes_ipv4_too() {
    let netns = Netns::new();
    let actor = Actor::start(&netns);
    // Each kind once before the trace and once within it.
    let all = |from: u16| {
        listen6(&actor, from, 0);
        listen6(&actor, from + 1, 1);
        listen4(&actor, from + 2);
    };
    all(9110);
    let agent = traced(&netns);
    all(9120);
    agent.wait_for("the last one", |event| event["event"] == "listen" && event["lport"] == 9122);
    let ended = agent.stop();
    for (kind, from) in [("open", 9110), ("listen", 9120)] {
        let of = |port: u64| {
            let mut events = ended.stream.kind(kind).filter(|event| event["lport"] == port);
            events.next().expect("it is told").get("v6only").cloned()
        };
        assert_eq!([of(from), of(from + 1), of(from + 2)], [Some(json!(false)), Some(json!(true)), None], "{kind}");
    }
    for close in ended.stream.kind("close").filter(|close| close["family"] == 6) {
        assert_eq!(close["v6only"], close["lport"].as_u64().is_some_and(|port| port % 10 == 1), "{close}");
    }
}

/// Only a socket that takes IPv4 is in the way of a bind() to an IPv4 address.
#[test]
fn a_listener_of_ipv6_alone_does_not_hold_the_port_of_ipv4() {
    let netns = Netns::new();
    let (six, four, other) = (Actor::start(&netns), Actor::start(&netns), Actor::start(&netns));
    let agent = traced(&netns);
    listen6(&six, 9130, 1);
    listen4(&four, 9130);
    agent.wait_for("the second one", |event| event["event"] == "listen" && event["family"] == 4);
    assert_eq!(other.try_bind(other.socket(4), "127.0.0.1:9130").as_deref(), Some("EADDRINUSE"));
    let bind = agent.wait_for("bind", |event| event["event"] == "bind");
    assert_eq!(bind["held_by"]["pid"], four.process.pid, "{bind}");
}

/// An endpoint of MPTCP with a port listens in the context of the `ip` that makes it, but no process holds it.
#[test]
fn a_listener_that_the_kernel_makes_for_itself_is_the_kernels() {
    let netns = Netns::new();
    let actor = Actor::start(&netns);
    let socket = actor.call(json!({ "op": "socket", "family": 4, "protocol": libc::IPPROTO_MPTCP }));
    if socket.error.is_some() {
        return skip(&lacks("mptcp", "there is no such protocol"));
    }
    netns.ip(&["addr", "add", "10.8.1.1/24", "dev", "lo"]);
    let agent = traced(&netns);
    netns.ip(&["mptcp", "endpoint", "add", "10.8.1.1", "port", "7200", "dev", "lo", "signal"]);
    agent.wait_for("the kernel's", |event| event["event"] == "listen" && event["lport"] == 7200);
    let own = Listener::open_with(&actor, &netns, "127.0.0.1:0", 16, libc::IPPROTO_MPTCP, |_| ());
    agent.wait_for("its own", |event| event["event"] == "listen" && event["lport"] == own.addr.port());
    let port = own.addr.port();
    drop(own);
    netns.ip(&["mptcp", "endpoint", "flush"]);
    agent.wait_for("its end", |event| event["event"] == "close" && event["lport"] == 7200);
    let ended = agent.stop();
    for kind in ["listen", "close"] {
        let of = |port: u16| ended.stream.kind(kind).find(|event| event["lport"] == port).expect("it is told");
        let kernels = of(7200);
        assert_eq!((&kernels["owner"], &kernels["owner_source"]), (&Value::Null, &json!("kernel")), "{kernels}");
        assert_eq!((&of(port)["owner"]["pid"], &of(port)["mptcp"]), (&json!(actor.process.pid), &json!(true)));
    }
}
