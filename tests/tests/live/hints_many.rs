//! Rules by the thousand: what they may cost, and that they take nothing from others.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::netns::Netns;

/// Sends a datagram to `port` of its own loopback.
fn datagram(netns: &Netns, port: u16) {
    netns.within(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("it binds");
        // A rule of the output forbids it.
        let _ = socket.send_to(b"x", ("127.0.0.1", port));
    });
}

fn drop_in(agent: &Agent, netns: &Netns, port: u16, mut is: impl FnMut(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    agent.wait_for(&format!("drop of a packet to port {port} in {}", netns.inode()), |event| {
        let wanted = event["event"] == "drop" && event["netns"] == netns.inode() && event["dport"] == port && is(event);
        if wanted {
            found = event.clone();
        }
        wanted
    });
    found
}

/// `count` rules, of none of which tracer can know whether it matches.
fn undecidable(count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, n| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "ct mark {n} drop");
        text
    })
}

fn hint(event: &Value) -> &str {
    event["hint"].as_str().unwrap_or_default()
}

/// One namespace has thousands of rules that cannot be excluded, and sends as fast as it can. Drops in another one say
/// their rule all the same, and the end comes.
#[test]
fn many_rules_of_one_namespace_leave_the_hints_of_another() {
    alone();
    let (flooded, other) = (Netns::new(), Netns::new());
    flooded.nft_rule("output", &format!("{}udp dport 4130 drop", undecidable(9000)));
    other.nft_rule("output", "udp dport 4131 drop");
    let agent = Agent::live(&["--event", "drop"]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            flooded.within(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("it binds");
                while !done.load(Ordering::Relaxed) {
                    let _ = socket.send_to(b"x", "127.0.0.1:4130");
                    thread::yield_now();
                }
            });
        });
        let told = drop_in(&agent, &flooded, 4130, |event| !event["hint"].is_null());
        datagram(&other, 4131);
        let event = drop_in(&agent, &other, 4131, |_| true);
        done.store(true, Ordering::Relaxed);
        assert!(hint(&told).contains("one of: inet test output"), "{told}");
        assert!(hint(&event).contains("inet test, chain output, handle"), "{event}");
    });
    let ended = agent.stop();
    assert_eq!(ended.stream.summary()["lost"], serde_json::json!({}), "{}", ended.log);
}

/// Beyond the bounds no rule is named, and the hint says which bound it was.
#[test]
fn more_rules_or_chains_than_are_read_are_said() {
    alone();
    let netns = Netns::new();
    for (rules, said) in [
        (
            format!(
                "chain output {{\ntype filter hook output priority 0;\n{}udp dport 4132 drop\n}}\n",
                undecidable(20_000)
            ),
            "there are more than 20000 rules",
        ),
        (
            (0..10_001).fold(
                "chain output {\ntype filter hook output priority 0;\nudp dport 4132 drop\n}\n".to_owned(),
                |mut text, n| {
                    let _ = writeln!(text, "chain c{n} {{\n}}");
                    text
                },
            ),
            "there are more than 10000 chains",
        ),
    ] {
        netns.nft_clear();
        netns.nft(&format!("table inet test {{\n{rules}}}\n"));
        let agent = Agent::live(&["--event", "drop", "--netns", netns.name()]);
        datagram(&netns, 4132);
        let event = drop_in(&agent, &netns, 4132, |_| true);
        assert!(hint(&event).ends_with(said), "{event}");
        assert!(event["nft"].is_null(), "{event}");
        let ended = agent.stop();
        assert_eq!(ended.stream.summary()["incomplete"]["hints_given_up"], 1, "{}", ended.log);
    }
}

/// What was read is used again only as long as the kernel's rules are of the same generation.
#[test]
fn rules_that_have_changed_are_read_again() {
    let netns = Netns::new();
    let agent = Agent::live(&["--event", "drop"]);
    for (n, port) in [(1, 4133), (2, 4134), (3, 4135)] {
        netns.nft_clear();
        netns.nft_rule("output", &format!("udp dport {port} drop comment \"number {n}\""));
        datagram(&netns, port);
        let event = drop_in(&agent, &netns, port, |_| true);
        assert!(hint(&event).contains(&format!("udp dport {port} drop")), "{event}");
        assert!(hint(&event).contains(&format!("number {n}")), "{event}");
    }
}
