//! Findings about drops by a rule and by rp_filter, and their advice.

use std::net::TcpListener;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{address, any_drop_in, attempt, expect};
use tracer_tests::netns::Netns;
use tracer_tests::reason;
use tracer_tests::skip::{lacks, skip};

fn advice(finding: &Value) -> String {
    finding["look"].as_array().expect("advice").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}

/// A rule drops incoming SYNs: the client has sent them, not the listener.
#[test]
fn a_listener_is_not_said_to_have_sent_what_was_dropped() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "tcp dport 4300 drop");
    let listener = b.within(|| TcpListener::bind("10.7.0.2:4300").expect("it listens"));
    let agent = Agent::live(&["--event", "drop,finding", "--netns", b.name()]);
    attempt(&a, address("10.7.0.2:4300"));
    let finding = agent.finding("", "10.7.0.2:4300");
    drop(listener);
    assert_eq!(finding["name"], "syn_dropped_by_policy", "{finding}");
    assert!(advice(&finding).contains("nft list ruleset"), "{finding}");
    assert!(finding["text"].as_str().is_some_and(|text| !text.contains(" of ")), "{finding}");
}

/// rp_filter is no firewall.
#[test]
fn a_finding_about_rp_filter_sends_nobody_to_the_firewall() {
    if !reason::exists("IP_RPFILTER") {
        return skip(&lacks("IP_RPFILTER", "the drop has another class"));
    }
    let (a, b) = Netns::pair();
    b.sysctl("net/ipv4/conf/all/rp_filter", "1");
    b.sysctl("net/ipv4/conf/wire/rp_filter", "1");
    a.sysctl("net/ipv4/conf/wire/arp_announce", "2");
    a.ip(&["addr", "add", "10.99.0.1/32", "dev", "lo"]);
    // Packets go out with an address that rp_filter rejects there.
    a.ip(&["route", "replace", "10.7.0.0/24", "dev", "wire", "src", "10.99.0.1"]);
    let agent = Agent::live(&["--event", "drop,finding", "--netns", b.name()]);
    attempt(&a, address("10.7.0.2:4301"));
    expect(&any_drop_in(&agent, &b, 4301), &[("reason", "IP_RPFILTER".into())]);
    let finding = agent.finding("", "10.7.0.2:4301");
    let advice = advice(&finding);
    assert!(advice.contains("rp_filter") && !advice.contains("nft"), "{finding}");
}
