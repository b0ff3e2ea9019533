//! Every way to connect that succeeds, or is given up before it does.

use std::net::SocketAddr;

use serde_json::json;
use tracer_tests::generator::{Fact, Listener, Pair};
use tracer_tests::scene::Scene;
use tracer_tests::skip::{lacks, skip};

/// Bytes go both ways over a listener at `at`; the client closes first.
fn exchange(scene: Scene, at: &str) {
    let listener = scene.listen(at);
    let mut pair = scene.pair(&listener);
    pair.client_sends(1000);
    pair.server_sends(3000);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn blocking_connect_v4() {
    exchange(Scene::loopback(), "127.0.0.1:0");
}

#[test]
fn blocking_connect_v6() {
    exchange(Scene::loopback(), "[::1]:0");
}

#[test]
fn between_namespaces_v4() {
    exchange(Scene::veth(), "10.7.0.2:0");
}

#[test]
fn between_namespaces_v6() {
    exchange(Scene::veth(), "[fd07::2]:0");
}

#[test]
fn link_local_v6() {
    let scene = Scene::veth();
    let (here, there) = (scene.client_ns.ifindex("wire"), scene.server_ns().ifindex("wire"));
    let listener = scene.listen(&*format!("[fe80::2%{there}]:0"));
    let to: SocketAddr = format!("[fe80::2%{here}]:{}", listener.addr.port()).parse().expect("an address");
    let mut pair = Pair::open_to(&scene.client, &scene.client_ns, &listener, to);
    pair.client_sends(10);
    let mut facts = pair.server_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn v4_mapped_client() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let to: SocketAddr = format!("[::ffff:127.0.0.1]:{}", listener.addr.port()).parse().expect("an address");
    let mut pair = Pair::open_to(&scene.client, &scene.client_ns, &listener, to);
    assert!(pair.client_fact.v4mapped && !pair.server_fact.v4mapped);
    pair.client_sends(10);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.stay());
    scene.expect(&facts);
}

#[test]
fn v4_mapped_server() {
    let scene = Scene::loopback();
    let listener = scene.listen("[::]:0");
    let to: SocketAddr = format!("127.0.0.1:{}", listener.addr.port()).parse().expect("an address");
    let mut pair = Pair::open_to(&scene.client, &scene.client_ns, &listener, to);
    assert!(!pair.client_fact.v4mapped && pair.server_fact.v4mapped);
    pair.server_sends(10);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn nonblocking_connect_in_progress() {
    let scene = Scene::veth();
    let listener = scene.listen("10.7.0.2:0");
    let fd = scene.client.nonblocking_socket(4);
    assert_eq!(scene.client.connect(fd, listener.addr).errno(), Some("EINPROGRESS"));
    let connected = scene.client.on("await_outcome", fd);
    assert_eq!(connected.errno(), None);
    let pair = Pair::connected(&scene.client, &scene.client_ns, &listener, fd, listener.addr, &connected);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn nonblocking_closed_at_once() {
    let scene = Scene::veth();
    scene.server_ns().silence("wire");
    let fd = scene.client.nonblocking_socket(4);
    let begun = scene.client.connect(fd, "10.7.0.2:80");
    assert_eq!(begun.errno(), Some("EINPROGRESS"));
    scene.client.on("close", fd);
    let fact = scene.attempt(&begun, "10.7.0.2:80").never_established().ends("no_answer", Some("EINPROGRESS"));
    scene.expect(&[fact]);
}

#[test]
fn bind_before_connect() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let fd = scene.client.socket(4);
    scene.client.bind(fd, "127.0.0.2:34567");
    let pair = Pair::open_by(&scene.client, &scene.client_ns, &listener, fd, listener.addr);
    assert_eq!(pair.client_fact.lport, Some(34567));
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    let stream = scene.expect(&facts);
    let connect = stream.kind("connect").find(|e| e["lport"] == 34567).expect("connect knows the bound port");
    assert_eq!(connect["laddr"], "127.0.0.2");
}

#[test]
fn disconnect_and_reconnect() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut first = scene.pair(&listener);
    first.client_sends(100);
    first.await_acked();
    scene.client.on("disconnect", first.client_fd);
    scene.server.await_state(first.server_fd, "CLOSE");
    scene.server.on("close", first.server_fd);
    let fd = first.client_fd;
    first.client_fact.end("reset_local", None);
    first.server_fact.end("reset_remote", Some("ECONNRESET"));
    let mut facts = first.facts().to_vec();

    let mut second = Pair::open_by(&scene.client, &scene.client_ns, &listener, fd, listener.addr);
    second.client_sends(7);
    facts.extend(second.client_closes_first());
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn disconnect_while_connecting() {
    let scene = Scene::veth();
    scene.server_ns().silence("wire");
    let fd = scene.client.nonblocking_socket(4);
    let begun = scene.client.connect(fd, "10.7.0.2:80");
    scene.client.on("disconnect", fd);
    let mut fact = scene.attempt(&begun, "10.7.0.2:80").never_established().ends("no_answer", Some("EINPROGRESS"));
    // The kernel sets ECONNRESET and takes it back.
    fact.any_errno = true;
    scene.expect(&[fact]);
}

#[test]
fn second_connect_changes_nothing() {
    let scene = Scene::veth();
    let listener = scene.listen("10.7.0.2:0");
    let pair = scene.pair(&listener);
    assert_eq!(scene.client.connect(pair.client_fd, listener.addr).errno(), Some("EISCONN"));
    let mut facts = pair.client_closes_first().to_vec();
    scene.server_ns().silence("wire");
    let fd = scene.client.nonblocking_socket(4);
    let begun = scene.client.connect(fd, "10.7.0.2:80");
    assert_eq!(scene.client.connect(fd, "10.7.0.2:80").errno(), Some("EALREADY"));
    scene.client.on("close", fd);
    facts.push(scene.attempt(&begun, "10.7.0.2:80").never_established().ends("no_answer", Some("EINPROGRESS")));
    facts.push(listener.stay());
    scene.expect(&facts);
}

/// Fast Open with data in the SYN, without a cookie.
fn allow_fast_open(scene: &Scene) {
    scene.client_ns.sysctl("net/ipv4/tcp_fastopen", "519");
}

fn fast_open_listener(scene: &Scene) -> Listener<'_> {
    Listener::open_with(&scene.server, scene.server_ns(), "127.0.0.1:0", 16, 0, |fd| {
        scene.server.tcp_option(fd, libc::TCP_FASTOPEN, 16);
    })
}

/// The pair of a Fast Open connection that carried `len` bytes in its SYN.
fn fast_open_pair<'a>(scene: &'a Scene, listener: &Listener<'a>, fd: i64, len: u64) -> Pair<'a> {
    let connected = scene.client.on("await_outcome", fd);
    let mut pair = Pair::connected(&scene.client, &scene.client_ns, listener, fd, listener.addr, &connected);
    scene.server.recv(pair.server_fd, len);
    pair.client_sent(len);
    // The child may be accepted before the handshake is done.
    pair.server_fact.any_order = true;
    pair
}

#[test]
fn fast_open_by_sendto() {
    let scene = Scene::loopback();
    allow_fast_open(&scene);
    let listener = fast_open_listener(&scene);
    let fd = scene.client.socket(4);
    let addr = listener.addr.to_string();
    let sent = scene.client.must(json!({ "op": "send_fast_open", "fd": fd, "len": 321, "addr": addr }));
    assert_eq!(sent.errno(), None);
    let mut pair = fast_open_pair(&scene, &listener, fd, 321);
    pair.server_sends(10);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn fast_open_by_deferred_connect() {
    let scene = Scene::loopback();
    allow_fast_open(&scene);
    let listener = fast_open_listener(&scene);
    let fd = scene.client.socket(4);
    scene.client.tcp_option(fd, libc::TCP_FASTOPEN_CONNECT, 1);
    assert_eq!(scene.client.connect(fd, listener.addr).errno(), None);
    scene.client.send(fd, 55);
    let pair = fast_open_pair(&scene, &listener, fd, 55);
    let mut facts = pair.server_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn fast_open_with_cookie() {
    let scene = Scene::loopback();
    scene.client_ns.sysctl("net/ipv4/tcp_fastopen", "3");
    let listener = fast_open_listener(&scene);
    let mut facts = Vec::new();
    // The first asks for a cookie, the second uses it.
    for len in [40, 50] {
        let fd = scene.client.socket(4);
        let addr = listener.addr.to_string();
        scene.client.must(json!({ "op": "send_fast_open", "fd": fd, "len": len, "addr": addr }));
        facts.extend(fast_open_pair(&scene, &listener, fd, len).client_closes_first());
    }
    facts.push(listener.close());
    scene.expect(&facts);
}

/// io_uring on both sides; in kernel workers of the processes if `worker`.
fn uring(worker: bool) {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let waiting = scene.server.begin(json!({ "op": "uring_accept", "fd": listener.fd, "worker": worker }));
    let fd = scene.client.socket(4);
    let addr = listener.addr;
    let request = json!({ "op": "uring_connect", "fd": fd, "addr": addr.to_string(), "worker": worker });
    let connected = scene.client.call(request);
    if connected.errno() == Some("EPERM") || connected.errno() == Some("38") {
        return skip(&lacks("io_uring", "io_uring_setup is refused"));
    }
    assert_eq!((connected.errno(), &connected.error), (None, &None));
    let accepted = scene.server.finish(waiting);
    let mut client_fact =
        Fact::new("client", &scene.client_ns, &connected.who, Some(connected.local())).peer(addr).label("client side");
    let mut server_fact = listener.accepted(&accepted);
    (client_fact.any_thread, server_fact.any_thread) = (worker, worker);
    let mut pair = Pair {
        client: &scene.client,
        client_fd: fd,
        client_fact,
        server: &scene.server,
        server_fd: accepted.fd(),
        server_fact,
    };
    pair.client_sends(64);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn io_uring() {
    uring(false);
}

#[test]
fn io_uring_in_a_kernel_worker() {
    uring(true);
}

#[test]
fn io_uring_without_a_local_port() {
    let scene = Scene::loopback();
    scene.client_ns.sysctl("net/ipv4/ip_local_port_range", "40000 40001");
    let listener = scene.listen("127.0.0.1:80");
    let pairs = [scene.pair(&listener), scene.pair(&listener)];
    let fd = scene.client.socket(4);
    let request = json!({ "op": "uring_connect", "fd": fd, "addr": listener.addr.to_string(), "worker": false });
    let reply = scene.client.call(request);
    if reply.errno() == Some("EPERM") || reply.errno() == Some("38") {
        return skip(&lacks("io_uring", "io_uring_setup is refused"));
    }
    assert_eq!(reply.errno(), Some("EADDRNOTAVAIL"));
    let mut facts = vec![scene.attempt(&reply, listener.addr).failed_when_begun("EADDRNOTAVAIL")];
    facts.extend(pairs.into_iter().flat_map(|pair| pair.client_resets()));
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn simultaneous_open() {
    let (scene, wire) = match Scene::wire() {
        Ok(both) => both,
        Err(reason) => return skip(&reason),
    };
    let ends = ["10.7.0.1:5001", "10.7.0.2:5002"];
    let sockets = [(&scene.client, &scene.client_ns), (&scene.server, scene.server_ns())];
    wire.hold();
    let fds: Vec<i64> = (0..2)
        .map(|i| {
            let fd = sockets[i].0.nonblocking_socket(4);
            sockets[i].0.bind(fd, ends[i]);
            assert_eq!(sockets[i].0.connect(fd, ends[1 - i]).errno(), Some("EINPROGRESS"));
            fd
        })
        .collect();
    wire.release();
    for (i, fd) in fds.iter().enumerate() {
        sockets[i].0.await_state(*fd, "ESTABLISHED");
    }
    scene.client.on("close", fds[0]);
    scene.server.await_state(fds[1], "CLOSE_WAIT");
    scene.server.on("close", fds[1]);
    let facts: Vec<Fact> = (0..2)
        .map(|i| {
            let (actor, namespace) = sockets[i];
            let local = ends[i].parse().expect("an address");
            let verdict = if i == 0 { "closed_local" } else { "closed_remote" };
            Fact::new("client", namespace, &actor.process, Some(local))
                .peer(ends[1 - i].parse().expect("an address"))
                .label("simultaneous open")
                .ends(verdict, None)
        })
        .collect();
    scene.expect(&facts);
}

#[test]
fn connect_to_itself() {
    let scene = Scene::loopback();
    let fd = scene.client.socket(4);
    scene.client.bind(fd, "127.0.0.1:4711");
    let connected = scene.client.connect(fd, "127.0.0.1:4711");
    assert_eq!(connected.errno(), None);
    scene.client.send(fd, 12);
    scene.client.recv(fd, 12);
    scene.client.on("close", fd);
    let mut fact = scene.attempt(&connected, "127.0.0.1:4711").ends("closed_both", None).label("one socket, both ends");
    (fact.tx, fact.rx) = (Some(12), Some(12));
    scene.expect(&[fact]);
}

#[test]
fn mptcp() {
    let scene = Scene::loopback();
    let socket = scene.client.call(json!({ "op": "socket", "family": 4, "protocol": libc::IPPROTO_MPTCP }));
    if socket.error.is_some() {
        return skip(&lacks("mptcp", "there is no such protocol"));
    }
    let listener =
        Listener::open_with(&scene.server, scene.server_ns(), "127.0.0.1:0", 16, libc::IPPROTO_MPTCP, |_| ());
    let mut pair = Pair::open_by(&scene.client, &scene.client_ns, &listener, socket.fd(), listener.addr);
    pair.client_sends(500);
    pair.server_sends(70);
    let mut facts = pair.client_closes_first().to_vec();
    for fact in &mut facts {
        fact.mptcp = true;
        // The kernel chooses which subflow sends its FIN first, after the DATA_FINs.
        fact.verdicts = vec!["closed_local", "closed_remote", "closed_both"];
    }
    let mut listener = listener.close();
    listener.mptcp = true;
    facts.push(listener);
    scene.expect(&facts);
}
