//! The network namespace in which a packet is dropped, and that of its socket.

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{address, attempt, datagram, drop_in, expect, is_ours, rows, start};
use tracer_tests::netns::Netns;
use tracer_tests::traffic::sys::until;

/// Two namespaces with a wire between them. A rule drops packets to `port` on their arrival in the second, before any
/// protocol sees them: they still have the socket that sent them.
fn dropped_on_arrival(protocol: &str, port: u16) -> (Netns, Netns) {
    let (a, b) = Netns::pair();
    let rule = format!("{protocol} dport {port} drop");
    let hook = "type filter hook ingress device wire priority 0; policy accept;";
    b.nft(&format!("table netdev test {{\nchain arrival {{\n{hook}\n{rule}\n}}\n}}\n"));
    (a, b)
}

fn two_namespaces(event: &Value, packet: &Netns, socket: &Netns) {
    expect(event, &[("netns", packet.inode().into()), ("socket_netns", socket.inode().into())]);
}

#[test]
fn a_packet_dropped_at_the_other_end_of_a_wire_has_the_namespaces_of_both_ends() {
    let (a, b) = dropped_on_arrival("tcp", 4030);
    let agent = Agent::live(&["--event", "drop,close"]);
    attempt(&a, address("10.7.0.2:4030"));
    let event = drop_in(&agent, &b, "NETFILTER_DROP", 4030);
    two_namespaces(&event, &b, &a);
    expect(&event, &[("iface", "wire".into()), ("direction", "in".into())]);
    expect(&event, &[("role", "client".into()), ("owner_source", "connect".into()), ("laddr", "10.7.0.1".into())]);
    is_ours(&event);
    let close = agent.wait_for("its end", |close| close["event"] == "close" && close["conn"] == event["conn"]);
    expect(&close, &[("netns", a.inode().into()), ("socket_netns", Value::Null)]);
}

/// The tracer follows no UDP socket: the local end of the event is the sender's, wherever the packet is.
#[test]
fn a_datagram_dropped_at_the_other_end_of_a_wire_is_its_senders() {
    let (a, b) = dropped_on_arrival("udp", 4031);
    let agent = Agent::live(&["--event", "drop"]);
    let port = datagram(&a, address("10.7.0.2:4031"), None);
    let event = drop_in(&agent, &b, "NETFILTER_DROP", 4031);
    two_namespaces(&event, &b, &a);
    expect(&event, &[("lport", port.into()), ("raddr", "10.7.0.2".into()), ("rport", 4031.into())]);
}

#[test]
fn either_namespace_of_a_drop_is_asked_for_by_its_name_and_either_left_out() {
    let (a, b) = dropped_on_arrival("tcp", 4032);
    let not_there = format!("!{}", b.name());
    let not_here = format!("!{}", a.name());
    let sees = [a.name(), b.name()].map(|name| Agent::live(&["--event", "drop", "--netns", name]));
    let blind = [&not_here, &not_there].map(|name| Agent::live(&["--event", "drop", "--netns", name]));
    attempt(&a, address("10.7.0.2:4032"));
    for agent in sees {
        let event = drop_in(&agent, &b, "NETFILTER_DROP", 4032);
        two_namespaces(&event, &b, &a);
        // The filter leaves out the socket of the other namespace: the tracer searches for the holder of its file. The
        // drop waits a fifth of a second for that, which may be too short on a busy host.
        let is_known = |event: &Value| !event["owner"].is_null();
        if !is_known(&event) {
            until(|| {
                attempt(&a, address("10.7.0.2:4032"));
                Ok(agent.settles_now(|events| events.iter().any(|e| e["dport"] == 4032 && is_known(e))))
            })
            .expect("its owner is found");
        }
        let stream = agent.stop().stream;
        stream.kind("drop").filter(|event| event["dport"] == 4032 && is_known(event)).for_each(is_ours);
    }
    // A later drop in another pair of namespaces: a tracer that reports it reports none of the first any more.
    let (c, d) = dropped_on_arrival("tcp", 4033);
    attempt(&c, address("10.7.0.2:4033"));
    for agent in blind {
        let _ = drop_in(&agent, &d, "NETFILTER_DROP", 4033);
        let stream = agent.stop().stream;
        assert_eq!(stream.kind("drop").filter(|event| event["dport"] == 4032).count(), 0, "{:?}", stream.events);
    }
}

#[test]
fn a_packet_dropped_where_its_socket_is_has_one_namespace_twice_and_one_without_a_socket_only_its_own() {
    let (a, b) = Netns::pair();
    a.nft_rule("output", "tcp dport 4034 drop");
    b.nft_rule("input", "tcp dport 4035 drop");
    let agent = Agent::live(&["--event", "drop"]);
    attempt(&a, address("10.7.0.2:4034"));
    two_namespaces(&drop_in(&agent, &a, "NETFILTER_DROP", 4034), &a, &a);
    attempt(&a, address("10.7.0.2:4035"));
    // Routing has taken the sender's socket off the packet.
    let event = drop_in(&agent, &b, "NETFILTER_DROP", 4035);
    expect(&event, &[("netns", b.inode().into()), ("socket_netns", Value::Null), ("owner", Value::Null)]);
}

#[test]
fn rows_of_drops_have_both_namespaces() {
    let (a, b) = dropped_on_arrival("tcp", 4036);
    let drops = start(&["--by", "flow"]);
    attempt(&a, address("10.7.0.2:4036"));
    let ended = drops.stop();
    let row = rows(&ended).into_iter().find(|row| row["dport"] == 4036).expect("the SYN has a row").clone();
    two_namespaces(&row, &b, &a);
}

/// A container's interface may stand on one of the host's: its packets are dropped there, in another network namespace
/// than that of their sockets.
#[test]
fn what_leaves_by_a_device_of_another_namespace_is_its_sockets() {
    let (host, guest) = (Netns::new(), Netns::new());
    host.ip(&["link", "add", "wire", "type", "veth", "peer", "name", "end"]);
    host.ip(&["link", "add", "link", "wire", "name", "upper", "type", "macvlan"]);
    host.ip(&["link", "set", "upper", "netns", guest.name()]);
    for (netns, device) in [(&host, "wire"), (&host, "end"), (&guest, "upper")] {
        netns.ip(&["link", "set", device, "up"]);
    }
    guest.ip(&["addr", "add", "10.9.0.2/24", "dev", "upper"]);
    guest.ip(&["neigh", "add", "10.9.0.1", "lladdr", "02:00:00:00:00:01", "dev", "upper"]);
    // No packet fits into this burst.
    let tc = ["tc", "qdisc", "add", "dev", "wire", "root"];
    host.run(&[&tc[..], &["tbf", "rate", "8kbit", "burst", "40", "limit", "3000"]].concat());
    let agent = Agent::live(&["--netns", guest.name()]);
    attempt(&guest, address("10.9.0.1:4029"));
    let event = agent.wait_for("the SYN's drop", |event| event["event"] == "drop" && event["dport"] == 4029);
    is_ours(&event);
    expect(&event, &[("netns", host.inode().into()), ("socket_netns", guest.inode().into())]);
    expect(&event, &[("iface", "wire".into()), ("direction", "out".into())]);
    expect(&event, &[("role", "client".into()), ("owner_source", "connect".into())]);
    let stream = agent.stop().stream;
    let close = stream.kind("close").find(|close| close["conn"] == event["conn"]).expect("its end is told");
    assert!(close["drops"].as_u64() >= Some(1), "{close}");
}
