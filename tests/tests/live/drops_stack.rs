//! `--stack`, in `tracer drops` and in `live`: the calls that led to a drop.

use std::net::UdpSocket;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{count, is_of_a_rule, rows, start};
use tracer_tests::netns::Netns;

/// Whether frames of these functions follow one another in this order, others between them.
fn has_in_order(stack: &Value, functions: &[&str]) -> bool {
    let frames = stack.as_array().map_or(&[][..], Vec::as_slice);
    let mut frames = frames.iter().filter_map(Value::as_str);
    functions.iter().all(|function| frames.any(|frame| frame.split('+').next() == Some(function)))
}

/// Functions from the rule to the system call, on every kernel.
const WAY: [&str; 2] = ["nf_hook_slow", "udp_sendmsg"];

#[test]
fn the_calls_that_led_to_a_drop() {
    let netns = Netns::new();
    netns.nft_rule("output", "udp dport 4024 counter drop");
    let inode = netns.inode().to_string();
    let send = || {
        netns.within(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("it binds");
            // Refused with EPERM.
            assert!((0..20).all(|_| socket.send_to(b"x", "127.0.0.1:4024").is_err()));
        });
    };
    let agent = start(&["--netns", &inode, "--stack"]);
    send();
    let ended = agent.stop();
    let rows = rows(&ended);
    assert_eq!((rows.len(), count(rows[0])), (1, 20), "{rows:?}");
    assert!(has_in_order(&rows[0]["stack"], &WAY), "{}", rows[0]);
    assert_eq!(rows[0]["stack"][0], rows[0]["symbol"], "the stack begins at the drop");
    assert!(is_of_a_rule(&rows[0]["stack"][0]), "{}", rows[0]);
    assert_eq!(ended.stream.summary()["incomplete"]["stacks_missing"], 0);

    let agent = Agent::live(&["--event", "drop", "--netns", &inode, "--stack"]);
    send();
    let ended = agent.stop();
    let events: Vec<&Value> = ended.stream.kind("drop").collect();
    assert_eq!(events.iter().map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>(), 20);
    assert!(events.iter().any(|event| event["count"].is_u64()), "some were folded");
    assert!(events.iter().all(|event| has_in_order(&event["stack"], &WAY)), "{events:?}");

    let agent = Agent::live(&["--event", "drop", "--netns", &inode]);
    send();
    let ended = agent.stop();
    assert!(ended.stream.kind("drop").count() > 0 && ended.stream.kind("drop").all(|e| e.get("stack").is_none()));
}

/// The classic tracepoint and the raw one take the same stack.
#[test]
fn every_backend_takes_the_stack() {
    let netns = Netns::new();
    netns.nft_rule("output", "udp dport 4025 counter drop");
    let inode = netns.inode().to_string();
    for link in ["raw_tp", "tracepoint"] {
        let agent = start(&["--netns", &inode, "--stack", "--backend", &format!("kfree_skb={link}")]);
        netns.within(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("it binds");
            assert!(socket.send_to(b"x", "127.0.0.1:4025").is_err());
        });
        let ended = agent.stop();
        let rows = rows(&ended);
        assert_eq!(rows.len(), 1, "{link}: {rows:?}");
        assert!(has_in_order(&rows[0]["stack"], &WAY), "{link}: {}", rows[0]);
    }
}
