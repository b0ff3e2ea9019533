//! No way of calling connect() or accept() hides the call, or takes a connection from its owner.

use serde_json::{Value, json};
use tracer_tests::bpf::Map;
use tracer_tests::generator::{Actor, Fact, Pair};
use tracer_tests::scene::Scene;
use tracer_tests::skip::{lacks, skip};

const UNREACHABLE: &str = "255.255.255.255:7061";

fn connects_that_wait(events: &[Value], netns: u64) -> usize {
    events
        .iter()
        .filter(|event| event["event"] == "connect" && event["netns"] == netns && event["rport"] == 3000)
        .count()
}

/// Other processes choose how many calls wait: the tracer keeps no room for them.
#[test]
fn calls_that_wait_in_connect_take_no_room_from_calls_that_fail() {
    const WAIT: usize = 300;
    let scene = Scene::loopback_with(&["--audit"]);
    let netns = scene.client_ns.inode();
    scene.client_ns.nft_rule("input", "tcp dport 3000 drop");
    let others = Actor::start(&scene.client_ns);
    others.must(json!({ "op": "wait_in_connect", "count": WAIT, "addr": "127.0.0.1:3000" }));
    assert!(scene.trace.agent.settles(|events| connects_that_wait(events, netns) == WAIT));
    let noted = Map::of(scene.trace.agent.pid(), "CONNECTING").all().len();
    assert!(noted < WAIT / 10, "{noted} notes are kept of {WAIT} calls that wait");
    let fd = scene.client.socket(4);
    let reply = scene.client.connect(fd, UNREACHABLE);
    assert_eq!(reply.errno(), Some("ENETUNREACH"));
    others.kill();
    scene.trace.fence();
    let ended = scene.trace.agent.stop();
    let told: Vec<&Value> =
        ended.stream.of_netns(netns).filter(|e| e["event"] == "close" && e["rport"] == 7061).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["verdict"], &told[0]["errno"]), (&json!("failed_local"), &json!("ENETUNREACH")));
    assert_eq!(told[0]["owner"]["pid"], scene.client.process.pid);
    assert_eq!(ended.stream.summary()["incomplete"]["calls_unnoted"], 0);
}

/// The kernel reads the address from the caller's memory, which may be a page of a file.
#[test]
fn an_address_in_a_page_that_is_not_resident_is_told() {
    for family in [4, 6] {
        let to = if family == 4 { UNREACHABLE } else { "[2001:db8::1]:7061" };
        let scene = Scene::loopback();
        let fd = scene.client.socket(family);
        let reply = scene.client.must(json!({ "op": "connect_unread", "fd": fd, "addr": to }));
        assert_eq!(reply.errno(), Some("ENETUNREACH"));
        let fact = scene.attempt(&reply, to).failed_at_once("ENETUNREACH");
        scene.expect(&[fact]);
    }
}

/// A connection that a supervisor of seccomp makes the client "accept": both facts, and the stream of a tracer with
/// `args`.
fn forged(args: impl Fn(&Actor) -> Vec<String>) -> (Fact, Fact, tracer_tests::stream::Stream) {
    let scene = Scene::loopback();
    let args = args(&scene.client);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let filtered = tracer_tests::agent::Agent::live(&args);
    let listener = scene.listen("127.0.0.1:0");
    let mut pair = scene.pair(&listener);
    pair.client_sends(10);
    scene.client.must(json!({ "op": "accept_forged", "fd": pair.client_fd }));
    pair.client_sends(20);
    let [client, server] = pair.client_closes_first();
    let listener = listener.close();
    filtered.wait_for("close of the client", |event| event["event"] == "close" && event["role"] == "client");
    let ended = filtered.stop();
    scene.expect(&[client.clone(), server.clone(), listener]);
    (client, server, ended.stream)
}

#[test]
fn a_forged_accept_changes_no_owner_and_hides_no_close() {
    let (client, _, stream) = forged(|client| vec!["-p".into(), client.process.pid.to_string()]);
    let closes: Vec<&Value> = stream.kind("close").collect();
    assert_eq!(closes.len(), 1, "{closes:?}");
    assert_eq!(closes[0]["owner"]["pid"], client.owner.pid);
    assert_eq!((closes[0]["tx_bytes"].as_u64(), stream.kind("accept").count()), (Some(30), 0));
}

/// Only the last of its completions names the request.
#[test]
fn accepts_by_one_request_of_io_uring_have_their_owners() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let waiting = scene.server.begin(json!({ "op": "uring_accept_many", "fd": listener.fd, "count": 3 }));
    let connected: Vec<_> = (0..3)
        .map(|_| {
            let fd = scene.client.socket(4);
            (fd, scene.client.connect(fd, listener.addr))
        })
        .collect();
    let accepted = scene.server.finish(waiting);
    if accepted.error.is_some() {
        return skip(&lacks("io_uring", "multishot accept is refused"));
    }
    let descriptors: Vec<i64> = accepted.value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let mut facts = Vec::new();
    for ((client_fd, reply), server_fd) in connected.into_iter().zip(descriptors) {
        let local = reply.local();
        let client_fact = Fact::new("client", &scene.client_ns, &reply.who, Some(local)).peer(listener.addr);
        let server_fact = Fact::new("server", scene.server_ns(), &accepted.who, Some(listener.addr)).peer(local);
        let (client, server) = (&scene.client, &scene.server);
        let pair = Pair { client, client_fd, client_fact, server, server_fd, server_fact };
        facts.extend(pair.client_closes_first());
    }
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn calls_by_int_0x80_are_told_on_demand() {
    let scene = Scene::loopback_with(&["--backend", "raw_syscalls=tp_btf"]);
    let fd = scene.client.socket(4);
    let failed = scene.client.must(json!({ "op": "connect_32", "fd": fd, "addr": UNREACHABLE }));
    if failed.errno() == Some("38") || failed.errno() == Some("ENOSYS") {
        return skip(&lacks("32-bit programs", "int 0x80 is refused"));
    }
    assert_eq!(failed.errno(), Some("ENETUNREACH"));
    let mut facts = vec![scene.attempt(&failed, UNREACHABLE).failed_at_once("ENETUNREACH")];
    let listener = scene.listen("127.0.0.1:0");
    let waiting = scene.server.begin(json!({ "op": "accept_32", "fd": listener.fd }));
    let client_fd = scene.client.socket(4);
    let to = json!({ "op": "connect_32", "fd": client_fd, "addr": listener.addr.to_string() });
    let connected = scene.client.must(to);
    assert_eq!(connected.errno(), None);
    let accepted = scene.server.finish(waiting);
    let local = connected.local();
    let pair = Pair {
        client: &scene.client,
        client_fd,
        client_fact: Fact::new("client", &scene.client_ns, &connected.who, Some(local)).peer(listener.addr),
        server: &scene.server,
        server_fd: accepted.fd(),
        server_fact: listener.accepted(&accepted),
    };
    facts.extend(pair.client_closes_first());
    // One event, from the transitions, although the call fails as well.
    let fd = scene.client.socket(4);
    let refused = scene.client.must(json!({ "op": "connect_32", "fd": fd, "addr": "127.0.0.1:9" }));
    assert_eq!(refused.errno(), Some("ECONNREFUSED"));
    facts.push(scene.attempt(&refused, "127.0.0.1:9").never_established().ends("refused", Some("ECONNREFUSED")));
    facts.push(listener.close());
    scene.expect(&facts);
}
