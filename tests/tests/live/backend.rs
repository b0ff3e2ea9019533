//! Every link of every chain gives the same stream: the test forces each link that this kernel can load, plays one
//! scenario, and compares the stream with that of the best links.

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, run_to_end};
use tracer_tests::alone::alone;
use tracer_tests::compare;
use tracer_tests::generator::{Actor, Fact, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::retold::{Tale, differences, tale};
use tracer_tests::stream::Stream;
use tracer_tests::trace::Trace;

/// The finding of `tracer doctor` about one hook.
struct Shown {
    hook: String,
    chosen: Option<String>,
    refused: Vec<String>,
}

/// The hooks as `doctor` shows them.
fn doctor(args: &[&str]) -> Vec<Shown> {
    let (status, out, err) = run_to_end(&[&["doctor", "--json"][..], args].concat());
    assert!(status.success(), "{err}");
    let findings: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let load = findings.iter().position(|finding| finding["name"] == "load").expect("a finding about loading");
    let hooks = findings[load + 1..].iter().take_while(|finding| finding["name"] != "proc_fd");
    hooks
        .map(|finding| {
            let why = finding["why"].as_str().unwrap_or_default();
            let refused =
                why.split("; ").filter_map(|part| part.split_once(" refused: ")).map(|(link, _)| link.to_owned());
            Shown {
                hook: finding["name"].as_str().expect("a name").to_owned(),
                chosen: finding["backend"].as_str().map(str::to_owned),
                refused: refused.collect(),
            }
        })
        .collect()
}

/// The links of a hook, from the answer to a wrong name.
fn links(hook: &str) -> Vec<String> {
    let (status, _, err) = run_to_end(&["doctor", "--backend", &format!("{hook}=x")]);
    assert_eq!(status.code(), Some(2), "{err}");
    let list = err.lines().find_map(|line| line.split_once(" it has ")).expect("the links are listed").1;
    list.split(", ").map(|link| link.trim().to_owned()).collect()
}

/// The scenario, and the events that are due.
struct Played {
    stream: Stream,
    facts: Vec<Fact>,
    tale: Tale,
}

/// Plays the scenario under a tracer with `args`. `placed`: the stream knows namespaces.
fn play(args: &[&str], placed: bool) -> Played {
    let ns = Netns::new();
    let client = Actor::builder(&ns).comm("test client").start();
    let trace = Trace::with(&[&["--states"][..], args].concat());
    let server = Actor::builder(&ns).comm("test server").start();
    let worker_listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let worker = server.fork();
    let mut facts = Vec::new();
    // IPv4, IPv6 and IPv4 by an IPv6 socket; both orders of the end.
    for (name, at, to) in
        [("v4", "127.0.0.1:0", "127.0.0.1"), ("v6", "[::1]:0", "::1"), ("mapped", "[::]:0", "::ffff:127.0.0.1")]
    {
        let listener = Listener::open(&server, &ns, at);
        let to = (to.parse::<std::net::IpAddr>().expect("an address"), listener.addr.port()).into();
        for first in ["client", "server"] {
            let mut pair = Pair::open_to(&client, &ns, &listener, to);
            pair.client_sends(100);
            pair.server_sends(50);
            let ends = if first == "client" { pair.client_closes_first() } else { pair.server_closes_first() };
            facts.extend(ends.map(|fact| {
                let label = format!("{name}, {first} first: {}", fact.role);
                fact.label(&label)
            }));
        }
        facts.push(listener.close().label(&format!("{name}: listener")));
    }
    // No listener.
    for (name, family, to) in [("refused v4", 4, "127.0.0.1:9"), ("refused v6", 6, "[::1]:9")] {
        let fd = client.socket(family);
        let reply = client.connect(fd, to);
        assert_eq!(reply.errno(), Some("ECONNREFUSED"));
        let fact = Fact::new("client", &ns, &reply.who, reply.address("local")).peer(to.parse().expect("an address"));
        let mut fact = fact.label(name).never_established().ends("refused", Some("ECONNREFUSED"));
        fact.laddr = fact.raddr;
        facts.push(fact);
        client.on("close", fd);
    }
    // No route: connect() itself fails.
    let fd = client.socket(4);
    let reply = client.connect(fd, "192.0.2.1:80");
    assert_eq!(reply.errno(), Some("ENETUNREACH"));
    let fact = Fact::new("client", &ns, &reply.who, None).peer("192.0.2.1:80".parse().expect("an address"));
    facts.push(fact.label("no route").failed_at_once("ENETUNREACH"));
    client.on("close", fd);
    // Resets from both sides, and before accept().
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    for (name, pair) in [("client resets", 0), ("server resets", 1)] {
        let mut pair = (Pair::open(&client, &ns, &listener), pair);
        pair.0.client_sends(7);
        let ends = if pair.1 == 0 { pair.0.client_resets() } else { pair.0.server_resets() };
        facts.extend(ends.map(|fact| {
            let label = format!("{name}: {}", fact.role);
            fact.label(&label)
        }));
    }
    facts.extend(reset_before_accept(&ns, &client, &listener));
    // Never accepted.
    let fd = client.socket(4);
    let connected = client.connect(fd, listener.addr);
    let local = connected.local();
    let waits =
        Fact::new("client", &ns, &connected.who, Some(local)).peer(listener.addr).label("never accepted: client");
    let mut child = Fact::new("server", &ns, &server.process, Some(listener.addr)).peer(local);
    (child.accept, child.owner_source) = (false, "listener");
    facts.push(waits.ends("reset_remote", Some("ECONNRESET")));
    facts.push(child.label("never accepted: server").ends("listener_closed", None));
    facts.push(listener.close().label("listener of resets"));
    client.await_state(fd, "CLOSE");
    client.on("close", fd);
    // A worker that was forked accepts.
    let fd = client.socket(4);
    let connected = client.connect(fd, worker_listener.addr);
    let (accepted, accepting) = worker_listener.accept_by(&worker);
    let hooked = |shown: &Shown| shown.hook == "inet_csk_accept" && shown.chosen.is_some();
    let of_kernel: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("-v")).collect();
    if !placed && !doctor(&of_kernel).iter().any(hooked) {
        // Without an accept hook the tracer looks for the holder in /proc.
        await_owner(&trace.agent, connected.local().port(), worker.process.pid);
    }
    client.on("close", fd);
    worker.on("recv_end", accepted);
    worker.on("close", accepted);
    let connecting = Fact::new("client", &ns, &connected.who, Some(connected.local())).peer(worker_listener.addr);
    facts.push(connecting.label("to a worker").ends("closed_local", None));
    facts.push(accepting.label("by a worker").ends("closed_remote", None));
    // Open at the end.
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let [one, other] = Pair::open(&client, &ns, &listener).stays_open();
    facts.extend([one.label("stays: client"), other.label("stays: server")]);
    facts.push(listener.stay().label("stays: listener"));
    facts.push(worker_listener.stay().label("listener of the worker"));

    let stream = if placed { trace.expect(&[&ns], &facts) } else { trace.told(&facts) };
    let people = [(client.process.pid, "client"), (server.process.pid, "server"), (worker.process.pid, "worker")];
    let tale = tale(&stream, &facts, &people);
    Played { stream, facts, tale }
}

/// A connection that the client resets while it waits to be accepted.
fn reset_before_accept(ns: &Netns, client: &Actor, listener: &Listener<'_>) -> [Fact; 2] {
    let fd = client.socket(4);
    let connected = client.connect(fd, listener.addr);
    client.send(fd, 33);
    client.on("await_acked", fd);
    client.on("linger_zero", fd);
    client.on("close", fd);
    let mut near = Fact::new("client", ns, &connected.who, Some(connected.local())).peer(listener.addr);
    near = near.label("reset, then accepted: client").ends("reset_local", None);
    near.tx = Some(33);
    let reply = listener.actor.must(json!({ "op": "accept", "fd": listener.fd }));
    listener.actor.on("close", reply.fd());
    let mut far = Fact::new("server", ns, &reply.who, Some(listener.addr)).peer(connected.local());
    far = far.label("reset, then accepted: server").ends("reset_remote", Some("ECONNRESET"));
    (far.rx, far.any_order) = (Some(33), true);
    [near, far]
}

/// Waits until the tracer has found out that `pid` holds the connection that came in from `port`.
fn await_owner(agent: &Agent, port: u16, pid: u32) {
    let found = format!(" from port {port} is held by [{pid}]");
    let seen = tracer_tests::traffic::sys::until(|| Ok(agent.log().contains(&found)));
    assert_eq!(seen, Ok(()), "{found}; it said:\n{}", agent.log());
}

#[test]
fn every_link_that_loads_tells_the_same() {
    let best = play(&[], true);
    let mut tried = 0;
    for Shown { hook, chosen, .. } in doctor(&[]) {
        for link in links(&hook) {
            if Some(&link) == chosen.as_ref() {
                continue;
            }
            let forced = format!("{hook}={link}");
            let (status, _, err) = run_to_end(&["live", "--json", "--backend", &forced, "--duration", "1ms"]);
            if !status.success() {
                assert_eq!(status.code(), Some(1), "{err}");
                // The kernel may lack the link. A program that its verifier refuses (EACCES) is a fault, but for one
                // known case: it needs 32 bytes of stack more than kernels before 6.13 have.
                assert!(!err.contains("(os error 13)") || forced == "inet_sock_set_state=raw_tp", "{err}");
                continue;
            }
            if best.stream.summary()["backends"][&hook].is_null() {
                // This kernel needs no program there.
                continue;
            }
            let other = play(&["--backend", &forced], true);
            assert_eq!(other.stream.summary()["backends"][&hook], *link);
            let wrong = differences(&best.tale, &other.tale);
            assert!(wrong.is_empty(), "{forced}:\n- {}", wrong.join("\n- "));
            tried += 1;
        }
    }
    assert!(tried >= 4, "links beside the best ones load here: {tried}");
}

#[test]
fn a_link_that_does_not_load_is_refused_by_name() {
    for Shown { hook, refused, .. } in doctor(&[]) {
        for (nth, link) in refused.into_iter().enumerate() {
            let forced = format!("{hook}={link}");
            for command in [&["live", "--json", "--backend", &forced][..], &["doctor", "--backend", &forced]] {
                let (status, out, err) = run_to_end(command);
                assert_eq!((status.code(), out.as_str()), (Some(1), ""), "{err}");
                let sentence = format!("tracer: {hook} cannot be served by {link} here: ");
                assert!(err.lines().count() == 1 && err.starts_with(&sentence), "{err}");
            }
            // `run` differs by its status alone.
            if nth == 0 {
                let (status, _, err) = run_to_end(&["run", "--backend", &forced, "--", "true"]);
                assert_eq!(status.code(), Some(125), "{err}");
            }
        }
    }
}

/// The part of the best tale that needs no type information. `accepts`: accept() is hooked (a kretprobe needs no
/// types).
fn without_types(best: &Tale, accepts: bool) -> Tale {
    let mut left = best.clone();
    // connect() itself failed, and it is not hooked.
    left.remove("no route");
    for events in left.values_mut() {
        let unseen: &[&str] = if accepts { &["error", "reset"] } else { &["error", "reset", "accept"] };
        events.retain(|event| !unseen.iter().any(|kind| event["event"] == *kind));
        // A connection that was never established has no request.
        let established = events.iter().any(|event| event["event"] == "established");
        for event in events {
            let server = event["role"] == "server";
            let listener = event["role"] == "listener";
            let Some(keys) = event.as_object_mut() else { continue };
            for key in [
                "netns",
                "errno",
                "backlog",
                "tx_bytes",
                "rx_bytes",
                "retransmits",
                "drops",
                "srtt_us",
                "min_rtt_us",
                "unacked_bytes",
                "idle_us",
                "limited",
                "delivery_rate",
                "retransmitted_bytes",
            ] {
                if let Some(value) = keys.get_mut(key) {
                    *value = Value::Null;
                }
            }
            if let Some(unanswered) = keys.get_mut("unanswered").filter(|_| established) {
                *unanswered = Value::Null;
            }
            // `syns` comes only with a verdict on the connect().
            keys.remove("syns");
            keys.remove("out_of_order");
            keys.remove("v6only");
            if let Some(verdict) = keys.get_mut("verdict").filter(|verdict| !listener && **verdict != "open_at_end") {
                *verdict = json!("unknown");
            }
            if server && !accepts {
                for key in ["owner", "owner_source", "holders"] {
                    keys.remove(key);
                }
                if let Some(wait) = keys.get_mut("accept_wait_us") {
                    *wait = Value::Null;
                }
            }
        }
    }
    left
}

/// Checks that the owner of a server is the listener's, or the process that holds it according to /proc. Removes the
/// owners of servers.
fn owners_are_looked_up(tale: &mut Tale) {
    let of_worker = tale["by a worker"].last().expect("its close");
    assert_eq!((&of_worker["owner"]["pid"], &of_worker["owner_source"]), (&json!("worker"), &json!("fd")));
    for event in tale.values_mut().flatten().filter(|event| event["role"] == "server") {
        let (pid, source) = (&event["owner"]["pid"], event["owner_source"].as_str());
        assert!(*pid == "server" || *pid == "worker" && source == Some("fd"), "{event}");
        assert!(matches!(source, Some("listener" | "fd")), "{event}");
        for key in ["owner", "owner_source", "holders"] {
            event.as_object_mut().expect("an object").remove(key);
        }
    }
}

#[test]
fn without_type_information_the_rest_is_the_same() {
    alone();
    let best = play(&[], true);
    let mut blind = play(&["--btf", "none", "-vv"], false);
    let summary = blind.stream.summary();
    let degraded: Vec<&str> =
        summary["degraded"].as_array().expect("a list").iter().filter_map(|d| d["name"].as_str()).collect();
    let accepts = degraded.contains(&"accept_by_kretprobe");
    let accept = if accepts { "accept_by_kretprobe" } else { "no_accept" };
    for name in ["no_btf", "no_processes", "no_error_report", accept, "no_connect", "no_drops", "no_resets"] {
        assert_eq!(degraded.iter().filter(|said| **said == name).count(), 1, "{name} is named once: {degraded:?}");
    }
    if !accepts {
        owners_are_looked_up(&mut blind.tale);
    }
    assert_eq!(blind.tale.remove("no route"), Some(Vec::new()));
    let wrong = differences(&without_types(&best.tale, accepts), &blind.tale);
    assert!(wrong.is_empty(), "{}- {}", dump(&blind), wrong.join("\n- "));
    assert_eq!(blind.facts.len(), best.facts.len());
}

fn dump(played: &Played) -> String {
    let lines = |(label, events): (&String, &Vec<Value>)| events.iter().map(|e| format!("{label}: {e}\n")).collect();
    played.tale.iter().map(lines).collect::<Vec<String>>().concat()
}

#[test]
fn types_from_a_file_are_the_kernels_own() {
    let path = tracer_tests::netns::scratch().join("vmlinux.btf");
    std::fs::copy("/sys/kernel/btf/vmlinux", &path).expect("the kernel's type information is copied");
    let text = path.to_str().expect("a path");
    let (best, other) = (play(&[], true), play(&["--btf", text], true));
    let wrong = differences(&best.tale, &other.tale);
    assert!(wrong.is_empty(), "- {}", wrong.join("\n- "));
    assert_eq!(other.stream.summary()["backends"], best.stream.summary()["backends"]);
    std::fs::remove_file(&path).expect("the copy is removed");
    tracer_tests::netns::leave_scratch();
}

#[test]
fn what_is_no_type_information_is_refused() {
    let dir = tracer_tests::netns::scratch();
    let cut = dir.join("cut.btf");
    let whole = std::fs::read("/sys/kernel/btf/vmlinux").expect("the kernel has type information");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("half of it is written");
    for path in [cut.as_path(), "/proc/self/status".as_ref(), "/nonexistent".as_ref()] {
        let (status, out, err) = run_to_end(&["live", "--json", "--btf", path.to_str().expect("a path")]);
        assert_eq!((status.code(), out.as_str()), (Some(1), ""), "{err}");
        assert!(err.lines().count() == 1 && err.contains(path.to_str().expect("a path")), "{err}");
    }
    std::fs::remove_file(&cut).expect("it is removed");
    tracer_tests::netns::leave_scratch();
}

#[test]
fn what_cannot_be_decided_without_types_is_refused() {
    let ns = Netns::new();
    let (status, _, err) = run_to_end(&["live", "--json", "--btf", "none", "--netns", ns.name()]);
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("--netns cannot be decided here"), "{err}");
    let (status, _, err) = run_to_end(&["run", "--json", "--btf", "none", "--", "true"]);
    assert_eq!(status.code(), Some(125), "{err}");
    assert!(err.contains("the command cannot be followed"), "{err}");
}

/// Connections older than a trace that does not know namespaces.
#[test]
fn older_connections_without_types() {
    alone();
    let (ns, twin) = (Netns::new(), Netns::new());
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let (other_client, other_server) = (Actor::start(&twin), Actor::start(&twin));
    let open = |ns: &Netns, client: &Actor, server: &Actor, lport: u16, port: u16| {
        let listener = server.socket(4);
        server.bind(listener, format!("127.0.0.1:{port}").as_str());
        server.must(json!({ "op": "listen", "fd": listener, "backlog": 4 }));
        let fd = client.socket(4);
        client.bind(fd, format!("127.0.0.1:{lport}").as_str());
        assert_eq!(client.connect(fd, format!("127.0.0.1:{port}").as_str()).errno(), None);
        let accepted = server.must(json!({ "op": "accept", "fd": listener })).fd();
        let _ = ns;
        (fd, accepted)
    };
    // One tuple is unique, the other exists in both namespaces.
    let (one, one_server) = open(&ns, &client, &server, 40001, 9001);
    let (same, same_server) = open(&ns, &client, &server, 40002, 9002);
    let _twins = open(&twin, &other_client, &other_server, 40002, 9002);
    let trace = Trace::with(&["--btf", "none"]);
    // The tracer has read /proc then: a connection that closes before is known from its records alone.
    trace.agent.wait_for("open of the one", |event| event["event"] == "open" && event["lport"] == 40001);
    for (fd, accepted) in [(one, one_server), (same, same_server)] {
        client.on("close", fd);
        server.on("recv_end", accepted);
        server.on("close", accepted);
    }
    trace.fence();
    let ended = trace.agent.stop();
    let of = |lport: u16, kind: &str| -> Vec<Value> {
        ended.stream.of_ports(lport, 9000 + lport % 10).filter(|e| e["event"] == kind).cloned().collect()
    };
    let opened = of(40001, "open");
    assert_eq!(opened.len(), 1, "{opened:#?}");
    assert_eq!(opened[0]["netns"], ns.inode(), "/proc knows where it is");
    let closed = of(40001, "close");
    assert_eq!(closed.len(), 1, "{closed:#?}");
    assert_eq!((&closed[0]["conn"], &closed[0]["owner"]["pid"]), (&opened[0]["conn"], &client.process.pid.into()));
    assert_eq!((&closed[0]["verdict"], &closed[0]["preexisting"]), (&json!("unknown"), &json!(true)));
    // The tracer cannot know which of the two has closed: it states nothing of either that may be wrong.
    let closed = of(40002, "close");
    assert_eq!(closed.len(), 3, "{closed:#?}");
    assert!(closed.iter().all(|e| e["verdict"] == "unknown"), "{closed:#?}");
    let nobody = closed.iter().filter(|e| e["owner"].is_null()).count();
    assert_eq!(nobody, 1, "{closed:#?}");
    let wrong = compare::differences(&ended.stream, &[], &[twin.inode()]);
    assert!(!wrong.is_empty(), "the twin is in the stream");
}
