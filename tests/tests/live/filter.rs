//! Filters: all that matches comes, and nothing else.

use serde_json::Value;
use tracer_tests::generator::{Actor, Fact, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::scene::Scene;
use tracer_tests::stream::Stream;
use tracer_tests::trace::Trace;
use tracer_tests::traffic::sys::{boot_ns, until};

/// Two clients, a server and a listener in one namespace, before any trace.
struct Stage {
    ns: Netns,
    one: Actor,
    two: Actor,
    server: Actor,
}

impl Stage {
    fn set() -> Self {
        let ns = Netns::new();
        let one = Actor::builder(&ns).comm("client one").start();
        let two = Actor::builder(&ns).comm("client two").uid(12345).start();
        let server = Actor::builder(&ns).comm("the server").start();
        Self { ns, one, two, server }
    }

    /// Makes connections of each client under a trace with `args`; the events of the facts that `choose` accepts must
    /// come.
    fn expect(&self, args: &[&str], choose: impl Fn(&Fact) -> bool) {
        let trace = Trace::with(args);
        let facts = self.play();
        let chosen: Vec<Fact> = facts.into_iter().filter(choose).collect();
        assert!(!chosen.is_empty(), "the filter leaves something");
        trace.expect_filtered(&[&self.ns], &chosen);
    }

    /// The facts of a connection by each client over IPv4 and IPv6, to listeners at ports 8001 and 8002.
    fn play(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for at in ["127.0.0.1:8001", "[::1]:8002"] {
            let listener = Listener::open(&self.server, &self.ns, at);
            for client in [&self.one, &self.two] {
                let mut pair = Pair::open(client, &self.ns, &listener);
                pair.client_sends(5);
                facts.extend(pair.client_closes_first());
            }
            facts.push(listener.close());
        }
        facts
    }
}

#[test]
fn pid() {
    let stage = Stage::set();
    let pid = stage.one.process.pid;
    stage.expect(&["-p", &pid.to_string()], |fact| fact.owner.pid == pid);
}

#[test]
fn pid_of_a_server() {
    let stage = Stage::set();
    let pid = stage.server.process.pid;
    stage.expect(&["-p", &pid.to_string()], |fact| fact.owner.pid == pid);
}

#[test]
fn two_pids() {
    let stage = Stage::set();
    let pids = [stage.one.process.pid, stage.two.process.pid];
    stage.expect(&["-p", &format!("{},{}", pids[0], pids[1])], |fact| pids.contains(&fact.owner.pid));
}

#[test]
fn uid() {
    Stage::set().expect(&["--uid", "12345"], |fact| fact.owner.uid == 12345);
}

#[test]
fn comm() {
    Stage::set().expect(&["--comm", "client t*"], |fact| fact.owner.comm == "client two");
}

#[test]
fn comm_excluded() {
    let stage = Stage::set();
    let args = ["--comm", "!the server", "--netns", &stage.ns.inode().to_string()];
    stage.expect(&args, |fact| fact.owner.comm != "the server");
}

#[test]
fn netns_by_inode() {
    let stage = Stage::set();
    stage.expect(&["--netns", &stage.ns.inode().to_string()], |_| true);
}

#[test]
fn netns_by_name() {
    let stage = Stage::set();
    stage.expect(&["--netns", stage.ns.name()], |_| true);
}

#[test]
fn netns_by_pid() {
    let stage = Stage::set();
    stage.expect(&["--netns", &stage.one.process.pid.to_string()], |_| true);
}

#[test]
fn another_netns() {
    let (stage, other) = (Stage::set(), Netns::new());
    let trace = Trace::with(&["--netns", &other.inode().to_string()]);
    stage.play();
    trace.expect_filtered(&[&stage.ns, &other], &[]);
}

#[test]
fn family_4() {
    Stage::set().expect(&["-4"], |fact| fact.family == 4);
}

#[test]
fn family_6() {
    Stage::set().expect(&["-6"], |fact| fact.family == 6);
}

fn has_port(fact: &Fact, port: u16) -> bool {
    fact.lport == Some(port) || fact.rport == Some(port)
}

#[test]
fn port() {
    Stage::set().expect(&["--port", "8001"], |fact| has_port(fact, 8001));
}

#[test]
fn port_range() {
    Stage::set().expect(&["--port", "8002-8100,9"], |fact| has_port(fact, 8002));
}

#[test]
fn local_port() {
    Stage::set().expect(&["--lport", "8001"], |fact| fact.lport == Some(8001));
}

#[test]
fn remote_port() {
    Stage::set().expect(&["--rport", "8002"], |fact| fact.rport == Some(8002));
}

#[test]
fn remote_port_excluded() {
    let stage = Stage::set();
    let args = ["--rport", "!8002", "--role", "client", "--netns", &stage.ns.inode().to_string()];
    stage.expect(&args, |fact| fact.role == "client" && fact.rport != Some(8002));
}

#[test]
fn role_client() {
    Stage::set().expect(&["--role", "client"], |fact| fact.role == "client");
}

#[test]
fn role_server() {
    let stage = Stage::set();
    let trace = Trace::with(&["--role", "server"]);
    let mut servers: Vec<Fact> = stage.play().into_iter().filter(|fact| fact.role == "server").collect();
    for fact in &mut servers {
        fact.listener_unseen = true;
    }
    trace.expect_filtered(&[&stage.ns], &servers);
}

#[test]
fn address() {
    Stage::set().expect(&["--addr", "127.0.0.0/8"], |fact| fact.family == 4);
}

#[test]
fn address_excluded() {
    let stage = Stage::set();
    let args = ["--addr", "!127.0.0.0/8", "--netns", &stage.ns.inode().to_string()];
    stage.expect(&args, |fact| fact.family == 6);
}

#[test]
fn local_and_remote_address() {
    let scene = Scene::veth_with(&["--laddr", "10.7.0.1", "--raddr", "10.7.0.0/30"]);
    let listener = scene.listen("10.7.0.2:0");
    let [client, _] = scene.pair(&listener).client_closes_first();
    let _ = listener.close();
    scene.expect_filtered(&[client]);
}

#[test]
fn no_loopback() {
    let scene = Scene::veth_with(&["--no-loopback"]);
    let (near, far) = (scene.listen("127.0.0.1:0"), scene.listen("10.7.0.2:0"));
    let mut facts = scene.pair(&far).client_closes_first().to_vec();
    let inside = Pair::open(&scene.server, scene.server_ns(), &near).client_closes_first();
    assert!(inside.iter().all(|fact| fact.raddr.is_some_and(|addr| addr.is_loopback())));
    // A listener at a loopback address has no peer: it is loopback's all the same.
    let _ = near.close();
    facts.push(far.close());
    scene.expect_filtered(&facts);
}

#[test]
fn different_kinds_are_anded() {
    let stage = Stage::set();
    let args = ["--port", "8001", "--uid", "12345", "-4"];
    stage.expect(&args, |fact| has_port(fact, 8001) && fact.owner.uid == 12345 && fact.family == 4);
}

#[test]
fn follow() {
    let stage = Stage::set();
    // One child is there before the trace, one comes later, and that one has a child too.
    let before = stage.one.fork();
    let trace = Trace::with(&["-f", "-p", &stage.one.process.pid.to_string()]);
    let after = stage.one.fork();
    let grandchild = after.fork();
    let listener = Listener::open(&stage.server, &stage.ns, "127.0.0.1:0");
    let mut facts = Vec::new();
    for client in [&stage.one, &before, &after, &grandchild] {
        let [client, _] = Pair::open(client, &stage.ns, &listener).client_closes_first();
        facts.push(client);
    }
    let _ = Pair::open(&stage.two, &stage.ns, &listener).client_closes_first();
    let _ = listener.close();
    trace.expect_filtered(&[&stage.ns], &facts);
}

#[test]
fn without_follow_children_are_others() {
    let stage = Stage::set();
    let trace = Trace::with(&["-p", &stage.one.process.pid.to_string()]);
    let child = stage.one.fork();
    let listener = Listener::open(&stage.server, &stage.ns, "127.0.0.1:0");
    let _ = Pair::open(&child, &stage.ns, &listener).client_closes_first();
    let [client, _] = Pair::open(&stage.one, &stage.ns, &listener).client_closes_first();
    let _ = listener.close();
    trace.expect_filtered(&[&stage.ns], &[client]);
}

#[test]
fn filtered_by_pid_keeps_what_was_open_before() {
    let stage = Stage::set();
    let listener = Listener::open(&stage.server, &stage.ns, "127.0.0.1:0");
    let (one, two) = (Pair::open(&stage.one, &stage.ns, &listener), Pair::open(&stage.two, &stage.ns, &listener));
    let trace = Trace::with(&["-p", &stage.one.process.pid.to_string()]);
    let [client, _] = one.client_closes_first();
    let _ = two.client_closes_first();
    let _ = listener.close();
    let mut client = client.preexisting("ESTABLISHED");
    client.any_role = true;
    trace.expect_filtered(&[&stage.ns], &[client]);
}

/// Makes a refused connection and a good one; returns the stream and the namespace.
fn one_fails(args: &[&str]) -> (Stream, u64) {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = Trace::with(args);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let _ = Pair::open(&client, &ns, &listener).client_closes_first();
    let _ = listener.close();
    let fd = client.socket(4);
    assert_eq!(client.connect(fd, "127.0.0.1:9").errno(), Some("ECONNREFUSED"));
    // The fence's own connection is refused: every filter here lets its close pass.
    trace.fence();
    let ended = trace.agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    (ended.stream, ns.inode())
}

fn verdicts(stream: &Stream, netns: u64) -> Vec<&Value> {
    stream.of_netns(netns).filter(|e| e["event"] == "close").map(|e| &e["verdict"]).collect()
}

#[test]
fn failed() {
    let (stream, netns) = one_fails(&["--failed"]);
    assert_eq!(verdicts(&stream, netns), ["refused"]);
}

#[test]
fn verdict() {
    let (stream, netns) = one_fails(&["--verdict", "refused,timed_out"]);
    assert_eq!(verdicts(&stream, netns), ["refused"]);
}

#[test]
fn event() {
    let (stream, netns) = one_fails(&["--event", "close,listen"]);
    let kinds: Vec<_> = stream.of_netns(netns).map(|e| e["event"].as_str().unwrap_or_default()).collect();
    assert!(kinds.iter().all(|kind| ["close", "listen"].contains(kind)), "{kinds:?}");
    // Client, server, the listener, and the refused one.
    assert_eq!(kinds.iter().filter(|kind| **kind == "close").count(), 4, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "listen").count(), 1, "{kinds:?}");
}

#[test]
fn states_of_a_life() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = Trace::with(&["--states"]);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    let port = facts[0].lport;
    facts.push(listener.close());
    let stream = trace.expect(&[&ns], &facts);
    let steps: Vec<(&str, &str)> = stream
        .kind("state")
        .filter(|e| e["netns"] == ns.inode() && e["role"] == "client")
        .map(|e| (e["old"].as_str().unwrap_or("?"), e["new"].as_str().unwrap_or("?")))
        .collect();
    assert!(port.is_some());
    let due =
        [("CLOSE", "SYN_SENT"), ("SYN_SENT", "ESTABLISHED"), ("ESTABLISHED", "FIN_WAIT1"), ("FIN_WAIT1", "FIN_WAIT2")];
    assert_eq!(&steps[..due.len().min(steps.len())], due);
}

#[test]
fn min_duration() {
    const LEAST: u64 = 1_000_000_000;
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = Trace::with(&["--min-duration", "1s"]);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let began = boot_ns();
    let long = Pair::open(&client, &ns, &listener);
    let lports = [long.client_fact.lport, long.server_fact.rport];
    // One that certainly was shorter: on a busy host the first one may not have been.
    loop {
        let began = boot_ns();
        Pair::open(&client, &ns, &listener).client_closes_first();
        if boot_ns() - began < LEAST {
            break;
        }
    }
    // Both sides of the long one begin within this.
    let opened = boot_ns();
    assert_eq!(until(|| Ok(boot_ns() - opened > LEAST)), Ok(()));
    long.client_closes_first();
    let most = (boot_ns() - began) / 1000;
    let netns = ns.inode();
    for role in ["client", "server"] {
        trace
            .agent
            .wait_for("close of the long one", |e| e["event"] == "close" && e["netns"] == netns && e["role"] == role);
    }
    let stream = trace.agent.stop().stream;
    for event in stream.of_netns(netns) {
        assert_eq!(event["event"], "close", "only ends have a length: {event}");
        let duration = event["duration_us"].as_u64().unwrap_or(0);
        assert!(duration >= LEAST / 1000, "{event}");
        // The listener goes on to the end of the trace.
        assert!(duration <= most || event["role"] == "listener", "{event}");
    }
    let long_ones = stream.of_netns(netns).filter(|e| {
        lports.contains(&e["lport"].as_u64().map(|p| p as u16))
            || lports.contains(&e["rport"].as_u64().map(|p| p as u16))
    });
    assert_eq!(long_ones.count(), 2);
}
