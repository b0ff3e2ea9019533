//! What the tracer concludes, from real traffic.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::netns::Netns;

fn finding(agent: &Agent, name: &str, part: &str) -> Value {
    let mut found = None;
    agent.wait_for(&format!("finding {name}: {part}"), |event| {
        let is = event["event"] == "finding"
            && event["name"] == name
            && event["text"].as_str().is_some_and(|text| text.contains(part));
        if is {
            found = Some(event.clone());
        }
        is
    });
    found.expect("it was found")
}

#[test]
fn nobody_listens() {
    let ns = Netns::new();
    let agent = Agent::live(&[]);
    let refused = ns.within(|| TcpStream::connect("127.0.0.1:4050"));
    assert!(refused.is_err());
    let found = finding(&agent, "nobody_listens", "127.0.0.1:4050");
    let text = found["text"].as_str().expect("a sentence");
    assert!(text.contains(&format!("[{}]", std::process::id())), "{text}");
    assert_eq!(found["count"], 1, "{found}");
    let ended = agent.stop();
    // What it rests on is in the stream.
    let evidence = found["evidence"].as_array().expect("a list");
    let conn = &evidence.iter().find(|e| e["event"] == "close").expect("the end of the connection")["conn"];
    let close = ended.stream.events.iter().find(|e| e["event"] == "close" && e["conn"] == *conn).expect("its close");
    assert_eq!((&close["verdict"], &close["netns"]), (&"refused".into(), &ns.inode().into()));
    // Said once, and again at the end.
    let said = |e: &&Value| e["event"] == "finding" && e["text"].as_str().is_some_and(|t| t.contains("127.0.0.1:4050"));
    assert_eq!(ended.stream.events.iter().filter(said).count(), 1);
    let summary = ended.stream.summary();
    let all = summary["findings"].as_array().expect("a list");
    assert!(
        all.iter().any(|f| f["name"] == "nobody_listens" && f["text"].as_str().is_some_and(|t| t.contains("4050")))
    );
}

#[test]
fn a_rule_drops_syns() {
    let ns = Netns::new();
    ns.nft_rule("output", "tcp dport 4051 drop");
    let agent = Agent::live(&[]);
    let to: SocketAddr = "127.0.0.1:4051".parse().expect("an address");
    let failed = ns.within(|| TcpStream::connect_timeout(&to, Duration::from_millis(100)));
    assert!(failed.is_err());
    let found = finding(&agent, "syn_dropped_by_policy", "127.0.0.1:4051");
    assert_eq!(found["evidence"][0]["event"], "drop", "{found}");
    assert!(found["look"].as_array().is_some_and(|look| look.iter().any(|line| line == "nft list ruleset")));
    let _ = agent.stop();
}
