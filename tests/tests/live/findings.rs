//! Findings from real traffic.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::netns::Netns;

#[test]
fn nobody_listens() {
    let ns = Netns::new();
    let agent = Agent::live(&[]);
    let refused = ns.within(|| TcpStream::connect("127.0.0.1:4050"));
    assert!(refused.is_err());
    let found = agent.finding("nobody_listens", "127.0.0.1:4050");
    let text = found["text"].as_str().expect("a sentence");
    assert!(text.contains(&format!("[{}]", std::process::id())), "{text}");
    assert_eq!(found["count"], 1, "{found}");
    let ended = agent.stop();
    // Its evidence is in the stream.
    let evidence = found["evidence"].as_array().expect("a list");
    let conn = &evidence.iter().find(|e| e["event"] == "close").expect("the end of the connection")["conn"];
    let close = ended.stream.events.iter().find(|e| e["event"] == "close" && e["conn"] == *conn).expect("its close");
    assert_eq!((&close["verdict"], &close["netns"]), (&"refused".into(), &ns.inode().into()));
    // One event, and an entry of the summary.
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
    let found = agent.finding("syn_dropped_by_policy", "127.0.0.1:4051");
    assert_eq!(found["evidence"][0]["event"], "drop", "{found}");
    assert!(found["look"].as_array().is_some_and(|look| look.iter().any(|line| line == "nft list ruleset")));
    // The rule that the drop's hint knows is in the sentence.
    let text = found["text"].as_str().expect("a sentence");
    assert!(text.contains("tcp dport 4051 drop"), "{text}");
    let _ = agent.stop();
}

#[test]
fn connect_finds_no_port_and_neither_does_bind() {
    let ns = Netns::new();
    ns.sysctl("net/ipv4/ip_local_port_range", "40000 40003");
    let agent = Agent::live(&["--netns", ns.name()]);
    let _open = ns.within(|| {
        let listener = TcpListener::bind("127.0.0.1:4052").expect("it listens");
        let open: Vec<_> = (0..4).map_while(|_| TcpStream::connect("127.0.0.1:4052").ok()).collect();
        let failed = TcpStream::connect("127.0.0.1:4052").expect_err("four ports are taken");
        assert_eq!(failed.raw_os_error(), Some(libc::EADDRNOTAVAIL), "{} connections", open.len());
        let failed = TcpListener::bind("127.0.0.1:0").expect_err("four ports are taken");
        assert_eq!(failed.raw_os_error(), Some(libc::EADDRINUSE));
        (listener, open)
    });
    let of_connect = agent.finding("ports_exhausted", "no local port is left for 127.0.0.1:4052");
    assert_eq!(of_connect["count"], 1, "{of_connect}");
    let of_bind = agent.finding("ports_exhausted", "no local port is left at 127.0.0.1");
    assert!(of_bind["text"].as_str().is_some_and(|text| text.contains("1 bind() call of")), "{of_bind}");
    let stream = agent.stop().stream;
    let bind = stream.kind("finding").find(|event| event["name"] == "cannot_bind");
    assert!(bind.is_none(), "{bind:?}");
}

#[test]
fn a_reject_of_one_port_leads_to_the_firewall() {
    let (client, server) = Netns::pair();
    server.nft_rule("input", "tcp dport 4053 reject with icmp type admin-prohibited");
    let agent = Agent::live(&["--netns", client.name()]);
    let to: SocketAddr = "10.7.0.2:4053".parse().expect("an address");
    let failed =
        client.within(|| TcpStream::connect_timeout(&to, Duration::from_secs(60))).expect_err("it is rejected");
    assert_eq!(failed.raw_os_error(), Some(libc::EHOSTUNREACH));
    let found = agent.finding("peer_unreachable", "10.7.0.2:4053 is prohibited");
    let text = found["text"].as_str().expect("a sentence");
    assert!(text.contains("ICMP 3/13 from 10.7.0.2"), "{text}");
    let look = found["look"].as_array().expect("a list");
    assert!(
        look.iter().any(|line| line == "nft list ruleset") && !look.iter().any(|line| line == "ip neigh"),
        "{found}"
    );
    let _ = agent.stop();
}
