//! What the stream says of the place that dropped a packet: the rule, the queueing discipline, the
//! destination.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::skip::{missing_tool, skip};

/// Longer than any packet needs; the connection attempts of these tests get no answer.
const ATTEMPT: Duration = Duration::from_millis(50);

/// The first drop in `netns` of a packet to `port`.
fn drop_in(agent: &Agent, netns: &Netns, port: u16) -> Value {
    let mut found = Value::Null;
    agent.wait_for(&format!("drop of a packet to port {port} in {}", netns.inode()), |event| {
        let wanted = event["event"] == "drop" && event["netns"] == netns.inode() && event["dport"] == port;
        if wanted {
            found = event.clone();
        }
        wanted
    });
    found
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn attempt(from: &Netns, to: SocketAddr) {
    from.within(|| drop(TcpStream::connect_timeout(&to, ATTEMPT)));
}

/// One datagram of `size` bytes; that it cannot be sent may be the point.
fn datagram(from: &Netns, to: SocketAddr, size: usize) {
    from.within(|| {
        let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let _ = UdpSocket::bind(any).expect("it binds").send_to(&vec![0; size], to);
    });
}

/// The handle that nft shows behind the line that contains `rule`.
fn handle(netns: &Netns, rule: &str) -> u64 {
    let listing = netns.run(&["nft", "-a", "list", "ruleset"]);
    let line = listing.lines().find(|line| line.contains(rule)).unwrap_or_else(|| panic!("{rule} is in {listing}"));
    line.rsplit("# handle ").next().and_then(|handle| handle.trim().parse().ok()).expect("a handle")
}

fn is_rule(event: &Value, chain: &str, handle: u64, words: &str) {
    assert_eq!(event["hint"], format!("nft: table inet test, chain {chain}, handle {handle} ({words})"), "{event}");
    assert_eq!(
        event["nft"],
        json!({"family": "inet", "table": "test", "chain": chain, "handle": handle, "rule": words}),
        "{event}"
    );
}

/// The evaluation of rules drops by itself (from Linux 6.7 on), so that a rule is certain.
fn rules_drop(event: &Value) -> bool {
    event["symbol"].as_str().is_some_and(|symbol| symbol.starts_with("nft_do_chain+"))
}

/// Two rules, of which only one can match.
#[test]
fn a_rule_on_input_or_output() {
    let (a, b) = Netns::pair();
    for (netns, hook, port) in [(&b, "input", 4100), (&a, "output", 4102)] {
        netns.nft_rule(hook, &format!("tcp dport {} drop\ntcp dport {port} drop", port + 1));
        let handle = handle(netns, &format!("tcp dport {port} drop"));
        for to in [format!("10.7.0.2:{port}"), format!("[fd07::2]:{port}")] {
            let agent = Agent::live(&["--event", "drop"]);
            attempt(&a, address(&to));
            is_rule(&drop_in(&agent, netns, port), hook, handle, &format!("tcp dport {port} drop"));
        }
    }
}

#[test]
fn a_rule_on_forward() {
    let row = Row::new();
    row.middle.nft_rule("forward", "udp dport 4104 drop comment \"not here\"\nudp dport 4104 accept");
    let handle = handle(&row.middle, "udp dport 4104 drop");
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&row.left, address("10.8.2.1:4104"), 10);
    is_rule(&drop_in(&agent, &row.middle, 4104), "forward", handle, "udp dport 4104 drop comment \"not here\"");
}

/// Three namespaces in a row; the one in the middle forwards: `10.8.1.1` to `10.8.2.1`.
struct Row {
    left: Netns,
    middle: Netns,
    _right: Netns,
}

impl Row {
    fn new() -> Self {
        let (left, middle, right) = (Netns::new(), Netns::new(), Netns::new());
        for (n, end) in [(1, &left), (2, &right)] {
            let device = format!("wire{n}");
            let peer = ["peer", "name", &device, "netns", middle.name()];
            end.ip(&[&["link", "add", "wire", "type", "veth"][..], &peer[..]].concat());
            for (netns, name, host) in [(end, "wire", 1), (&middle, &*device, 254)] {
                netns.ip(&["link", "set", name, "up"]);
                netns.ip(&["addr", "add", &format!("10.8.{n}.{host}/24"), "dev", name]);
            }
            end.ip(&["route", "add", "default", "via", &format!("10.8.{n}.254")]);
        }
        middle.sysctl("net/ipv4/ip_forward", "1");
        Self { left, middle, _right: right }
    }
}

#[test]
fn the_policy_of_a_chain() {
    let (a, b) = Netns::pair();
    b.nft(
        "table inet test {\nchain input {\ntype filter hook input priority 0; policy drop;\n\
           tcp dport 22 accept\nmeta l4proto icmp accept\nmeta l4proto icmpv6 accept\n}\n}\n",
    );
    let agent = Agent::live(&["--event", "drop"]);
    attempt(&a, address("10.7.0.2:4105"));
    let event = drop_in(&agent, &b, 4105);
    assert_eq!(event["hint"], "nft: table inet test, chain input, policy drop", "{event}");
    assert_eq!(event["nft"], json!({"family": "inet", "table": "test", "chain": "input", "handle": null}), "{event}");
}

#[test]
fn what_may_have_been_several_is_not_said_to_be_one() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4106 ct state invalid,new,untracked drop\nudp dport 4106 drop\nudp dport 4107 drop");
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&a, address("10.7.0.2:4106"), 10);
    let event = drop_in(&agent, &b, 4106);
    let handles = [handle(&b, "ct state"), handle(&b, "udp dport 4106 drop")];
    let text = format!("nft, one of: inet test input handle {}, inet test input handle {}", handles[0], handles[1]);
    let doubt = if rules_drop(&event) { "" } else { "probably " };
    // That the packet cannot get through is certain, by whichever of them.
    assert!(event["hint"] == text || event["hint"] == format!("{doubt}{text}"), "{event}");
    assert_eq!(event["nft"], Value::Null, "{event}");
}

#[test]
fn a_counter_that_stood_still_excludes() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4108 ct state invalid counter drop\nudp dport 4108 counter drop");
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&a, address("10.7.0.2:4108"), 10);
    let handle = handle(&b, "udp dport 4108 counter packets");
    is_rule(&drop_in(&agent, &b, 4108), "input", handle, "udp dport 4108 drop");
}

/// As [`a_counter_that_stood_still_excludes`], where it has counted before.
#[test]
fn a_counter_that_stood_still_since_the_last_drop_excludes() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4109 ip saddr 10.7.0.1 ip length 38 counter drop\nudp dport 4109 counter drop");
    let agent = Agent::live(&["--event", "drop"]);
    let other = handle(&b, "udp dport 4109 counter packets");
    // Both are possible for the first packet, and the first rule it was.
    datagram(&a, address("10.7.0.2:4109"), 10);
    let first = drop_in(&agent, &b, 4109);
    let one = handle(&b, "ip length 38");
    let text = first["hint"].as_str().unwrap_or_default();
    assert!(
        text.contains(&format!("nft: table inet test, chain input, handle {one}")),
        "the second has not counted: {first}"
    );
    // Before 6.7 something else may have dropped it in the same function.
    assert_eq!(first["nft"].is_object(), rules_drop(&first), "{first}");
    datagram(&a, address("10.7.0.2:4109"), 11);
    let mut second = Value::Null;
    agent.wait_for("the second drop", |event| {
        let is = event["event"] == "drop" && event["dport"] == 4109 && event["len"] == 39;
        if is {
            second = event.clone();
        }
        is
    });
    assert_eq!(second["nft"]["handle"], other, "the first rule has not counted since: {second}");
}

#[test]
fn a_chain_of_a_device() {
    let (a, b) = Netns::pair();
    b.nft(
        "table netdev early {\nchain in {\ntype filter hook ingress device wire priority 0; policy accept;\n\
           udp dport 4110 drop\n}\n}\n",
    );
    b.nft_rule("input", "udp dport 4111 drop");
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&a, address("10.7.0.2:4110"), 10);
    let event = drop_in(&agent, &b, 4110);
    let handle = handle(&b, "udp dport 4110 drop");
    let place =
        json!({"family": "netdev", "table": "early", "chain": "in", "handle": handle, "rule": "udp dport 4110 drop"});
    assert!(event["nft"] == place || !rules_drop(&event), "{event}");
    assert!(event["hint"].as_str().is_some_and(|hint| hint.contains("table netdev early, chain in")), "{event}");
}

#[test]
fn the_queueing_discipline_of_a_device() {
    if let Some(reason) = missing_tool("tc") {
        return skip(&reason);
    }
    let (a, _b) = Netns::pair();
    let tc = ["tc", "qdisc", "add", "dev", "wire", "root", "handle", "77:"];
    a.run(&[&tc[..], &["tbf", "rate", "8kbit", "burst", "2000", "limit", "3000"]].concat());
    let agent = Agent::live(&["--event", "drop"]);
    for _ in 0..20 {
        datagram(&a, address("10.7.0.2:4112"), 1000);
    }
    let mut event = Value::Null;
    agent.wait_for("drop by the queueing discipline", |e| {
        let is = e["event"] == "drop" && e["netns"] == a.inode() && e["dport"] == 4112 && e["direction"] == "out";
        if is {
            event = e.clone();
        }
        is
    });
    let reason = event["reason"].as_str().unwrap_or_default();
    if reason.starts_with("QDISC") {
        assert_eq!(event["hint"], "qdisc tbf 77: on wire", "{event}");
        assert_eq!(event["qdisc"], json!({"kind": "tbf", "handle": "77:"}), "{event}");
    } else {
        // Before 5.18 it has no reason, and its call site is also that of others.
        assert!(event["hint"].as_str().is_some_and(|hint| hint.ends_with("qdisc tbf 77: on wire")), "{event}");
    }
}

#[test]
fn a_destination_without_a_route() {
    let row = Row::new();
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&row.left, address("10.200.0.1:4113"), 10);
    let event = drop_in(&agent, &row.middle, 4113);
    // 5.10 has no reason and its call site is that of all packets that are not forwarded.
    if event["reason"] == "IP_INNOROUTES" {
        assert_eq!(event["hint"], "no route to 10.200.0.1", "{event}");
    }
}

/// There is a route, and the kernel has no reason for what it does.
#[test]
fn a_route_that_refuses_is_not_taken_for_none() {
    let row = Row::new();
    for (kind, to) in
        [("blackhole", "10.201.0.1:4117"), ("unreachable", "10.202.0.1:4117"), ("prohibit", "10.203.0.1:4117")]
    {
        let to = address(to);
        row.middle.ip(&["route", "add", kind, &to.ip().to_string()]);
        let agent = Agent::live(&["--event", "drop"]);
        datagram(&row.left, to, 10);
        let event = drop_in(&agent, &row.middle, 4117);
        // 5.10 has no reasons, and its call site is also that of packets without a route.
        if event["reason"] == "NOT_SPECIFIED" {
            let hint = format!("the route to {} refuses it (blackhole, unreachable or prohibit)", to.ip());
            assert_eq!(event["hint"], hint, "{kind}: {event}");
        }
    }
}

#[test]
fn a_source_that_is_not_believed() {
    let (a, b) = Netns::pair();
    b.sysctl("net/ipv4/conf/all/rp_filter", "1");
    b.sysctl("net/ipv4/conf/wire/rp_filter", "1");
    a.sysctl("net/ipv4/conf/wire/arp_announce", "2");
    a.ip(&["addr", "add", "10.99.0.1/32", "dev", "lo"]);
    let agent = Agent::live(&["--event", "drop"]);
    a.within(|| {
        let socket = UdpSocket::bind("10.99.0.1:0").expect("it binds");
        socket.send_to(b"x", "10.7.0.2:4114").expect("it is sent");
    });
    let event = drop_in(&agent, &b, 4114);
    if event["reason"] == "IP_RPFILTER" {
        assert_eq!(
            event["hint"], "rp_filter: 10.99.0.1 came in by wire, and no route back to it leads that way",
            "{event}"
        );
    }
}

/// The drop of a datagram that waited for a neighbour's answer. A timer drops it, which may come on top of one of
/// tracer's programs, or of a task that this kernel hides from tracing: then others are sent.
fn dropped_unanswered(agent: &Agent, from: &Netns, to: SocketAddr) -> Value {
    let mut found = None;
    for _ in 0..3 {
        // They wait together, and are dropped together.
        for _ in 0..3 {
            datagram(from, to, 10);
        }
        let is_it = |event: &Value| {
            let is_it = event["event"] == "drop" && event["netns"] == from.inode() && event["dport"] == to.port();
            found = is_it.then(|| event.clone());
            is_it
        };
        if agent.hears(is_it) {
            break;
        }
    }
    found.unwrap_or_else(|| panic!("no drop of a packet to {to} came: {}", agent.log()))
}

#[test]
fn a_neighbour_or_a_next_hop_that_does_not_answer() {
    let (a, _b) = Netns::pair();
    // Long enough for three datagrams on a slow machine: one that comes after the others were dropped asks again,
    // and whoever asks has not failed yet.
    for (key, value) in [("mcast_solicit", "1"), ("retrans_time_ms", "300")] {
        a.sysctl(&format!("net/ipv4/neigh/wire/{key}"), value);
        a.sysctl(&format!("net/ipv6/neigh/wire/{key}"), value);
    }
    for (to, hint) in [
        ("10.7.0.77:4115", "no answer from neighbour 10.7.0.77 on wire".to_owned()),
        ("[fd07::77]:4116", "no answer from neighbour fd07::77 on wire".to_owned()),
        ("10.77.0.1:4117", "no answer from the next hop to 10.77.0.1 on wire".to_owned()),
    ] {
        let to = address(to);
        if to.ip() == IpAddr::from([10, 77, 0, 1]) {
            a.ip(&["route", "add", "10.77.0.0/16", "via", "10.7.0.78"]);
        }
        let agent = Agent::live(&["--event", "drop"]);
        let event = dropped_unanswered(&agent, &a, to);
        // Of two that do not answer it is not known which was the next hop.
        assert_eq!(event["hint"], hint, "{event}");
    }
    a.ip(&["neigh", "flush", "all", "nud", "failed"]);
    let agent = Agent::live(&["--event", "drop"]);
    let event = dropped_unanswered(&agent, &a, address("10.77.0.1:4118"));
    assert_eq!(event["hint"], "no answer from next hop 10.7.0.78 on wire, on the way to 10.77.0.1", "{event}");
}

/// A drop that is the last one to be shown is explained, and text has it in a line of its own.
#[test]
fn the_last_drop_is_explained_in_text() {
    let (a, _b) = Netns::pair();
    // In the call that sends it.
    a.nft_rule("output", "udp dport 4119 drop");
    let path = scratch().join("hints");
    let mut tracer = Command::new(tracer_program());
    tracer.args(["live", "--event", "drop", "--color", "never", "--port", "4119", "--count", "1"]);
    let agent = Agent::start(&mut tracer, Some(File::create(&path).expect("it is made")));
    agent.await_ready();
    datagram(&a, address("10.7.0.2:4119"), 10);
    let ended = agent.end();
    let mut text = String::new();
    File::open(&path).and_then(|mut file| file.read_to_string(&mut text)).expect("it is text");
    std::fs::remove_file(&path).expect("it is removed");
    let handle = handle(&a, "udp dport 4119 drop");
    let hint = format!("└ nft: table inet test, chain output, handle {handle} (udp dport 4119 drop)");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.trim() == hint).unwrap_or_else(|| panic!("{text}\n{}", ended.log));
    assert!(lines[at - 1].contains("10.7.0.2:4119"), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
}
