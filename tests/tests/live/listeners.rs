//! Several listeners on one address and port: each has its own connections, and its own end.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::stream::Stream;
use tracer_tests::trace::Trace;
use tracer_tests::traffic::sys::until;

/// include/uapi/asm-generic/socket.h; libc has no name for it.
const SO_BINDTOIFINDEX: i32 = 62;

/// Listens at `at`, where others may listen, too; bound to `device` unless that is 0.
fn listen<'a>(actor: &'a Actor, ns: &'a Netns, at: &str, device: u32) -> Listener<'a> {
    listen_for(64, actor, ns, at, device)
}

/// Like [`listen`], with room for `backlog` connections and one more.
fn listen_for<'a>(backlog: u32, actor: &'a Actor, ns: &'a Netns, at: &str, device: u32) -> Listener<'a> {
    let at: SocketAddr = at.parse().expect("an address");
    let fd = actor.socket(if at.is_ipv6() { 6 } else { 4 });
    for (name, value) in [(libc::SO_REUSEPORT, 1), (SO_BINDTOIFINDEX, device)] {
        if value != 0 {
            let level = libc::SOL_SOCKET;
            actor.must(json!({ "op": "set_option", "fd": fd, "level": level, "name": name, "value": value }));
        }
    }
    actor.bind(fd, at);
    let reply = actor.must(json!({ "op": "listen", "fd": fd, "backlog": backlog }));
    let addr: SocketAddr = reply.value.as_str().and_then(|text| text.parse().ok()).expect("it has an address");
    let fact = tracer_tests::generator::Fact::new("listener", ns, &reply.who, Some(addr));
    Listener { actor, namespace: ns, fd, addr, fact }
}

/// The number of connections in the queue of the listener of `pid`, from `ss`.
fn waiting(ns: &Netns, pid: u32) -> usize {
    let said = ns.run(&["ss", "-Hltnp"]);
    let line = said.lines().find(|line| line.contains(&format!("pid={pid},"))).expect("it listens");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a queue")
}

/// Makes `count` connections from `client` to `to`, which send nothing; returns their local ports.
fn connect(client: &Actor, to: SocketAddr, count: usize) -> Vec<u16> {
    let to = to.to_string();
    let one = |_| {
        let fd = client.socket(if to.starts_with('[') { 6 } else { 4 });
        let reply = client.connect(fd, &*to);
        assert_eq!(reply.errno(), None, "{to}");
        reply.local().port()
    };
    (0..count).map(one).collect()
}

/// Accepts all waiting connections of `listener`; returns the peers' ports.
fn accept_all(listener: &Listener<'_>) -> Vec<u16> {
    let queue = waiting(listener.namespace, listener.actor.process.pid);
    (0..queue).map(|_| listener.accept().1.rport.expect("a peer")).collect()
}

/// Events `kind` of servers: peer's port, owner, its source, the event.
fn servers<'a>(stream: &'a Stream, ns: &Netns, kind: &str) -> Vec<(u16, Option<u64>, &'a str, &'a Value)> {
    let of = stream.of_netns(ns.inode()).filter(|e| e["event"] == kind && e["role"] == "server");
    of.map(|e| {
        let port = e["rport"].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
        (port, e["owner"]["pid"].as_u64(), e["owner_source"].as_str().expect("a source"), e)
    })
    .collect()
}

/// A trace of this namespace only: others make many connections.
fn start(ns: &Netns) -> Trace {
    Trace::with(&["--netns", ns.name()])
}

/// Ends the trace when `count` connections have come in and `closed` listeners have closed.
fn told(trace: Trace, count: usize, closed: usize) -> Stream {
    trace.agent.settles(|events| {
        let of = |kind: &str, role: &str| events.iter().filter(|e| e["event"] == kind && e["role"] == role).count();
        of("established", "server") >= count && of("close", "listener") >= closed
    });
    let ended = trace.agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.stream.lost(), 0, "{}", ended.stream.summary());
    ended.stream
}

/// Three processes listen at `at`, before or in the trace. One closes with connections in its queue.
fn share(at: &str, before: bool) {
    let ns = Netns::new();
    let client = Actor::start(&ns);
    let workers: Vec<Actor> = (0..3).map(|_| Actor::start(&ns)).collect();
    let early = (!before).then(|| start(&ns));
    let first = listen(&workers[0], &ns, at, 0);
    let at = first.addr;
    let mut listeners = vec![first];
    for worker in &workers[1..] {
        listeners.push(listen(worker, &ns, &at.to_string(), 0));
    }
    let trace = early.unwrap_or_else(|| start(&ns));
    let mut ports = connect(&client, at, 48);
    let whole = |ns: &Netns| workers.iter().map(|worker| waiting(ns, worker.process.pid)).sum::<usize>();
    until(|| Ok(whole(&ns) == 48)).expect("all connections wait");
    let mut truth: BTreeMap<u16, u32> = BTreeMap::new();
    for listener in &listeners[1..] {
        truth.extend(accept_all(listener).into_iter().map(|port| (port, listener.actor.process.pid)));
    }
    let (closed, accepted) = (workers[0].process.pid, truth.len());
    ports.retain(|port| !truth.contains_key(port));
    truth.extend(ports.iter().map(|port| (*port, closed)));
    assert!(accepted > 0 && accepted < 48, "the kernel spreads them");
    let first = listeners.remove(0);
    workers[0].on("close", first.fd);
    trace.agent.settles(|events| events.iter().filter(|e| e["verdict"] == "listener_closed").count() >= 48 - accepted);
    let stream = told(trace, 48, 1);

    let established = servers(&stream, &ns, "established");
    assert_eq!(established.len(), 48);
    for (port, owner, source, event) in established {
        assert_eq!((owner, source), (Some(truth[&port].into()), "listener"), "{event}");
    }
    let closes = servers(&stream, &ns, "close");
    assert_eq!(closes.len(), 48);
    for (port, owner, _, event) in closes {
        assert_eq!(owner, Some(truth[&port].into()), "{event}");
        assert_eq!(event["verdict"] == "listener_closed", truth[&port] == closed, "{event}");
    }
    let of_listeners = |kind| -> Vec<(u64, String)> {
        let of = stream.of_netns(ns.inode()).filter(|e| e["event"] == kind && e["role"] == "listener");
        let mut all: Vec<_> = of
            .map(|e| (e["owner"]["pid"].as_u64().unwrap_or(0), e["verdict"].as_str().unwrap_or("").to_owned()))
            .collect();
        all.sort();
        all
    };
    let pids = workers.iter().map(|worker| u64::from(worker.process.pid));
    let all: Vec<_> = pids.clone().map(|pid| (pid, String::new())).collect();
    assert_eq!(of_listeners(if before { "open" } else { "listen" }), all);
    let end = |pid| if pid == u64::from(closed) { "closed_local" } else { "open_at_end" };
    assert_eq!(of_listeners("close"), pids.map(|pid| (pid, end(pid).to_owned())).collect::<Vec<_>>());
}

#[test]
fn each_of_three_on_one_port_has_its_own_connections() {
    share("127.0.0.1:0", false);
}

#[test]
fn each_of_three_on_one_port_has_its_own_connections_v6() {
    share("[::]:0", false);
}

#[test]
fn of_three_older_ones_on_one_port_each_has_its_own_connections_and_end() {
    share("127.0.0.1:0", true);
}

#[test]
fn of_three_older_ones_on_one_port_each_has_its_own_connections_and_end_v6() {
    share("[::1]:0", true);
}

/// The old process serves until the new one listens, and then closes.
#[test]
fn in_a_rolling_restart_each_connection_is_of_who_will_accept_it() {
    let ns = Netns::new();
    let (client, old, new) = (Actor::start(&ns), Actor::start(&ns), Actor::start(&ns));
    let first = listen(&old, &ns, "127.0.0.1:0", 0);
    let at = first.addr;
    let trace = start(&ns);
    let alone = connect(&client, at, 4);
    assert_eq!(accept_all(&first).len(), 4);
    let second = listen(&new, &ns, &at.to_string(), 0);
    let both = connect(&client, at, 24);
    let of_old = accept_all(&first);
    old.on("close", first.fd);
    let after = connect(&client, at, 4);
    let of_new = accept_all(&second);
    assert_eq!(of_old.len() + of_new.len(), both.len() + after.len());
    let stream = told(trace, alone.len() + both.len() + after.len(), 1);
    let established = servers(&stream, &ns, "established");
    assert_eq!(established.len(), alone.len() + both.len() + after.len());
    for (port, owner, _, event) in established {
        let is_old = alone.contains(&port) || of_old.contains(&port);
        assert_eq!(owner, Some(if is_old { old.process.pid } else { new.process.pid }.into()), "{event}");
    }
    let closes: Vec<&Value> = stream
        .of_netns(ns.inode())
        .filter(|e| e["event"] == "close" && e["role"] == "listener" && e["verdict"] == "closed_local")
        .collect();
    assert_eq!(closes.len(), 1);
    assert_eq!(closes[0]["owner"]["pid"], old.process.pid);
    assert_eq!(stream.of_netns(ns.inode()).filter(|e| e["event"] == "open" && e["role"] == "listener").count(), 1);
}

/// Two processes listen at one port, each for a device.
fn a_device_each(before: bool) {
    let (near, far) = Netns::pair();
    let (client, server_client) = (Actor::start(&near), Actor::start(&far));
    let (inner, outer) = (Actor::start(&far), Actor::start(&far));
    let early = (!before).then(|| start(&far));
    let first = listen(&inner, &far, "0.0.0.0:0", far.ifindex("lo"));
    let port = first.addr.port();
    let second = listen(&outer, &far, &format!("0.0.0.0:{port}"), far.ifindex("wire"));
    let trace = early.unwrap_or_else(|| start(&far));
    let inside = connect(&server_client, SocketAddr::from(([127, 0, 0, 1], port)), 3);
    let outside = connect(&client, SocketAddr::from(([10, 7, 0, 2], port)), 3);
    assert_eq!((accept_all(&first), accept_all(&second)), (inside.clone(), outside.clone()));
    let stream = told(trace, 6, 0);
    let established = servers(&stream, &far, "established");
    assert_eq!(established.len(), 6);
    for (port, owner, source, event) in established {
        let owned = if inside.contains(&port) { &inner } else { &outer };
        assert_eq!((owner, source), (Some(owned.process.pid.into()), "listener"), "{event}");
    }
}

#[test]
fn with_a_listener_a_device_each_has_its_own_connections() {
    a_device_each(false);
}

#[test]
fn with_an_older_listener_a_device_each_has_its_own_connections() {
    a_device_each(true);
}

#[test]
fn a_listener_at_the_address_goes_before_one_at_any() {
    let ns = Netns::new();
    let (client, any, exact) = (Actor::start(&ns), Actor::start(&ns), Actor::start(&ns));
    let first = listen(&any, &ns, "0.0.0.0:0", 0);
    let port = first.addr.port();
    let second = listen(&exact, &ns, &format!("127.0.0.1:{port}"), 0);
    let trace = start(&ns);
    let (to_exact, to_any) = (
        connect(&client, SocketAddr::from(([127, 0, 0, 1], port)), 2),
        connect(&client, SocketAddr::from(([127, 0, 0, 2], port)), 2),
    );
    assert_eq!((accept_all(&second), accept_all(&first)), (to_exact.clone(), to_any));
    let stream = told(trace, 4, 0);
    for (port, owner, _, event) in servers(&stream, &ns, "established") {
        let owned = if to_exact.contains(&port) { &exact } else { &any };
        assert_eq!(owner, Some(owned.process.pid.into()), "{event}");
    }
}

/// listen() on an unbound socket; returns the port that the kernel chose.
fn listen_unbound(actor: &Actor) -> (i64, u16) {
    let fd = actor.socket(4);
    let reply = actor.must(json!({ "op": "listen", "fd": fd, "backlog": 4 }));
    let addr = reply.value.as_str().and_then(|text| text.parse::<SocketAddr>().ok()).expect("it has an address");
    (fd, addr.port())
}

#[test]
fn a_listener_that_nobody_bound_has_the_port_that_the_kernel_chose() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = start(&ns);
    let (fd, port) = listen_unbound(&server);
    trace.agent.wait_for("the port, before anything else happens", |event| {
        event["event"] == "listen" && event["lport"] == port
    });
    let ports = connect(&client, SocketAddr::from(([127, 0, 0, 1], port)), 2);
    server.on("close", fd);
    let stream = told(trace, 2, 1);
    let of = |kind: &str, role: &str| -> Vec<&Value> {
        stream.of_netns(ns.inode()).filter(|e| e["event"] == kind && e["role"] == role).collect()
    };
    assert_eq!((of("listen", "listener").len(), of("open", "listener").len()), (1, 0));
    let closes = of("close", "listener");
    assert_eq!((closes.len(), &closes[0]["lport"], &closes[0]["verdict"]), (1, &port.into(), &"closed_local".into()));
    let established = servers(&stream, &ns, "established");
    assert_eq!(established.len(), ports.len());
    for (_, owner, source, event) in established {
        assert_eq!((owner, source), (Some(server.process.pid.into()), "listener"), "{event}");
    }
}

#[test]
fn a_listener_that_nobody_bound_and_that_closes_at_once_is_told_with_its_port() {
    let ns = Netns::new();
    let server = Actor::start(&ns);
    let trace = start(&ns);
    let (fd, port) = listen_unbound(&server);
    server.on("close", fd);
    let stream = told(trace, 0, 1);
    let of: Vec<_> = stream.of_netns(ns.inode()).map(|e| (e["event"].as_str(), e["lport"].as_u64())).collect();
    assert_eq!(of, [(Some("listen"), Some(port.into())), (Some("close"), Some(port.into()))]);
}

#[test]
fn a_filter_for_the_port_that_the_kernel_chose_passes_the_listener() {
    let ns = Netns::new();
    let (server, client) = (Actor::start(&ns), Actor::start(&ns));
    ns.sysctl("net/ipv4/ip_local_port_range", "40000 40000");
    let trace = Trace::with(&["--netns", ns.name(), "--lport", "40000"]);
    let (fd, port) = listen_unbound(&server);
    assert_eq!(port, 40000);
    trace.agent.wait_for("the listener", |event| event["event"] == "listen" && event["lport"] == port);
    server.on("close", fd);
    drop(client);
    assert_eq!(told(trace, 0, 1).of_netns(ns.inode()).count(), 2);
}

/// SYNs of this namespace that the kernel discarded because the queue was full.
fn overflows(ns: &Netns) -> u64 {
    let text = ns.within(|| std::fs::read_to_string("/proc/thread-self/net/netstat")).expect("the kernel counts");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    let (_, number) = pairs.find(|(name, _)| *name == "ListenOverflows").expect("the counter");
    number.parse().expect("a number")
}

/// A SYN finds a full queue and its listener closes; the next SYN of the connection comes to another listener, which
/// has begun to listen in between.
fn a_late_syn(at: &str, before: bool) {
    let ns = Netns::new();
    let actor = |name: &str| Actor::builder(&ns).comm(name).start();
    let (client, first, second) = (actor("client"), actor("first"), actor("second"));
    let earlier = before.then(|| start(&ns));
    let closing = listen_for(0, &first, &ns, at, 0);
    let trace = earlier.unwrap_or_else(|| start(&ns));
    connect(&client, closing.addr, 1);
    until(|| Ok(waiting(&ns, first.process.pid) == 1)).expect("the first one waits");
    let fd = client.nonblocking_socket(if closing.addr.is_ipv6() { 6 } else { 4 });
    assert_eq!(client.connect(fd, &*closing.addr.to_string()).errno(), Some("EINPROGRESS"));
    until(|| Ok(overflows(&ns) > 0)).expect("the queue is full");
    let staying = listen(&second, &ns, at, 0);
    first.on("close", closing.fd);
    until(|| Ok(waiting(&ns, second.process.pid) == 1)).expect("the SYN is sent again");
    let port = staying.accept().1.rport.expect("a peer");
    let stream = told(trace, 2, 1);
    let pid = Some(u64::from(second.process.pid));
    let late: Vec<_> = servers(&stream, &ns, "established").into_iter().filter(|(of, ..)| *of == port).collect();
    assert!(matches!(late[..], [(_, owner, "listener", _)] if owner == pid), "of the one that listens still: {late:?}");
    let late: Vec<_> = servers(&stream, &ns, "accept").into_iter().filter(|(of, ..)| *of == port).collect();
    assert!(matches!(late[..], [(_, owner, "accept", _)] if owner == pid), "who has accepted it: {late:?}");
    let closes = stream.of_netns(ns.inode()).filter(|e| e["event"] == "close" && e["role"] == "listener");
    let closed: Vec<_> = closes.filter(|e| e["verdict"] != "open_at_end").map(|e| e["owner"]["pid"].as_u64()).collect();
    assert_eq!(closed, [Some(u64::from(first.process.pid))], "whose listener has closed");
}

#[test]
fn a_syn_sent_again_after_its_listener_closed_is_of_the_one_that_stays() {
    a_late_syn("127.0.0.1:4650", true);
}

#[test]
fn a_syn_sent_again_after_an_older_listener_closed_is_of_the_one_that_stays() {
    a_late_syn("[::1]:4651", false);
}

/// `ss -K` closes the listener: the kernel closes it twice.
#[test]
fn a_listener_that_is_destroyed_ends_once() {
    let ns = Netns::new();
    let (old, young) = (Actor::start(&ns), Actor::start(&ns));
    let earlier = listen(&old, &ns, "127.0.0.1:0", 0);
    let trace = start(&ns);
    let later = listen(&young, &ns, "127.0.0.1:0", 0);
    ns.destroy_sockets(&["state", "listening"]);
    until(|| Ok(ns.run(&["ss", "-Hltn"]).trim().is_empty())).expect("no listener is left");
    for listener in [&earlier, &later] {
        listener.actor.on("close", listener.fd);
    }
    let stream = told(trace, 0, 2);
    let seen = |event: &Value| (event["event"].clone(), event["lport"].as_u64(), event["owner"]["pid"].as_u64());
    let mut events: Vec<_> = stream.of_netns(ns.inode()).filter(|e| e["event"] != "process").map(seen).collect();
    let mut expected = Vec::new();
    for (kind, listener) in [("open", &earlier), ("listen", &later), ("close", &earlier), ("close", &later)] {
        let pid = listener.actor.process.pid.into();
        expected.push((kind.into(), Some(listener.addr.port().into()), Some(pid)));
    }
    let key = |(kind, port, _): &(Value, Option<u64>, Option<u64>)| (kind.to_string(), *port);
    events.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(events, expected);
}
