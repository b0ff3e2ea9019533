//! Rules with sets and maps: which one dropped a packet, and its text.

use std::net::UdpSocket;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::any_drop_in;
use tracer_tests::netns::Netns;

/// The drop of a datagram from port `from` of the first namespace to port `to` of the second.
fn dropped(agent: &Agent, a: &Netns, b: &Netns, from: u16, to: u16) -> Value {
    a.within(|| {
        let socket = UdpSocket::bind(("10.7.0.1", from)).expect("it binds");
        socket.send_to(b"x", ("10.7.0.2", to)).expect("it is sent");
    });
    any_drop_in(agent, b, to)
}

/// Each packet matches one of several rules with sets; the hint has its text.
#[test]
fn a_rule_with_a_set_is_named() {
    let (a, b) = Netns::pair();
    b.nft(
        "table inet test {\n\
         set ports {\ntype inet_service\nflags interval\nelements = { 4200, 4210-4219 }\n}\n\
         set pairs {\ntype ipv4_addr . inet_service\nelements = { 10.7.0.2 . 4220, 10.7.0.9 . 4230 }\n}\n\
         set blocks {\ntypeof ip saddr . udp dport\nflags interval\nelements = { 10.7.0.0/24 . 4240-4249 }\n}\n\
         set others {\ntype ipv4_addr\nelements = { 10.7.0.77 }\n}\n\
         chain input {\ntype filter hook input priority 0; policy accept;\n\
         udp dport @ports drop\nip daddr . udp dport @pairs drop\nip saddr . udp dport @blocks drop\n\
         ip saddr @others drop\nudp dport { 4250, 4251 } drop\nudp dport vmap { 4260 : accept, 4261 : drop }\n\
         ip saddr != @others udp dport 4270 drop\n}\n}\n",
    );
    let agent = Agent::live(&["--event", "drop", "--netns", b.name()]);
    for (port, rule) in [
        (4200, "udp dport @ports drop"),
        (4215, "udp dport @ports drop"),
        (4220, "ip daddr . udp dport @pairs drop"),
        (4245, "ip saddr . udp dport @blocks drop"),
        (4251, "udp dport { 4250, 4251 } drop"),
        (4261, "udp dport vmap { 4260 : accept, 4261 : drop }"),
        (4270, "ip saddr != @others udp dport 4270 drop"),
    ] {
        let event = dropped(&agent, &a, &b, 4199, port);
        let hint = event["hint"].as_str().unwrap_or_default();
        assert!(hint.ends_with(&format!("({rule})")) && !hint.contains("one of"), "{port}: {event}");
        // Before 6.7 other code may have dropped it in the same function.
        if event["symbol"].as_str().is_some_and(|at| at.starts_with("nft_do_chain+")) {
            assert_eq!(event["nft"]["rule"], rule, "{event}");
        }
    }
}

/// Time or packets change the elements of such a set: its contents at the moment of the drop are unknown.
#[test]
fn a_set_that_changes_by_itself_stays_in_doubt() {
    let (a, b) = Netns::pair();
    b.nft(
        "table inet test {\n\
         set seen {\ntype ipv4_addr\nflags dynamic,timeout\ntimeout 1h\nelements = { 10.7.0.99 }\n}\n\
         chain input {\ntype filter hook input priority 0; policy accept;\n\
         ip saddr @seen udp dport 4280 drop\nudp dport 4280 drop\n}\n}\n",
    );
    let agent = Agent::live(&["--event", "drop", "--netns", b.name()]);
    let event = dropped(&agent, &a, &b, 4279, 4280);
    assert!(event["hint"].as_str().is_some_and(|hint| hint.contains("one of: inet test input")), "{event}");
    assert!(event["nft"].is_null(), "{event}");
}

/// Adding an element makes a new generation of the rules.
#[test]
fn elements_that_are_added_are_known() {
    let (a, b) = Netns::pair();
    b.nft(
        "table inet test {\nset ports {\ntype inet_service\n}\n\
         chain input {\ntype filter hook input priority 0; policy accept;\n\
         udp dport @ports drop\nudp dport 4290 drop\nct mark 0 udp dport 4291 drop\n}\n}\n",
    );
    let agent = Agent::live(&["--event", "drop", "--netns", b.name()]);
    let first = dropped(&agent, &a, &b, 4289, 4290);
    assert!(first["hint"].as_str().is_some_and(|hint| hint.ends_with("(udp dport 4290 drop)")), "{first}");
    b.nft("add element inet test ports { 4291 }\n");
    let second = dropped(&agent, &a, &b, 4289, 4291);
    assert!(second["hint"].as_str().is_some_and(|hint| hint.ends_with("(udp dport @ports drop)")), "{second}");
}
