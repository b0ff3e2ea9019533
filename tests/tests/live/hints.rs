//! Hints about the place that dropped a packet: the rule, the queueing discipline, the destination.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::drops::{Row, address, any_drop_in, attempt, expect};
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::reason;
use tracer_tests::skip::{lacks, missing_tool, skip};

/// Sends one datagram of `size` bytes; the kernel may refuse to send it.
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

/// Whether nf_tables itself dropped the packet (from Linux 6.7 on): then a rule is certain.
fn rules_drop(event: &Value) -> bool {
    event["symbol"].as_str().is_some_and(|symbol| symbol.starts_with("nft_do_chain+"))
}

/// Only one of two rules can match.
#[test]
fn a_rule_on_input_or_output() {
    let (a, b) = Netns::pair();
    for (netns, hook, port) in [(&b, "input", 4100), (&a, "output", 4102)] {
        netns.nft_rule(hook, &format!("tcp dport {} drop\ntcp dport {port} drop", port + 1));
        let handle = handle(netns, &format!("tcp dport {port} drop"));
        for to in [format!("10.7.0.2:{port}"), format!("[fd07::2]:{port}")] {
            let agent = Agent::live(&["--event", "drop"]);
            attempt(&a, address(&to));
            is_rule(&any_drop_in(&agent, netns, port), hook, handle, &format!("tcp dport {port} drop"));
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
    is_rule(&any_drop_in(&agent, &row.middle, 4104), "forward", handle, "udp dport 4104 drop comment \"not here\"");
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
    let event = any_drop_in(&agent, &b, 4105);
    assert_eq!(event["hint"], "nft: table inet test, chain input, policy drop", "{event}");
    assert_eq!(event["nft"], json!({"family": "inet", "table": "test", "chain": "input", "handle": null}), "{event}");
}

#[test]
fn what_may_have_been_several_is_not_said_to_be_one() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4106 ct state invalid,new,untracked drop\nudp dport 4106 drop\nudp dport 4107 drop");
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&a, address("10.7.0.2:4106"), 10);
    let event = any_drop_in(&agent, &b, 4106);
    let handles = [handle(&b, "ct state"), handle(&b, "udp dport 4106 drop")];
    let text = format!("nft, one of: inet test input handle {}, inet test input handle {}", handles[0], handles[1]);
    let doubt = if rules_drop(&event) { "" } else { "probably " };
    // Both rules drop the packet: only which of them did is uncertain.
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
    is_rule(&any_drop_in(&agent, &b, 4108), "input", handle, "udp dport 4108 drop");
}

/// Like [`a_counter_that_stood_still_excludes`], with a counter that has counted before.
#[test]
fn a_counter_that_stood_still_since_the_last_drop_excludes() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4109 ip saddr 10.7.0.1 ip length 38 counter drop\nudp dport 4109 counter drop");
    let agent = Agent::live(&["--event", "drop"]);
    let other = handle(&b, "udp dport 4109 counter packets");
    // Both rules match the first packet; the first one drops it.
    datagram(&a, address("10.7.0.2:4109"), 10);
    let first = any_drop_in(&agent, &b, 4109);
    let one = handle(&b, "ip length 38");
    let text = first["hint"].as_str().unwrap_or_default();
    assert!(
        text.contains(&format!("nft: table inet test, chain input, handle {one}")),
        "the second has not counted: {first}"
    );
    // Before 6.7 other code may have dropped it in the same function.
    assert_eq!(first["nft"].is_object(), rules_drop(&first), "{first}");
    datagram(&a, address("10.7.0.2:4109"), 11);
    let second = agent
        .wait_for("the second drop", |event| event["event"] == "drop" && event["dport"] == 4109 && event["len"] == 39);
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
    let event = any_drop_in(&agent, &b, 4110);
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
    let event = agent.wait_for("drop by the queueing discipline", |e| {
        e["event"] == "drop" && e["netns"] == a.inode() && e["dport"] == 4112 && e["direction"] == "out"
    });
    let reason = event["reason"].as_str().unwrap_or_default();
    if reason.starts_with("QDISC") {
        assert_eq!(event["hint"], "qdisc tbf 77: on wire", "{event}");
        assert_eq!(event["qdisc"], json!({"kind": "tbf", "handle": "77:"}), "{event}");
    } else {
        // Before 5.18 the drop has no reason, and it shares its call site with others.
        assert!(event["hint"].as_str().is_some_and(|hint| hint.ends_with("qdisc tbf 77: on wire")), "{event}");
    }
}

#[test]
fn a_destination_without_a_route() {
    if !reason::exists("IP_INNOROUTES") {
        return skip(&lacks("IP_INNOROUTES", "the drop shares its call site with all packets that are not forwarded"));
    }
    let row = Row::new();
    let agent = Agent::live(&["--event", "drop"]);
    datagram(&row.left, address("10.200.0.1:4113"), 10);
    let event = any_drop_in(&agent, &row.middle, 4113);
    expect(&event, &[("reason", "IP_INNOROUTES".into()), ("hint", "no route to 10.200.0.1".into())]);
}

/// There is a route; the kernel gives no reason for the drop.
#[test]
fn a_route_that_refuses_is_not_taken_for_none() {
    if !reason::any() {
        return skip(&lacks("drop reasons", "the drop shares its call site with packets without a route"));
    }
    let row = Row::new();
    for (kind, to) in
        [("blackhole", "10.201.0.1:4117"), ("unreachable", "10.202.0.1:4117"), ("prohibit", "10.203.0.1:4117")]
    {
        let to = address(to);
        row.middle.ip(&["route", "add", kind, &to.ip().to_string()]);
        let agent = Agent::live(&["--event", "drop"]);
        datagram(&row.left, to, 10);
        let event = any_drop_in(&agent, &row.middle, 4117);
        let hint = format!("the route to {} refuses it (blackhole, unreachable or prohibit)", to.ip());
        expect(&event, &[("reason", "NOT_SPECIFIED".into()), ("hint", hint.into())]);
    }
}

#[test]
fn a_source_that_is_not_believed() {
    if !reason::exists("IP_RPFILTER") {
        return skip(&lacks("IP_RPFILTER", "the drop shares its call site with others"));
    }
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
    let event = any_drop_in(&agent, &b, 4114);
    let hint = "rp_filter: 10.99.0.1 came in by wire, and no route back to it leads that way";
    expect(&event, &[("reason", "IP_RPFILTER".into()), ("hint", hint.into())]);
}

/// The drop of a datagram that waited for a neighbour's answer. A timer drops it. The timer may interrupt a program of
/// the tracer, or a task that this kernel hides from tracing: then the test sends more.
fn dropped_unanswered(agent: &Agent, from: &Netns, to: SocketAddr) -> Value {
    let dropped =
        |event: &Value| event["event"] == "drop" && event["netns"] == from.inode() && event["dport"] == to.port();
    let found = (0..3).find_map(|_| {
        // The kernel drops all waiting datagrams together.
        for _ in 0..3 {
            datagram(from, to, 10);
        }
        agent.hears(dropped)
    });
    found.unwrap_or_else(|| panic!("no drop of a packet to {to} came: {}", agent.log()))
}

#[test]
fn a_neighbour_or_a_next_hop_that_does_not_answer() {
    let (a, _b) = Netns::pair();
    // Long enough for three datagrams on a slow machine: one that comes after the drop of the others starts a new
    // request, and the neighbour is no longer FAILED.
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
        // Two neighbours do not answer: either may be the next hop.
        assert_eq!(event["hint"], hint, "{event}");
    }
    a.ip(&["neigh", "flush", "all", "nud", "failed"]);
    let agent = Agent::live(&["--event", "drop"]);
    let event = dropped_unanswered(&agent, &a, address("10.77.0.1:4118"));
    assert_eq!(event["hint"], "no answer from next hop 10.7.0.78 on wire, on the way to 10.77.0.1", "{event}");
}

/// The last drop before the end has a hint, too, in a line of its own.
#[test]
fn the_last_drop_is_explained_in_text() {
    let (a, _b) = Netns::pair();
    // The rule drops the packet in the call that sends it.
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
