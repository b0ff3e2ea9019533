//! Packets that a rule or a setting drops, and the filters on reasons.

use std::net::{TcpListener, UdpSocket};

use serde_json::Value;
use tracer_tests::agent::{Agent, run_to_end};
use tracer_tests::drops::{NETFILTER, Row, address, attempt, datagram, drop_in, expect, is_ours, peers, symbol_is};
use tracer_tests::netns::Netns;
use tracer_tests::reason::{self, assert_class};
use tracer_tests::stream::Stream;

#[test]
fn a_rule_on_input_is_policy_and_the_listeners() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "tcp dport 4000 drop");
    for v6 in [false, true] {
        let agent = Agent::live(&["--event", "drop,listen"]);
        let (from, to) = peers(v6, 4000);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        attempt(&a, to);
        let event = drop_in(&agent, &b, "NETFILTER_DROP", 4000);
        expect(
            &event,
            &[
                ("class", "policy".into()),
                ("direction", "in".into()),
                ("iface", "wire".into()),
                ("protocol", "tcp".into()),
                ("proto", "tcp".into()),
                ("tcp_flags", "S".into()),
                ("saddr", from.to_string().into()),
                ("daddr", to.ip().to_string().into()),
                ("role", "listener".into()),
                ("lport", 4000.into()),
                ("len", (if v6 { 80 } else { 60 }).into()),
            ],
        );
        assert!(event["seq"].is_u64() && event["reason_id"].is_u64() == reason::any(), "{event}");
        symbol_is(&event, &NETFILTER);
        is_ours(&event);
        drop(listener);
    }
}

#[test]
fn a_rule_on_output_is_the_clients() {
    let (a, _b) = Netns::pair();
    a.nft_rule("output", "tcp dport 4001 drop");
    for v6 in [false, true] {
        let agent = Agent::live(&["--event", "drop,connect,close"]);
        let (from, to) = peers(v6, 4001);
        attempt(&a, to);
        let event = drop_in(&agent, &a, "NETFILTER_DROP", 4001);
        expect(
            &event,
            &[
                ("class", "policy".into()),
                ("direction", "out".into()),
                ("role", "client".into()),
                ("laddr", from.to_string().into()),
                ("lport", event["sport"].clone()),
                ("rport", 4001.into()),
                ("owner_source", "connect".into()),
            ],
        );
        is_ours(&event);
        let close = agent.wait_for("close", |e| e["event"] == "close" && e["conn"] == event["conn"]);
        assert!(close["drops"].as_u64().is_some_and(|drops| drops > 0), "{close}");
    }
}

#[test]
fn a_rule_on_forward_is_nobodys() {
    let row = Row::new();
    row.middle.nft_rule("forward", "udp dport 4002 drop");
    for to in ["10.8.2.1:4002", "[fd08:2::1]:4002"].map(address) {
        let agent = Agent::live(&["--event", "drop"]);
        let port = datagram(&row.left, to, None);
        let event = drop_in(&agent, &row.middle, "NETFILTER_DROP", 4002);
        expect(
            &event,
            &[
                ("class", "policy".into()),
                ("direction", "forward".into()),
                ("sport", port.into()),
                ("daddr", to.ip().to_string().into()),
                ("protocol", "udp".into()),
                ("owner", Value::Null),
                ("laddr", Value::Null),
                ("raddr", Value::Null),
            ],
        );
        symbol_is(&event, &NETFILTER);
    }
    drop(row.right);
}

#[test]
fn a_source_that_cannot_be_is_filtered() {
    let (a, b) = Netns::pair();
    b.sysctl("net/ipv4/conf/all/rp_filter", "1");
    b.sysctl("net/ipv4/conf/wire/rp_filter", "1");
    // Otherwise it would send its ARP request from that address, and get no answer.
    a.sysctl("net/ipv4/conf/wire/arp_announce", "2");
    a.ip(&["addr", "add", "10.99.0.1/32", "dev", "lo"]);
    let agent = Agent::live(&["--event", "drop"]);
    a.within(|| {
        let socket = UdpSocket::bind("10.99.0.1:0").expect("it binds");
        socket.send_to(b"x", "10.7.0.2:4008").expect("it is sent");
    });
    let event = drop_in(&agent, &b, "IP_RPFILTER", 4008);
    assert_class(&event, "policy", "loss");
    expect(&event, &[("saddr", "10.99.0.1".into()), ("owner", Value::Null)]);
    expect(&event, &[("direction", "in".into()), ("iface", "wire".into())]);
    symbol_is(&event, &["ip_rcv_finish_core"]);
}

/// IPv6 has no rp_filter: distributions use a rule for it, and the drop is the rule's.
#[test]
fn a_source_that_cannot_be_is_filtered_by_a_rule_in_ipv6() {
    let (a, b) = Netns::pair();
    b.nft_rule("prerouting", "meta nfproto ipv6 fib saddr . iif oif missing drop");
    a.ip(&["addr", "add", "fd99::1/128", "dev", "lo", "nodad"]);
    let agent = Agent::live(&["--event", "drop"]);
    a.within(|| {
        let socket = UdpSocket::bind("[fd99::1]:0").expect("it binds");
        socket.send_to(b"x", "[fd07::2]:4008").expect("it is sent");
    });
    let event = drop_in(&agent, &b, "NETFILTER_DROP", 4008);
    expect(&event, &[("class", "policy".into()), ("saddr", "fd99::1".into()), ("daddr", "fd07::2".into())]);
    expect(&event, &[("direction", "in".into()), ("iface", "wire".into()), ("owner", Value::Null)]);
    symbol_is(&event, &NETFILTER);
}

#[test]
fn what_is_not_wanted_is_not_traced() {
    let summary = |events| {
        let (status, out, log) = run_to_end(&["live", "--json", "--event", events, "--duration", "100ms"]);
        assert!(status.success(), "{log}");
        Stream::read(out.as_bytes()).summary().clone()
    };
    let summary_of_resets = summary("reset");
    let summary = summary("close,connect");
    let backends = summary["backends"].as_object().expect("backends").clone();
    for hook in ["kfree_skb", "tcp_send_reset", "tcp_receive_reset", "tcp_retransmit_skb"] {
        assert!(!backends.contains_key(hook), "{hook}: {summary}");
    }
    let backends = &summary_of_resets["backends"];
    assert!(backends["tcp_send_reset"].is_string() && backends["kfree_skb"].is_null(), "{backends}");
}

#[test]
fn reasons_are_filtered() {
    if !reason::any() && reason::of_reset("NO_SOCKET").is_null() {
        let (status, _, log) = run_to_end(&["live", "--reason", "netfilter_drop"]);
        assert!(status.code() == Some(1) && log.contains("this kernel gives no reasons"), "{log}");
        return;
    }
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4013 drop");
    let agent = Agent::live(&["--reason", "netfilter_drop"]);
    datagram(&a, address("10.7.0.2:4014"), None);
    datagram(&a, address("10.7.0.2:4013"), None);
    drop_in(&agent, &b, "NETFILTER_DROP", 4013);
    let stream = agent.stop().stream;
    assert!(
        stream.of_netns(b.inode()).all(|event| event["reason"] == "NETFILTER_DROP"),
        "{}",
        stream.dump(&[b.inode()])
    );
}
