//! The identity of an owner: names of its process and thread, its effective user, a process whose first thread has
//! exited.

use serde_json::{Value, json};
use tracer_tests::agent::Agent;
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::scene::Scene;
use tracer_tests::trace::Trace;

#[test]
fn an_owner_has_the_names_of_its_process_and_of_its_thread() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    scene.client.must(json!({ "op": "set_comm", "comm": "ThreadPoolForeg", "thread": "pool" }));
    let fd = scene.client.socket(4);
    let addr = listener.addr.to_string();
    let connected = scene.client.must(json!({ "op": "connect", "fd": fd, "addr": addr, "thread": "pool" }));
    assert_eq!((&*connected.who.comm, &*connected.who.name), ("ThreadPoolForeg", "test client"));
    let (accepted, server) = listener.accept();
    scene.client.on("close", fd);
    scene.server.on("recv_end", accepted);
    scene.server.on("close", accepted);
    let client = scene.attempt(&connected, listener.addr).ends("closed_local", None);
    let netns = scene.client_ns.inode();
    let facts = [client, server.ends("closed_remote", None), listener.stay()];
    let stream = scene.expect(&facts);
    let close = stream.of_netns(netns).find(|e| e["event"] == "close" && e["role"] == "client").expect("its end");
    assert_eq!(close["owner"]["comm"], "test client");
    assert_eq!(close["owner"]["thread"], "ThreadPoolForeg");
}

/// The closes that `tracer live ARGS` prints after a thread called `ThreadPoolForeg` of a process called `vivaldi-bin`
/// has made a connection.
fn closes(args: &[&str]) -> Vec<Value> {
    let ns = Netns::new();
    let (client, server) = (Actor::builder(&ns).comm("vivaldi-bin").start(), Actor::start(&ns));
    let agent = Agent::live(&[&["--netns", &ns.inode().to_string()], args].concat());
    let all = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    client.must(json!({ "op": "set_comm", "comm": "ThreadPoolForeg", "thread": "pool" }));
    let fd = client.socket(4);
    client.must(json!({ "op": "connect", "fd": fd, "addr": listener.addr.to_string(), "thread": "pool" }));
    let (accepted, _) = listener.accept();
    client.on("close", fd);
    server.on("recv_end", accepted);
    server.on("close", accepted);
    let _ = listener.close();
    // The filtered tracer has seen all that the other has printed.
    all.agent.wait_for("the listener's end", |e| {
        e["event"] == "close" && e["role"] == "listener" && e["netns"] == ns.inode()
    });
    let ended = agent.stop();
    ended.stream.kind("close").filter(|e| e["role"] != "listener").cloned().collect()
}

#[test]
fn a_filter_on_names_takes_the_name_of_the_process_or_of_the_thread() {
    for (args, ends) in [
        (&["--comm", "vivaldi-bin"][..], 1),
        (&["--comm", "ThreadPool*"], 1),
        (&["--comm", "!vivaldi*", "--role", "client"], 0),
        (&["--comm", "!ThreadPool*", "--role", "client"], 0),
        (&["--comm", "another"], 0),
    ] {
        let closes = closes(args);
        assert_eq!(closes.len(), ends, "{args:?}: {closes:?}");
        assert!(closes.iter().all(|close| close["owner"]["comm"] == "vivaldi-bin"), "{args:?}: {closes:?}");
    }
}

/// The real user stays root, as in a server that drops its rights for one request.
#[test]
fn an_owner_is_the_effective_user() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let agents = [Agent::live(&["--uid", "4711"]), Agent::live(&["--uid", "!4711"])];
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    client.must(json!({ "op": "set_euid", "uid": 4711 }));
    let facts = Pair::open(&client, &ns, &listener).client_closes_first();
    assert_eq!(facts[0].owner.uid, 4711);
    let stream = trace.expect(&[&ns], &[facts.as_slice(), &[listener.close()]].concat());
    let process = stream.kind("process").find(|e| e["pid"] == client.process.pid).expect("the client's process");
    assert_eq!((&process["uid"], &process["euid"]), (&json!(0), &json!(4711)));
    let [only, others] = agents.map(|agent| agent.stop().stream);
    let roles = |stream: &tracer_tests::stream::Stream| {
        let mut roles: Vec<String> =
            stream.of_netns(ns.inode()).filter(|e| e["event"] == "close").map(|e| e["role"].to_string()).collect();
        roles.sort();
        roles
    };
    assert_eq!(roles(&only), ["\"client\""]);
    assert_eq!(roles(&others), ["\"listener\"", "\"server\""]);
}

#[test]
fn a_process_whose_first_thread_has_exited_has_a_name_and_an_executable() {
    let ns = Netns::new();
    let client = Actor::builder(&ns).comm("left behind").start().leave();
    let server = Actor::builder(&ns).comm("other server").start().leave();
    // Before the trace: a listener and a connection, whose owners the snapshot finds.
    let older = Listener::open(&server, &ns, "127.0.0.1:0");
    let before = Pair::open(&client, &ns, &older);
    let trace = Trace::start();
    let later = Pair::open(&client, &ns, &older);
    assert_eq!(later.client_fact.owner.name, "left behind");
    assert_ne!(later.client_fact.owner.pid, later.client_fact.owner.tid);
    let later = later.client_closes_first();
    trace.fence();
    let stream = trace.agent.stop().stream;
    for fact in &later {
        let close = stream.of_netns(ns.inode()).find(|e| e["event"] == "close" && e["role"] == fact.role);
        let owner = &close.expect("the connection's end")["owner"];
        assert_eq!((&owner["pid"], &owner["comm"]), (&json!(fact.owner.pid), &json!(fact.owner.name)), "{owner}");
        assert_eq!(owner["exe"], fact.owner.exe, "{owner}");
        assert!(owner["cgroup"].is_string(), "{owner}");
    }
    // Older: the listener, and both ends of the connection.
    let open: Vec<&Value> = stream.of_netns(ns.inode()).filter(|e| e["event"] == "open").collect();
    assert_eq!(open.len(), 3, "{open:?}");
    for event in open {
        let (is_client, owner) = (event["rport"] == older.addr.port(), &event["owner"]);
        let process = if is_client { &client.process } else { &server.process };
        assert_eq!((&owner["pid"], &owner["comm"]), (&json!(process.pid), &json!(process.name)), "{event}");
        assert_eq!(owner["exe"], process.exe, "{event}");
    }
    drop(before);
}
