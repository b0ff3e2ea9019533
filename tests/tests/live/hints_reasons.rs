//! Drops that are not a firewall's: what the hint and the finding say of them, and where they send the reader.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::netns::Netns;

/// Longer than any packet needs; the connection attempts of these tests get no answer.
const ATTEMPT: Duration = Duration::from_millis(50);

fn attempt(from: &Netns, to: &str) {
    let to: SocketAddr = to.parse().expect("an address");
    from.within(|| drop(TcpStream::connect_timeout(&to, ATTEMPT)));
}

fn finding(agent: &Agent, about: &str) -> Value {
    let mut found = Value::Null;
    agent.wait_for(&format!("finding about {about}"), |event| {
        let wanted = event["event"] == "finding" && event["text"].as_str().is_some_and(|text| text.contains(about));
        if wanted {
            found = event.clone();
        }
        wanted
    });
    found
}

fn advice(finding: &Value) -> String {
    finding["look"].as_array().expect("advice").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}

/// SYNs that a rule drops on their way in are the client's; the listener, which the packet was to, has sent nothing.
#[test]
fn a_listener_is_not_said_to_have_sent_what_was_dropped() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "tcp dport 4300 drop");
    let listener = b.within(|| TcpListener::bind("10.7.0.2:4300").expect("it listens"));
    let agent = Agent::live(&["--event", "drop,finding", "--netns", b.name()]);
    attempt(&a, "10.7.0.2:4300");
    let finding = finding(&agent, "10.7.0.2:4300");
    drop(listener);
    assert_eq!(finding["name"], "syn_dropped_by_policy", "{finding}");
    assert!(advice(&finding).contains("nft list ruleset"), "{finding}");
    assert!(finding["text"].as_str().is_some_and(|text| !text.contains(" of ")), "{finding}");
}

/// rp_filter is no firewall.
#[test]
fn a_finding_about_rp_filter_sends_nobody_to_the_firewall() {
    let (a, b) = Netns::pair();
    b.sysctl("net/ipv4/conf/all/rp_filter", "1");
    b.sysctl("net/ipv4/conf/wire/rp_filter", "1");
    a.sysctl("net/ipv4/conf/wire/arp_announce", "2");
    a.ip(&["addr", "add", "10.99.0.1/32", "dev", "lo"]);
    // What goes out has the address that is not believed there.
    a.ip(&["route", "replace", "10.7.0.0/24", "dev", "wire", "src", "10.99.0.1"]);
    let agent = Agent::live(&["--event", "drop,finding", "--netns", b.name()]);
    attempt(&a, "10.7.0.2:4301");
    let mut reason = Value::Null;
    agent.wait_for("drop of the SYN", |event| {
        let is = event["event"] == "drop" && event["netns"] == b.inode() && event["dport"] == 4301;
        if is {
            reason = event["reason"].clone();
        }
        is
    });
    // Before 5.17 there are no reasons, and it is no policy's.
    if reason == "IP_RPFILTER" {
        let finding = finding(&agent, "10.7.0.2:4301");
        let advice = advice(&finding);
        assert!(advice.contains("rp_filter") && !advice.contains("nft"), "{finding}");
    }
}
