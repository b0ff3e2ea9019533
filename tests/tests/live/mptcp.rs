//! A kernel worker opens further subflows of MPTCP: they belong to the process that holds the first one.

use serde_json::json;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::skip::{lacks, skip};
use tracer_tests::trace::Trace;
use tracer_tests::traffic::sys::until;

/// When the server accepts the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepts {
    /// At once.
    Early,
    /// After the further subflow has joined.
    Late,
}

/// The age of the first subflow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Traced,
    Older,
}

/// Lets the client's kernel open a further subflow from `10.8.0.1`, and waits until it stands.
fn join(near: &Netns, far: &Netns) {
    near.ip(&["mptcp", "endpoint", "add", "10.8.0.1", "dev", "second", "subflow"]);
    let stands = |ns: &Netns| ns.run(&["ss", "-Htn", "state", "established"]).matches("10.8.0.1").count() == 1;
    until(|| Ok(stands(near) && stands(far))).expect("the subflow joins");
}

fn subflows(first: First, accepts: Accepts, args: impl Fn(&Actor, &Actor) -> Vec<String>) {
    let (near, far) = Netns::pair();
    near.ip(&["link", "add", "second", "type", "veth", "peer", "name", "second", "netns", far.name()]);
    for (ns, addr) in [(&near, "10.8.0.1/24"), (&far, "10.8.0.2/24")] {
        ns.ip(&["addr", "add", addr, "dev", "second"]);
        ns.ip(&["link", "set", "second", "up"]);
        ns.sysctl("net/ipv4/conf/all/rp_filter", "0");
        ns.sysctl("net/ipv4/conf/second/rp_filter", "0");
    }
    let (client, server) = (Actor::start(&near), Actor::start(&far));
    let socket = client.call(json!({ "op": "socket", "family": 4, "protocol": libc::IPPROTO_MPTCP }));
    if socket.error.is_some() {
        return skip(&lacks("mptcp", "there is no such protocol"));
    }
    for ns in [&near, &far] {
        ns.ip(&["mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4"]);
    }
    // Only these namespaces.
    let here = ["--netns".to_owned(), format!("{},{}", near.name(), far.name())];
    let args = [here.to_vec(), args(&client, &server)].concat();
    let start = || Trace::with(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let traced = (first == First::Traced).then(start);
    let listener = Listener::open_with(&server, &far, "10.7.0.2:0", 16, libc::IPPROTO_MPTCP, |_| ());
    let connected = client.connect(socket.fd(), listener.addr);
    assert_eq!(connected.errno(), None);
    let early = (accepts == Accepts::Early).then(|| listener.accept().0);
    // A subflow may join once data have gone both ways.
    client.send(socket.fd(), 10);
    if let Some(fd) = early {
        server.recv(fd, 10);
        server.send(fd, 10);
        client.recv(socket.fd(), 10);
    }
    client.on("await_acked", socket.fd());
    let trace = traced.unwrap_or_else(start);
    join(&near, &far);
    let fd = early.unwrap_or_else(|| listener.accept().0);
    client.on("close", socket.fd());
    server.on("recv_end", fd);
    server.on("close", fd);
    trace.agent.settles(|events| {
        let here = |e: &serde_json::Value| e["netns"] == near.inode() || e["netns"] == far.inode();
        let closed = |e: &&serde_json::Value| e["event"] == "close" && here(e) && e["role"] != "listener";
        events.iter().filter(closed).count() >= 4
    });
    let stream = trace.agent.stop().stream;
    for (ns, actor, source) in [(&near, &client, "connect"), (&far, &server, "accept")] {
        let here = || stream.of_netns(ns.inode()).filter(|e| e["role"] != "listener" && e["mptcp"] == true);
        let closes: Vec<_> = here().filter(|e| e["event"] == "close").collect();
        assert_eq!(closes.len(), 2, "{}", stream.dump(&[ns.inode()]));
        for event in here() {
            assert_eq!(event["owner"]["pid"], actor.process.pid, "{event}");
        }
        let joined = here().filter(|e| e["laddr"] == "10.8.0.1" || e["raddr"] == "10.8.0.1");
        let ends: Vec<_> = joined.filter(|e| e["event"] == "close").collect();
        assert_eq!(ends.len(), 1, "{}", stream.dump(&[ns.inode()]));
        assert_eq!(ends[0]["owner_source"], if first == First::Older { "fd" } else { source }, "{}", ends[0]);
        for event in closes {
            let verdict = event["verdict"].as_str().expect("a verdict");
            assert!(verdict.starts_with("closed_"), "{event}");
        }
    }
}

fn everything(_: &Actor, _: &Actor) -> Vec<String> {
    Vec::new()
}

#[test]
fn a_further_subflow_is_of_who_has_the_first() {
    subflows(First::Traced, Accepts::Early, everything);
}

#[test]
fn a_further_subflow_of_an_older_connection_is_of_who_has_that() {
    subflows(First::Older, Accepts::Early, everything);
}

#[test]
fn a_further_subflow_that_joins_before_accept_is_of_who_accepts_the_first() {
    subflows(First::Traced, Accepts::Late, everything);
}

#[test]
fn a_further_subflow_passes_the_filter_that_the_first_one_passes() {
    let both = |client: &Actor, server: &Actor| {
        vec!["-p".to_owned(), format!("{},{}", client.process.pid, server.process.pid)]
    };
    subflows(First::Traced, Accepts::Early, both);
    subflows(First::Traced, Accepts::Late, both);
}
