//! Thousands of rules: their cost is bounded, and other namespaces keep their hints.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::drops::any_drop_in;
use tracer_tests::netns::Netns;
use tracer_tests::traffic::sys::pause;

/// Sends a datagram to `port` of its own loopback.
fn datagram(netns: &Netns, port: u16) {
    netns.within(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("it binds");
        // A rule on output makes it fail.
        let _ = socket.send_to(b"x", ("127.0.0.1", port));
    });
}

/// `count` rules that may or may not match: the tracer does not know the mark.
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

/// One namespace has thousands of rules that may match, and sends as fast as it can. Drops in another namespace name
/// their rule nevertheless, and the trace ends.
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
                    pause(Duration::ZERO);
                }
            });
        });
        let told = agent.wait_for("drop with a hint in the flooded namespace", |event| {
            event["event"] == "drop" && event["netns"] == flooded.inode() && !event["hint"].is_null()
        });
        datagram(&other, 4131);
        let event = any_drop_in(&agent, &other, 4131);
        done.store(true, Ordering::Relaxed);
        assert!(hint(&told).contains("one of: inet test output"), "{told}");
        assert!(hint(&event).contains("inet test, chain output, handle"), "{event}");
    });
    let ended = agent.stop();
    assert_eq!(ended.stream.summary()["lost"], serde_json::json!({}), "{}", ended.log);
}

/// Beyond a bound the tracer names no rule, and the hint names the bound.
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
        let event = any_drop_in(&agent, &netns, 4132);
        assert!(hint(&event).ends_with(said), "{event}");
        assert!(event["nft"].is_null(), "{event}");
        let ended = agent.stop();
        assert_eq!(ended.stream.summary()["incomplete"]["hints_given_up"], 1, "{}", ended.log);
    }
}

/// The tracer reads the rules again when their generation changes.
#[test]
fn rules_that_have_changed_are_read_again() {
    let netns = Netns::new();
    let agent = Agent::live(&["--event", "drop"]);
    for (n, port) in [(1, 4133), (2, 4134), (3, 4135)] {
        netns.nft_clear();
        netns.nft_rule("output", &format!("udp dport {port} drop comment \"number {n}\""));
        datagram(&netns, port);
        let event = any_drop_in(&agent, &netns, port);
        assert!(hint(&event).contains(&format!("udp dport {port} drop")), "{event}");
        assert!(hint(&event).contains(&format!("number {n}")), "{event}");
    }
}
