//! connect() without an answer, or with an ICMP error.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, Ended};
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;

const V4: &str = "10.7.0.2:80";
const V6: &str = "[fd07::2]:80";

/// A trace of this namespace.
fn live(ns: &Netns, args: &[&str]) -> Agent {
    Agent::live(&[&["--netns", ns.name()], args].concat())
}

/// `IP_RECVERR` and `IPV6_RECVERR`.
fn asks_for_errors(actor: &Actor, fd: i64, v6: bool) {
    let (level, name) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    actor.must(json!({ "op": "set_option", "fd": fd, "level": level, "name": name, "value": 1 }));
}

fn is_of<'a>(ns: &Netns, event: &'a str) -> impl Fn(&Value) -> bool + use<'a> {
    let netns = ns.inode();
    move |e| e["netns"] == netns && e["event"] == event
}

/// Waits until this namespace has sent `n` SYNs again.
fn await_syns(agent: &Agent, ns: &Netns, n: usize) {
    let is = is_of(ns, "retransmit");
    agent.settles(|events| events.iter().filter(|e| is(e) && e["what"] == "syn").count() >= n);
}

/// Ends the trace when `n` connections of the namespace have closed; returns their closes.
fn ended(agent: Agent, ns: &Netns, n: usize) -> (Vec<Value>, Ended) {
    let is = is_of(ns, "close");
    agent.settles(|events| events.iter().filter(|e| is(e)).count() >= n);
    let ended = agent.stop();
    let closes: Vec<Value> = ended.stream.events.iter().filter(|e| is(e)).cloned().collect();
    assert_eq!(closes.len(), n, "{}", ended.stream.dump(&[ns.inode()]));
    (closes, ended)
}

/// The number of SYNs of this namespace, from its other events.
fn syns(ended: &Ended, ns: &Netns) -> usize {
    let again = ended.stream.of_netns(ns.inode()).filter(|e| e["event"] == "retransmit" && e["what"] == "syn");
    1 + again.count()
}

fn is_given_up(close: &Value, pid: u32, syns: usize) {
    let expected = json!(["no_answer", "EINPROGRESS", pid, syns, false, 0, Value::Null]);
    let keys = [
        &close["verdict"],
        &close["errno"],
        &close["owner"]["pid"],
        &close["syns"],
        &close["unanswered"],
        &close["unacked_bytes"],
        &close["connect_us"],
    ];
    assert_eq!(json!(keys), expected, "{close}");
    assert!(close.get("icmp").is_none(), "{close}");
}

#[test]
fn a_socket_that_is_closed_while_it_waits_had_no_answer() {
    for to in [V4, V6] {
        let (near, far) = Netns::pair();
        far.nft_rule("input", "tcp dport 80 drop");
        let client = Actor::start(&near);
        let agent = live(&near, &[]);
        let fd = client.nonblocking_socket(if to == V4 { 4 } else { 6 });
        let begun = client.connect(fd, to);
        await_syns(&agent, &near, 1);
        client.on("close", fd);
        let (closes, ended) = ended(agent, &near, 1);
        is_given_up(&closes[0], begun.who.pid, syns(&ended, &near));
        // The kernel sends the first SYN again after a second.
        assert!(closes[0]["duration_us"].as_u64().is_some_and(|us| us >= 900_000), "{}", closes[0]);
        let summary = ended.stream.summary();
        let found = summary["findings"].as_array().expect("a list").iter().find(|f| {
            f["name"] == "no_answer" && f["evidence"].as_array().is_some_and(|all| all[0]["conn"] == closes[0]["conn"])
        });
        let text = found.expect("a finding")["text"].as_str().expect("a sentence");
        let who = format!("{to} does not answer: 1 connection of traffic[{}] was given up after ", begun.who.pid);
        assert!(text.starts_with(&who) && text.ends_with(" SYNs"), "{text}");
    }
}

#[test]
fn a_process_that_is_killed_in_connect_had_no_answer() {
    let (near, far) = Netns::pair();
    far.silence("wire");
    let client = Actor::start(&near);
    let agent = live(&near, &["--event", "close,retransmit"]);
    let fd = client.socket(4);
    let pid = client.call(json!({ "op": "who" })).who.pid;
    let _waits = client.begin(json!({ "op": "connect", "fd": fd, "addr": V4 }));
    await_syns(&agent, &near, 1);
    client.kill();
    let (closes, ended) = ended(agent, &near, 1);
    is_given_up(&closes[0], pid, syns(&ended, &near));
}

#[test]
fn all_ways_to_give_up_are_failures() {
    let (near, far) = Netns::pair();
    far.silence("wire");
    let client = Actor::start(&near);
    let agent = live(&near, &["--failed"]);
    for how in ["close", "disconnect", "linger_zero", "shutdown"] {
        let fd = client.nonblocking_socket(4);
        client.connect(fd, V4);
        client.on(how, fd);
        if how != "close" {
            client.on("close", fd);
        }
    }
    let (closes, ended) = ended(agent, &near, 4);
    for close in &closes {
        assert_eq!((&close["verdict"], &close["role"]), (&json!("no_answer"), &json!("client")), "{close}");
    }
    let verdicts = &ended.stream.summary()["verdicts"];
    assert_eq!(*verdicts, json!({ "no_answer": 4 }));
}

#[test]
fn what_is_connected_again_is_another_connection() {
    let (near, far) = Netns::pair();
    far.nft_rule("input", "tcp dport 80 drop");
    let (client, server) = (Actor::start(&near), Actor::start(&far));
    let listener = Listener::open(&server, &far, "10.7.0.2:81");
    let agent = live(&near, &[]);
    let fd = client.nonblocking_socket(4);
    let begun = client.connect(fd, V4);
    client.on("disconnect", fd);
    assert_eq!(client.connect(fd, listener.addr).errno(), Some("EINPROGRESS"));
    assert_eq!(client.on("await_outcome", fd).errno(), None);
    client.on("close", fd);
    let (closes, _) = ended(agent, &near, 2);
    is_given_up(&closes[0], begun.who.pid, 1);
    assert_eq!((&closes[0]["rport"], &closes[1]["rport"]), (&json!(80), &json!(81)), "{closes:?}");
    assert_ne!(closes[0]["conn"], closes[1]["conn"]);
    assert!(closes[1].get("syns").is_none() && closes[1]["connect_us"].is_u64(), "{}", closes[1]);
}

#[test]
fn one_that_is_older_than_the_trace_had_no_answer_either() {
    let (near, far) = Netns::pair();
    far.silence("wire");
    let client = Actor::start(&near);
    let fd = client.nonblocking_socket(4);
    let begun = client.connect(fd, V4);
    let agent = live(&near, &[]);
    let is = is_of(&near, "open");
    agent.wait_for("the open connection", |e| is(e) && e["state"] == "SYN_SENT");
    await_syns(&agent, &near, 1);
    client.on("close", fd);
    let (closes, _) = ended(agent, &near, 1);
    let close = &closes[0];
    assert_eq!((&close["verdict"], &close["preexisting"]), (&json!("no_answer"), &json!(true)), "{close}");
    assert_eq!((&close["owner"]["pid"], &close["duration_us"]), (&json!(begun.who.pid), &Value::Null), "{close}");
    // The kernel's count includes the SYNs before the trace.
    assert!(close["syns"].as_u64().is_some_and(|syns| syns >= 2), "{close}");
}

/// The close of a connect() to `to` that `rule` rejects.
fn rejected(to: &str, rule: &str, asks: bool) -> Value {
    let v6 = to == V6;
    let (near, far) = Netns::pair();
    far.nft_rule("input", &format!("tcp dport 80 reject with {rule}"));
    let client = Actor::start(&near);
    let agent = live(&near, &[]);
    let fd = client.socket(if v6 { 6 } else { 4 });
    if asks {
        asks_for_errors(&client, fd, v6);
    }
    let refused = client.connect(fd, to);
    client.on("close", fd);
    let (closes, _) = ended(agent, &near, 1);
    assert_eq!(closes[0]["errno"].as_str(), refused.errno(), "{}", closes[0]);
    closes[0].clone()
}

#[test]
fn an_icmp_error_says_which_it_was_and_from_whom() {
    let cases = [
        (V4, "icmp type admin-prohibited", "unreachable", "EHOSTUNREACH", 3, 13, "admin prohibited"),
        (V4, "icmp type host-unreachable", "unreachable", "EHOSTUNREACH", 3, 1, "host unreachable"),
        (V4, "icmp type port-unreachable", "refused", "ECONNREFUSED", 3, 3, "port unreachable"),
        (V4, "icmp type net-unreachable", "unreachable", "ENETUNREACH", 3, 0, "network unreachable"),
        (V6, "icmpv6 type admin-prohibited", "unreachable", "EACCES", 1, 1, "admin prohibited"),
        (V6, "icmpv6 type port-unreachable", "refused", "ECONNREFUSED", 1, 4, "port unreachable"),
    ];
    for (to, rule, verdict, errno, kind, code, meaning) in cases {
        let close = rejected(to, rule, true);
        assert_eq!((&close["verdict"], &close["errno"]), (&json!(verdict), &json!(errno)), "{close}");
        let from: SocketAddr = to.parse().expect("an address");
        let icmp = json!({ "type": kind, "code": code, "meaning": meaning, "from": from.ip().to_string() });
        assert_eq!(close["icmp"], icmp, "{close}");
    }
}

#[test]
fn what_does_not_ask_for_errors_has_them_all_the_same() {
    let close = rejected(V4, "icmp type admin-prohibited", false);
    assert_eq!((&close["verdict"], &close["errno"]), (&json!("unreachable"), &json!("EHOSTUNREACH")), "{close}");
    let close = rejected(V6, "icmpv6 type admin-prohibited", false);
    assert_eq!((&close["verdict"], &close["errno"]), (&json!("unreachable"), &json!("EACCES")), "{close}");
}

#[test]
fn an_error_that_the_program_took_away_is_still_told() {
    let (near, far) = Netns::pair();
    far.nft_rule("input", "tcp dport 80 reject with icmp type admin-prohibited");
    let client = Actor::start(&near);
    let agent = live(&near, &[]);
    let fd = client.nonblocking_socket(4);
    asks_for_errors(&client, fd, false);
    assert_eq!(client.connect(fd, V4).errno(), Some("EINPROGRESS"));
    // getsockopt(SO_ERROR) until it returns an error.
    assert_eq!(client.on("await_outcome", fd).errno(), Some("EHOSTUNREACH"));
    client.on("close", fd);
    let (closes, _) = ended(agent, &near, 1);
    assert_eq!((&closes[0]["verdict"], &closes[0]["errno"]), (&json!("unreachable"), &json!("EHOSTUNREACH")));
    assert_eq!((&closes[0]["icmp"]["code"], &closes[0]["icmp"]["from"]), (&json!(13), &json!("10.7.0.2")));
}

#[test]
fn an_error_of_another_attempt_is_not_this_ones() {
    let (near, far) = Netns::pair();
    far.nft_rule("input", "tcp dport 80 reject with icmp type admin-prohibited");
    far.nft_rule("input", "tcp dport 81 drop");
    let client = Actor::start(&near);
    let agent = live(&near, &[]);
    let fd = client.socket(4);
    assert_eq!(client.connect(fd, V4).errno(), Some("EHOSTUNREACH"));
    // The kernel leaves the message in the socket's queue.
    let waits = client.begin(json!({ "op": "connect", "fd": fd, "addr": "10.7.0.2:81" }));
    await_syns(&agent, &near, 2);
    drop(waits);
    client.kill();
    let (closes, _) = ended(agent, &near, 2);
    let of = |port: u16| closes.iter().find(|e| e["rport"] == port).expect("its close");
    assert_eq!((&of(80)["verdict"], &of(80)["icmp"]["code"]), (&json!("unreachable"), &json!(13)), "{closes:?}");
    assert_eq!((&of(81)["verdict"], of(81).get("icmp")), (&json!("no_answer"), None), "{closes:?}");
}
