//! Every way in which connect() fails.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use serde_json::json;
use tracer_tests::bpf::DeniedGroup;
use tracer_tests::generator::{Fact, Pair};
use tracer_tests::scene::Scene;
use tracer_tests::skip::skip;

/// Traces a connect() to `to` that fails with `errno` and `verdict` after a SYN was sent.
fn fails_later(scene: Scene, to: &str, errno: &'static str, verdict: &'static str) {
    let family = if to.starts_with('[') { 6 } else { 4 };
    let fd = scene.client.socket(family);
    let reply = scene.client.connect(fd, to);
    assert_eq!(reply.errno(), Some(errno));
    let fact = scene.attempt(&reply, to).never_established().ends(verdict, Some(errno));
    scene.expect(&[fact]);
}

/// Traces a connect() to `to` that fails with `errno` before a SYN is sent.
fn fails_at_once(scene: Scene, to: &str, errno: &'static str) {
    let family = if to.starts_with('[') { 6 } else { 4 };
    let fd = scene.client.socket(family);
    let reply = scene.client.connect(fd, to);
    assert_eq!(reply.errno(), Some(errno));
    let fact = scene.attempt(&reply, to).failed_at_once(errno);
    scene.expect(&[fact]);
}

#[test]
fn refused_v4() {
    fails_later(Scene::loopback(), "127.0.0.1:9", "ECONNREFUSED", "refused");
}

#[test]
fn refused_v6() {
    fails_later(Scene::loopback(), "[::1]:9", "ECONNREFUSED", "refused");
}

#[test]
fn refused_from_another_namespace() {
    fails_later(Scene::veth(), "10.7.0.2:9", "ECONNREFUSED", "refused");
}

#[test]
fn refused_v4_mapped() {
    fails_later(Scene::loopback(), "[::ffff:127.0.0.1]:9", "ECONNREFUSED", "refused");
}

#[test]
fn refused_while_nonblocking() {
    let scene = Scene::loopback();
    let fd = scene.client.nonblocking_socket(4);
    // Over loopback the RST may be there before connect() returns.
    let begun = scene.client.connect(fd, "127.0.0.1:9");
    let ended = if begun.errno() == Some("EINPROGRESS") { scene.client.on("await_outcome", fd) } else { begun.clone() };
    assert_eq!(ended.errno(), Some("ECONNREFUSED"));
    let fact = scene.attempt(&begun, "127.0.0.1:9").never_established().ends("refused", Some("ECONNREFUSED"));
    scene.expect(&[fact]);
}

#[test]
fn refused_twice_by_one_socket() {
    let scene = Scene::loopback();
    let fd = scene.client.socket(4);
    let facts: Vec<Fact> = (0..2)
        .map(|_| {
            let reply = scene.client.connect(fd, "127.0.0.1:9");
            assert_eq!(reply.errno(), Some("ECONNREFUSED"));
            scene.attempt(&reply, "127.0.0.1:9").never_established().ends("refused", Some("ECONNREFUSED"))
        })
        .collect();
    scene.expect(&facts);
}

#[test]
fn rejected_by_a_firewall_with_reset() {
    let scene = Scene::loopback();
    scene.client_ns.nft_rule("output", "tcp dport 80 reject with tcp reset");
    fails_later(scene, "127.0.0.1:80", "ECONNREFUSED", "refused");
}

#[test]
fn rejected_by_the_peer_with_port_unreachable() {
    let scene = Scene::veth();
    scene.server_ns().nft_rule("input", "tcp dport 80 reject with icmpx port-unreachable");
    fails_later(scene, "10.7.0.2:80", "ECONNREFUSED", "refused");
}

#[test]
fn rejected_by_the_peer_with_host_unreachable() {
    let scene = Scene::veth();
    scene.server_ns().nft_rule("input", "tcp dport 80 reject with icmpx host-unreachable");
    fails_later(scene, "10.7.0.2:80", "EHOSTUNREACH", "unreachable");
}

#[test]
fn rejected_by_the_peer_with_no_route() {
    let scene = Scene::veth();
    scene.server_ns().nft_rule("input", "tcp dport 80 reject with icmp net-unreachable");
    fails_later(scene, "10.7.0.2:80", "ENETUNREACH", "unreachable");
}

#[test]
fn no_such_neighbour() {
    let scene = Scene::veth();
    // No neighbour has 10.7.0.99: the kernel gives up after one solicitation.
    for key in ["mcast_solicit", "ucast_solicit"] {
        scene.client_ns.sysctl(&format!("net/ipv4/neigh/wire/{key}"), "1");
    }
    fails_later(scene, "10.7.0.99:80", "EHOSTUNREACH", "unreachable");
}

#[test]
fn syn_timed_out() {
    let scene = Scene::veth();
    scene.client_ns.sysctl("net/ipv4/tcp_syn_retries", "1");
    scene.server_ns().silence("wire");
    fails_later(scene, "10.7.0.2:80", "ETIMEDOUT", "timed_out");
}

#[test]
fn syn_dropped_by_the_own_firewall() {
    let scene = Scene::veth();
    scene.client_ns.sysctl("net/ipv4/tcp_syn_retries", "1");
    scene.client_ns.nft_rule("output", "tcp dport 80 drop");
    fails_later(scene, "10.7.0.2:80", "ETIMEDOUT", "timed_out");
}

#[test]
fn no_route_v4() {
    fails_at_once(Scene::loopback(), "192.0.2.1:80", "ENETUNREACH");
}

#[test]
fn no_route_v6() {
    fails_at_once(Scene::loopback(), "[2001:db8::1]:80", "ENETUNREACH");
}

/// A route of type `kind` towards 192.0.2.1.
fn with_route(kind: &str) -> Scene {
    let scene = Scene::loopback();
    scene.client_ns.ip(&["route", "add", kind, "192.0.2.0/24"]);
    scene
}

#[test]
fn route_unreachable() {
    fails_at_once(with_route("unreachable"), "192.0.2.1:80", "EHOSTUNREACH");
}

#[test]
fn route_prohibited() {
    fails_at_once(with_route("prohibit"), "192.0.2.1:80", "EACCES");
}

#[test]
fn route_blackhole() {
    fails_at_once(with_route("blackhole"), "192.0.2.1:80", "EINVAL");
}

#[test]
fn link_local_without_scope() {
    fails_at_once(Scene::veth(), "[fe80::2]:80", "EINVAL");
}

#[test]
fn no_local_port_left() {
    let scene = Scene::loopback();
    scene.client_ns.sysctl("net/ipv4/ip_local_port_range", "40000 40001");
    let listener = scene.listen("127.0.0.1:80");
    let pairs = [scene.pair(&listener), scene.pair(&listener)];
    let fd = scene.client.socket(4);
    let reply = scene.client.connect(fd, listener.addr);
    assert_eq!(reply.errno(), Some("EADDRNOTAVAIL"));
    let mut facts = vec![scene.attempt(&reply, listener.addr).failed_when_begun("EADDRNOTAVAIL")];
    facts.extend(pairs.into_iter().flat_map(|pair| pair.client_resets()));
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn same_tuple_twice() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:80");
    let [first, second] = [scene.client.socket(4), scene.client.socket(4)];
    scene.client.bind(first, "127.0.0.1:40000");
    scene.client.bind(second, "127.0.0.1:40000");
    let pair = Pair::open_by(&scene.client, &scene.client_ns, &listener, first, listener.addr);
    let reply = scene.client.connect(second, listener.addr);
    assert_eq!(reply.errno(), Some("EADDRNOTAVAIL"));
    let mut facts = pair.stays_open().to_vec();
    facts.push(scene.attempt(&reply, listener.addr).failed_when_begun("EADDRNOTAVAIL"));
    facts.push(listener.stay());
    scene.expect(&facts);
}

/// A failed connect() whose address the kernel did not accept.
fn without_address(scene: &Scene, request: serde_json::Value, errno: &'static str) -> Fact {
    let reply = scene.client.must(request);
    assert_eq!(reply.errno(), Some(errno));
    Fact::new("client", &scene.client_ns, &reply.who, None).label("no address").failed_at_once(errno)
}

#[test]
fn address_too_short() {
    let scene = Scene::loopback();
    let fd = scene.client.socket(4);
    let request = json!({ "op": "connect", "fd": fd, "addr": "127.0.0.1:9", "cut": 4 });
    let fact = without_address(&scene, request, "EINVAL");
    scene.expect(&[fact]);
}

#[test]
fn address_of_another_family() {
    let scene = Scene::loopback();
    let fd = scene.client.socket(4);
    let request = json!({ "op": "connect", "fd": fd, "addr": "[::1]:9" });
    let fact = without_address(&scene, request, "EAFNOSUPPORT");
    scene.expect(&[fact]);
}

#[test]
fn fails_then_connects_with_the_same_socket() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let fd = scene.client.socket(4);
    let failed = scene.client.connect(fd, "192.0.2.1:80");
    assert_eq!(failed.errno(), Some("ENETUNREACH"));
    let mut facts = vec![scene.attempt(&failed, "192.0.2.1:80").failed_at_once("ENETUNREACH")];
    let pair = Pair::open_by(&scene.client, &scene.client_ns, &listener, fd, listener.addr);
    facts.extend(pair.client_closes_first());
    facts.push(listener.close());
    scene.expect(&facts);
}

#[test]
fn other_protocols_are_not_tcp() {
    let scene = Scene::loopback();
    scene.client_ns.within(|| {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket is bound");
        udp.connect("127.0.0.1:9").expect("a UDP socket connects");
        assert!(udp.connect("192.0.2.1:9").is_err(), "there is no route");
        let unix = UnixDatagram::unbound().expect("a Unix socket is made");
        assert!(unix.connect("/nonexistent").is_err(), "the path does not exist");
    });
    scene.expect(&[]);
}

#[test]
fn forbidden_by_a_control_group() {
    let group = match DeniedGroup::new() {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    let scene = Scene::loopback();
    group.take(scene.client.process.pid);
    fails_at_once(scene, "127.0.0.1:9", "EPERM");
}
