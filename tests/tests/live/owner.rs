//! The owner is the process that opened the connection, whatever happens to the process later.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tracer_tests::generator::{Actor, Fact, Listener, Pair, Process, traffic};
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::scale;
use tracer_tests::scene::Scene;
use tracer_tests::trace::Trace;

#[test]
fn prefork_server() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let workers: Vec<Actor> = (0..3).map(|_| scene.server.fork()).collect();
    let mut facts = Vec::new();
    for round in 0..6 {
        let worker = &workers[round % workers.len()];
        assert_ne!(worker.process.pid, scene.server.process.pid);
        let fd = scene.client.socket(4);
        let connected = scene.client.connect(fd, listener.addr);
        let (accepted, server) = listener.accept_by(worker);
        scene.client.on("close", fd);
        worker.on("recv_end", accepted);
        worker.on("close", accepted);
        facts.push(scene.attempt(&connected, listener.addr).ends("closed_local", None));
        facts.push(server.ends("closed_remote", None));
    }
    // The workers hold the listener, too: it closes with the last of them.
    facts.push(listener.stay());
    let netns = scene.client_ns.inode();
    let stream = scene.expect(&facts);
    drop(workers);
    // Other processes of this machine may accept connections.
    let here = |event: &&Value| event["netns"] == netns;
    assert_eq!(stream.kind("accept").filter(here).count(), 6);
}

#[test]
fn worker_waits_in_accept() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let worker = scene.server.fork();
    // accept() begins before the connection.
    let waiting = worker.begin(json!({ "op": "accept", "fd": listener.fd }));
    let fd = scene.client.socket(4);
    let connected = scene.client.connect(fd, listener.addr);
    let accepted = worker.finish(waiting);
    let server = listener.accepted(&accepted);
    assert_eq!(server.owner.pid, worker.process.pid);
    scene.client.on("close", fd);
    worker.on("recv_end", accepted.fd());
    worker.on("close", accepted.fd());
    let client = scene.attempt(&connected, listener.addr).ends("closed_local", None);
    let facts = [client, server.ends("closed_remote", None), listener.stay()];
    scene.expect(&facts);
}

#[test]
fn threads() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 5;
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = Vec::new();
    let names: Vec<String> = (0..THREADS).map(|i| format!("worker {i}")).collect();
    for name in &names {
        for actor in [&scene.client, &scene.server] {
            actor.must(json!({ "op": "set_comm", "comm": name, "thread": name }));
        }
    }
    for _ in 0..ROUNDS {
        // All at once, one connection per thread.
        let fds: Vec<i64> = names.iter().map(|_| scene.client.socket(4)).collect();
        let addr = listener.addr.to_string();
        let connecting: Vec<_> = names
            .iter()
            .zip(&fds)
            .map(|(name, fd)| scene.client.begin(json!({ "op": "connect", "fd": fd, "addr": addr, "thread": name })))
            .collect();
        let connected: Vec<_> = connecting.into_iter().map(|p| scene.client.finish(p)).collect();
        for (name, reply) in names.iter().zip(&connected) {
            assert_eq!((&reply.who.comm, reply.errno()), (name, None));
            assert_ne!(reply.who.tid, reply.who.pid);
            facts.push(scene.attempt(reply, listener.addr).ends("closed_local", None));
        }
        let accepted: Vec<_> = names
            .iter()
            .map(|name| scene.server.must(json!({ "op": "accept", "fd": listener.fd, "thread": name })))
            .collect();
        for fd in fds {
            scene.client.on("close", fd);
        }
        for reply in &accepted {
            scene.server.on("recv_end", reply.fd());
            scene.server.on("close", reply.fd());
            facts.push(listener.accepted(reply).ends("closed_remote", None));
        }
    }
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn descriptor_passed_to_another_process() {
    let scene = Scene::loopback();
    let heir = Actor::builder(&scene.client_ns).copy("heir").start();
    let listener = scene.listen("127.0.0.1:0");
    let mut pair = scene.pair(&listener);
    let path = scratch().join(format!("pass-{}", heir.process.pid));
    let door = heir.must(json!({ "op": "unix_listen", "path": path })).fd();
    let taking = heir.begin(json!({ "op": "take", "fd": door }));
    scene.client.must(json!({ "op": "give", "fd": pair.client_fd, "path": path }));
    let inherited = heir.finish(taking).fd();
    scene.client.on("close", pair.client_fd);
    heir.send(inherited, 77);
    scene.server.recv(pair.server_fd, 77);
    pair.client_sent(77);
    heir.on("close", inherited);
    scene.server.on("recv_end", pair.server_fd);
    scene.server.on("close", pair.server_fd);
    pair.client_fact.end("closed_local", None);
    pair.server_fact.end("closed_remote", None);
    let mut facts = pair.facts().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn exec_after_connect() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let pair = Pair::open(&client, &ns, &listener);
    let (client_fd, server_fd) = (pair.client_fd, pair.server_fd);
    let [mut first, mut second] = pair.facts();
    first.end("closed_local", None);
    second.end("closed_remote", None);
    let mut facts = vec![first, second];

    let before = client.process.clone();
    let client = client.exec("another");
    assert_eq!(client.process.pid, before.pid);
    assert_ne!(client.process.exe, before.exe);
    // Connections that it opens from now on belong to the new program.
    let later = Pair::open(&client, &ns, &listener);
    assert_eq!(later.client_fact.owner.comm, "another");
    facts.extend(later.client_closes_first());
    client.on("close", client_fd);
    server.on("recv_end", server_fd);
    server.on("close", server_fd);
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
}

#[test]
fn opener_exits_its_child_goes_on() {
    let ns = Netns::new();
    let (client, server) = (Actor::builder(&ns).comm("parent").start(), Actor::start(&ns));
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut pair = Pair::open(&client, &ns, &listener);
    let child = client.fork();
    let (client_fd, server_fd) = (pair.client_fd, pair.server_fd);
    pair.client_fact.end("closed_local", None);
    pair.server_fact.end("closed_remote", None);
    pair.client_sent(21);
    let mut facts = pair.facts().to_vec();
    client.exit();
    child.send(client_fd, 21);
    server.recv(server_fd, 21);
    child.on("close", client_fd);
    server.on("recv_end", server_fd);
    server.on("close", server_fd);
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
}

#[test]
fn another_user() {
    let ns = Netns::new();
    let trace = Trace::start();
    let (client, server) = (Actor::builder(&ns).uid(12345).start(), Actor::builder(&ns).uid(54321).start());
    assert_eq!((client.process.uid, server.process.uid), (12345, 54321));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
}

#[test]
fn hostile_comm() {
    let ns = Netns::new();
    let client = Actor::builder(&ns).comm("\u{1b}[31m\"\n{é").start();
    let server = Actor::start(&ns);
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
}

/// A `traffic once` process in `ns`.
fn short_lived(ns: &Netns, addr: &str) -> Child {
    traffic(ns).args(["once", addr, "17"]).stdout(Stdio::piped()).spawn().expect("a short-lived process starts")
}

#[test]
fn short_lived_processes() {
    let count = scale::load(200, 40);
    let scene = Scene::veth();
    let listener = scene.listen("10.7.0.2:0");
    let serving = scene.server.begin(json!({ "op": "serve", "fd": listener.fd, "count": count, "thread": "serve" }));
    let mut facts = Vec::new();
    let addr = listener.addr.to_string();
    for _ in 0..count / 4 {
        // Four at a time: their lives overlap.
        let children: Vec<Child> = (0..4).map(|_| short_lived(&scene.client_ns, &addr)).collect();
        for child in children {
            let out = child.wait_with_output().expect("a short-lived process ends");
            let did: Value = serde_json::from_slice(&out.stdout).expect("it says what it did");
            let local = did["local"].as_str().and_then(|text| text.parse().ok());
            let owner = Process::from_json(&did["who"]);
            let mut fact = Fact::new("client", &scene.client_ns, &owner, local)
                .peer(listener.addr)
                .label("short-lived")
                .ends("closed_local", None);
            fact.tx = Some(17);
            facts.push(fact);
        }
    }
    let served = scene.server.finish(serving);
    for one in served.value.as_array().expect("a list of connections") {
        let address = |key: &str| one[key].as_str().and_then(|text| text.parse().ok());
        let peer = address("peer").expect("a peer");
        let mut fact = Fact::new("server", scene.server_ns(), &served.who, address("local")).peer(peer);
        fact.rx = one["rx"].as_u64();
        facts.push(fact.ends("closed_remote", None).label("server of a short-lived one"));
    }
    facts.push(listener.close());
    scene.expect(&facts);
}
