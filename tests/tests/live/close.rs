//! Every way in which an established connection ends.

use serde_json::json;
use tracer_tests::generator::{Actor, Fact, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::scale;
use tracer_tests::scene::Scene;
use tracer_tests::skip::skip;
use tracer_tests::trace::Trace;

/// Ends the scene with the facts of a connection and of its listener.
fn expect(scene: Scene, pair: [Fact; 2], listener: Fact) {
    let [client, server] = pair;
    scene.expect(&[client, server, listener]);
}

/// One connection over loopback that `end` ends.
fn over_loopback(end: impl FnOnce(Pair<'_>) -> [Fact; 2]) {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let facts = end(scene.pair(&listener));
    let listener = listener.close();
    expect(scene, facts, listener);
}

#[test]
fn zero_bytes() {
    over_loopback(|pair| pair.client_closes_first());
}

#[test]
fn client_closes_first() {
    over_loopback(|mut pair| {
        pair.client_sends(1);
        pair.client_closes_first()
    });
}

#[test]
fn server_closes_first() {
    over_loopback(|mut pair| {
        pair.server_sends(1);
        pair.server_closes_first()
    });
}

#[test]
fn half_close() {
    over_loopback(|mut pair| {
        pair.client_sends(11);
        pair.client.on("shutdown", pair.client_fd);
        pair.server.on("recv_end", pair.server_fd);
        pair.server_sends(100_000);
        pair.server.on("close", pair.server_fd);
        pair.client.on("recv_end", pair.client_fd);
        pair.client.on("close", pair.client_fd);
        pair.client_fact.end("closed_local", None);
        pair.server_fact.end("closed_remote", None);
        pair.facts()
    });
}

#[test]
fn both_shut_down_before_they_close() {
    over_loopback(|mut pair| {
        pair.server.on("shutdown", pair.server_fd);
        pair.client.on("recv_end", pair.client_fd);
        pair.client_sends(9);
        pair.client.on("shutdown", pair.client_fd);
        pair.server.on("recv_end", pair.server_fd);
        pair.client.await_state(pair.client_fd, "CLOSE");
        pair.client.on("close", pair.client_fd);
        pair.server.on("close", pair.server_fd);
        pair.client_fact.end("closed_remote", None);
        pair.server_fact.end("closed_local", None);
        pair.facts()
    });
}

#[test]
fn simultaneous_close() {
    let (scene, wire) = match Scene::wire() {
        Ok(both) => both,
        Err(reason) => return skip(&reason),
    };
    let listener = scene.listen("10.7.0.2:0");
    let mut pair = scene.pair(&listener);
    pair.client_sends(5);
    pair.await_acked();
    wire.hold();
    // shutdown() and not close(): an orphaned socket enters TIME_WAIT on another path.
    pair.client.on("shutdown", pair.client_fd);
    pair.server.on("shutdown", pair.server_fd);
    wire.release();
    // The FINs cross on the wire: both sides go through CLOSING.
    pair.client.await_state(pair.client_fd, "CLOSE");
    pair.server.await_state(pair.server_fd, "CLOSE");
    pair.client.on("close", pair.client_fd);
    pair.server.on("close", pair.server_fd);
    pair.client_fact.end("closed_both", None);
    pair.server_fact.end("closed_both", None);
    let facts = pair.facts();
    let listener = listener.close();
    expect(scene, facts, listener);
}

#[test]
fn client_resets_by_linger_zero() {
    over_loopback(|mut pair| {
        pair.client_sends(64);
        pair.client_resets()
    });
}

#[test]
fn server_resets_by_linger_zero() {
    over_loopback(|mut pair| {
        pair.client_sends(64);
        pair.server_sends(64);
        pair.server_resets()
    });
}

#[test]
fn unread_data_resets() {
    over_loopback(|mut pair| {
        pair.client.send(pair.client_fd, 100);
        pair.client_sent(100);
        pair.server.must(json!({ "op": "await_unread", "fd": pair.server_fd, "len": 100 }));
        pair.await_acked();
        pair.server.on("close", pair.server_fd);
        pair.client.await_state(pair.client_fd, "CLOSE");
        pair.client.on("close", pair.client_fd);
        pair.server_fact.end("reset_local", None);
        pair.client_fact.end("reset_remote", Some("ECONNRESET"));
        pair.facts()
    });
}

#[test]
fn reset_after_our_fin() {
    over_loopback(|mut pair| {
        pair.client.send(pair.client_fd, 100);
        pair.client_sent(100);
        pair.client.on("shutdown", pair.client_fd);
        pair.server.await_state(pair.server_fd, "CLOSE_WAIT");
        pair.await_acked();
        pair.client.await_state(pair.client_fd, "FIN_WAIT2");
        // 100 bytes are unread: close() sends a RST instead of a FIN.
        pair.server.on("close", pair.server_fd);
        pair.client.await_state(pair.client_fd, "CLOSE");
        pair.client.on("close", pair.client_fd);
        pair.server_fact.end("reset_local", None);
        pair.client_fact.end("reset_remote", Some("ECONNRESET"));
        pair.facts()
    });
}

#[test]
fn reset_by_linger_zero_after_our_fin() {
    over_loopback(|mut pair| {
        pair.client.on("shutdown", pair.client_fd);
        pair.server.on("recv_end", pair.server_fd);
        pair.client.on("linger_zero", pair.client_fd);
        // The client has sent its FIN and closes by RST in FIN_WAIT2: linger 0 says so.
        pair.client.await_state(pair.client_fd, "FIN_WAIT2");
        pair.client.on("close", pair.client_fd);
        pair.server.await_state(pair.server_fd, "CLOSE");
        pair.server.on("close", pair.server_fd);
        pair.client_fact.end("reset_local", None);
        // The kernel reports a reset in CLOSE_WAIT as EPIPE.
        pair.server_fact.end("reset_remote", Some("EPIPE"));
        pair.facts()
    });
}

#[test]
fn reset_before_accept() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let fd = scene.client.socket(4);
    let connected = scene.client.connect(fd, listener.addr);
    scene.client.send(fd, 33);
    scene.client.on("await_acked", fd);
    scene.client.on("linger_zero", fd);
    scene.client.on("close", fd);
    let mut client = scene.attempt(&connected, listener.addr).ends("reset_local", None);
    client.tx = Some(33);
    let accepted = scene.server.must(json!({ "op": "accept", "fd": listener.fd }));
    scene.server.on("close", accepted.fd());
    let peer = connected.local();
    let mut server = Fact::new("server", scene.server_ns(), &accepted.who, Some(listener.addr))
        .peer(peer)
        .label("reset, then accepted")
        .ends("reset_remote", Some("ECONNRESET"));
    server.rx = Some(33);
    server.any_order = true;
    let listener = listener.close();
    expect(scene, [client, server], listener);
}

#[test]
fn fin_before_accept() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let fd = scene.client.socket(4);
    let connected = scene.client.connect(fd, listener.addr);
    scene.client.send(fd, 33);
    scene.client.on("close", fd);
    let mut client = scene.attempt(&connected, listener.addr).ends("closed_local", None);
    client.tx = Some(33);
    let (accepted, server) = listener.accept();
    scene.server.on("recv_end", accepted);
    scene.server.on("close", accepted);
    let mut server = server.ends("closed_remote", None);
    server.rx = Some(33);
    let listener = listener.close();
    expect(scene, [client, server], listener);
}

#[test]
fn listener_closed_before_accept() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = Vec::new();
    let fds: Vec<i64> = (0..3)
        .map(|_| {
            let fd = scene.client.socket(4);
            let connected = scene.client.connect(fd, listener.addr);
            assert_eq!(connected.errno(), None);
            facts.push(scene.attempt(&connected, listener.addr).ends("reset_remote", Some("ECONNRESET")));
            let mut child = Fact::new("server", scene.server_ns(), &scene.server.process, Some(listener.addr))
                .peer(connected.local())
                .label("never accepted")
                .ends("listener_closed", None);
            child.accept = false;
            child.owner_source = "listener";
            facts.push(child);
            fd
        })
        .collect();
    facts.push(listener.close());
    for fd in fds {
        scene.client.await_state(fd, "CLOSE");
        scene.client.on("close", fd);
    }
    scene.expect(&facts);
}

#[test]
fn established_times_out_by_user_timeout() {
    timed_out(|scene, pair| scene.client.tcp_option(pair.client_fd, libc::TCP_USER_TIMEOUT, 500), true);
}

#[test]
fn established_times_out_by_retransmission() {
    timed_out(|scene, _| scene.client_ns.sysctl("net/ipv4/tcp_retries2", "2"), true);
}

#[test]
fn established_times_out_by_keepalive() {
    let prepare = |scene: &Scene, pair: &Pair<'_>| {
        for (option, value) in [(libc::TCP_KEEPIDLE, 1), (libc::TCP_KEEPINTVL, 1), (libc::TCP_KEEPCNT, 1)] {
            scene.client.tcp_option(pair.client_fd, option, value);
        }
        scene.client.socket_option(pair.client_fd, libc::SO_KEEPALIVE, 1);
    };
    timed_out(prepare, false);
}

/// A connection whose peer falls silent; the client sends something into the silence if `sends`.
fn timed_out(prepare: impl FnOnce(&Scene, &Pair<'_>), sends: bool) {
    let scene = Scene::veth();
    let listener = scene.listen("10.7.0.2:0");
    let mut pair = scene.pair(&listener);
    pair.client_sends(20);
    pair.await_acked();
    prepare(&scene, &pair);
    scene.server_ns().silence("wire");
    if sends {
        scene.client.send(pair.client_fd, 10);
    }
    scene.client.await_state(pair.client_fd, "CLOSE");
    scene.client.on("close", pair.client_fd);
    // The server has noticed nothing, and its reset does not arrive.
    scene.server.on("linger_zero", pair.server_fd);
    scene.server.on("close", pair.server_fd);
    pair.client_fact.end("timed_out", Some("ETIMEDOUT"));
    pair.server_fact.end("reset_local", None);
    let facts = pair.facts();
    let listener = listener.close();
    expect(scene, facts, listener);
}

#[test]
fn destroyed_by_ss() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut pair = scene.pair(&listener);
    pair.client_sends(8);
    pair.await_acked();
    let port = pair.client_fact.lport.expect("the client has a port").to_string();
    scene.client_ns.destroy_sockets(&["sport", "=", &format!(":{port}")]);
    scene.client.await_state(pair.client_fd, "CLOSE");
    scene.server.await_state(pair.server_fd, "CLOSE");
    scene.client.on("close", pair.client_fd);
    scene.server.on("close", pair.server_fd);
    pair.client_fact.end("aborted", Some("ECONNABORTED"));
    pair.server_fact.end("reset_remote", Some("ECONNRESET"));
    let facts = pair.facts();
    let listener = listener.close();
    expect(scene, facts, listener);
}

#[test]
fn destroyed_while_connecting() {
    let scene = Scene::veth();
    scene.server_ns().silence("wire");
    let fd = scene.client.nonblocking_socket(4);
    let begun = scene.client.connect(fd, "10.7.0.2:80");
    scene.client_ns.destroy_sockets(&["state", "syn-sent"]);
    scene.client.await_state(fd, "CLOSE");
    scene.client.on("close", fd);
    let fact = scene.attempt(&begun, "10.7.0.2:80").never_established().ends("aborted", Some("ECONNABORTED"));
    scene.expect(&[fact]);
}

#[test]
fn process_killed() {
    let (near, far) = Netns::pair();
    let (client, server) = (Actor::start(&near), Actor::start(&far));
    let trace = Trace::start();
    let listener = Listener::open(&server, &far, "10.7.0.2:0");
    let mut pairs: Vec<Pair<'_>> = (0..5).map(|_| Pair::open(&client, &near, &listener)).collect();
    let mut facts = Vec::new();
    let mut fds = Vec::new();
    for mut pair in pairs.drain(..) {
        pair.client_sends(10);
        pair.await_acked();
        fds.push(pair.server_fd);
        pair.client_fact.end("closed_local", None);
        pair.server_fact.end("closed_remote", None);
        facts.extend(pair.facts());
    }
    client.kill();
    for fd in fds {
        server.on("recv_end", fd);
        server.on("close", fd);
    }
    facts.push(listener.close());
    trace.expect(&[&near, &far], &facts);
}

#[test]
fn namespace_deleted_with_live_sockets() {
    let (near, far) = Netns::pair();
    let (client, server) = (Actor::start(&near), Actor::start(&far));
    let trace = Trace::start();
    let listener = Listener::open(&server, &far, "10.7.0.2:0");
    let mut pair = Pair::open(&client, &near, &listener);
    pair.client_sends(10);
    pair.await_acked();
    near.delete_name();
    let fd = pair.server_fd;
    pair.client_fact.end("closed_local", None);
    pair.server_fact.end("closed_remote", None);
    let mut facts = pair.facts().to_vec();
    // The last holder of the namespace and of the socket.
    client.kill();
    server.on("recv_end", fd);
    server.on("close", fd);
    facts.push(listener.close());
    trace.expect(&[&near, &far], &facts);
}

#[test]
fn large_transfer() {
    let size = scale::load(20 << 20, 1 << 20) as u64;
    let scene = Scene::veth();
    let listener = scene.listen("10.7.0.2:0");
    let mut pair = scene.pair(&listener);
    for (from, from_fd, to, to_fd) in [
        (pair.client, pair.client_fd, pair.server, pair.server_fd),
        (pair.server, pair.server_fd, pair.client, pair.client_fd),
    ] {
        let sending = from.begin(json!({ "op": "send", "fd": from_fd, "len": size }));
        to.recv(to_fd, size);
        assert_eq!(from.finish(sending).value["len"], size);
    }
    pair.client_sent(size);
    pair.server_sent(size);
    let facts = pair.client_closes_first();
    let listener = listener.close();
    expect(scene, facts, listener);
}

/// `TCP_REPAIR`, as CRIU uses it: close() sends nothing, and the connection goes on elsewhere.
#[test]
fn a_checkpoint_is_no_reset() {
    const TCP_REPAIR: i32 = 19;
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut pair = scene.pair(&listener);
    pair.client_sends(10);
    scene.client.tcp_option(pair.client_fd, TCP_REPAIR, 1);
    let Pair { mut client_fact, client_fd, mut server_fact, server_fd, .. } = pair;
    scene.client.on("close", client_fd);
    client_fact.end("aborted", None);
    scene.server.on("linger_zero", server_fd);
    scene.server.on("close", server_fd);
    server_fact.end("reset_local", None);
    let facts = [client_fact, server_fact, listener.close()];
    scene.expect(&facts);
}
