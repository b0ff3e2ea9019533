//! Nobody hides a connect() or an accept(), nor takes a connection from its owner, by the way of calling.

use serde_json::{Value, json};
use tracer_tests::bpf::Map;
use tracer_tests::generator::{Actor, Fact};
use tracer_tests::scene::Scene;

const UNREACHABLE: &str = "255.255.255.255:7061";

fn connects_that_wait(events: &[Value], netns: u64) -> usize {
    events
        .iter()
        .filter(|event| event["event"] == "connect" && event["netns"] == netns && event["rport"] == 3000)
        .count()
}

/// How many calls wait is for others to choose: no room is kept for any of them.
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
    let told: Vec<&Value> = ended.stream.kind("close").filter(|close| close["rport"] == 7061).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["verdict"], &told[0]["errno"]), (&json!("failed_local"), &json!("ENETUNREACH")));
    assert_eq!(told[0]["owner"]["pid"], scene.client.process.pid);
    assert_eq!(ended.stream.summary()["incomplete"]["connects_unnoted"], 0);
}

/// The kernel reads the address from the caller's memory, a page of a file as well as any other.
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

/// A connection of the client, and whom a supervisor of seccomp makes "accept" it.
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
