//! Segments that TCP drops, resets or sends again: the reason, the place, the owner.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{ATTEMPT, address, attempt, drop_in, expect, is_ours, peers, symbol_is};
use tracer_tests::netns::Netns;
use tracer_tests::reason::{self, assert_class};
use tracer_tests::scale;
use tracer_tests::segment::{ACK, RawIp, SYN, Segment, next_to_receive};
use tracer_tests::skip::{lacks, skip};
use tracer_tests::traffic::sys;

#[test]
fn a_closed_port_refuses() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let agent = Agent::live(&[]);
        let (from, to) = peers(v6, 4005);
        attempt(&a, to);
        let event = drop_in(&agent, &b, "NO_SOCKET", 4005);
        expect(
            &event,
            &[
                ("class", "refused".into()),
                ("direction", "in".into()),
                ("tcp_flags", "S".into()),
                ("lport", 4005.into()),
                ("raddr", from.to_string().into()),
                ("owner", Value::Null),
                ("conn", Value::Null),
            ],
        );
        symbol_is(&event, &[if v6 { "tcp_v6_rcv" } else { "tcp_v4_rcv" }]);
        let sent = agent.wait_for("reset that is sent", |e| e["event"] == "reset" && e["netns"] == b.inode());
        expect(&sent, &[("direction", "sent".into()), ("lport", 4005.into()), ("rport", event["sport"].clone())]);
        expect(&sent, &[("reason", reason::of_reset("NO_SOCKET")), ("owner", Value::Null)]);
        let received = agent.wait_for("reset that is received", |e| e["event"] == "reset" && e["netns"] == a.inode());
        expect(&received, &[("direction", "received".into()), ("role", "client".into())]);
        expect(&received, &[("lport", event["sport"].clone())]);
        is_ours(&received);
        let ended = agent.stop();
        let cause = event["reason"].as_str().or(event["symbol"].as_str()).expect("a cause");
        assert!(ended.stream.summary()["drops"][cause].as_u64() >= Some(1), "{}", ended.stream.summary());
    }
}

#[test]
fn segments_that_are_not_right() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4010);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        let agent = Agent::live(&["--event", "drop,open"]);
        let raw = RawIp::open(&a, v6);
        let syn = Segment { flags: SYN, seq: 0x0102_0304, ..Segment::between(SocketAddr::new(from, 1234), to) };
        raw.send(&Segment { checksum_off_by: 7, ..syn });
        let event = drop_in(&agent, &b, "TCP_CSUM", 4010);
        expect(&event, &[("class", "loss".into()), ("tcp_flags", "S".into()), ("seq", 0x0102_0304.into())]);
        expect(&event, &[("sport", 1234.into()), ("direction", "in".into()), ("saddr", from.to_string().into())]);
        symbol_is(&event, &[if v6 { "tcp_v6_rcv" } else { "tcp_v4_rcv" }]);
        if !reason::any() {
            // Segments that a socket itself discards pass no tracepoint there (KNOWN_ISSUES.md).
            continue;
        }
        // A listener ignores a segment without SYN, ACK and RST.
        raw.send(&Segment { flags: 0, ..syn });
        if !reason::names_receivers() {
            // The packet has lost its device by then (KNOWN_ISSUES.md).
            let event = agent
                .wait_for("TCP_FLAGS", |e| e["event"] == "drop" && e["dport"] == 4010 && e["reason"] == "TCP_FLAGS");
            expect(&event, &[("owner", Value::Null), ("netns", Value::Null), ("tcp_flags", "none".into())]);
            continue;
        }
        let event = drop_in(&agent, &b, "TCP_FLAGS", 4010);
        assert_class(&event, "noise", "loss");
        expect(&event, &[("tcp_flags", "none".into()), ("role", "listener".into())]);
        expect(&event, &[("lport", 4010.into()), ("sport", 1234.into()), ("daddr", to.ip().to_string().into())]);
        symbol_is(&event, &["tcp_rcv_state_process"]);
        is_ours(&event);
        drop(listener);
    }
}

#[test]
fn segments_outside_the_window_are_the_connections() {
    if !reason::any() {
        return skip(&lacks("drop reasons", "what a socket throws away itself passes no tracepoint"));
    }
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4016);
        let agent = Agent::live(&["--event", "drop,accept"]);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        let client = a.within(|| TcpStream::connect(to).expect("it connects"));
        let (server, _) = listener.accept().expect("it accepts");
        let accept = agent.wait_for("accept", |e| e["event"] == "accept" && e["netns"] == b.inode());
        let next = next_to_receive(&server);
        let port = client.local_addr().expect("it has an address").port();
        let raw = RawIp::open(&a, v6);
        let ack = Segment { flags: ACK, ..Segment::between(SocketAddr::new(from, port), to) };
        let late = next.wrapping_sub(1000);
        let early = next.wrapping_add(1 << 28);
        // Until 6.6 there is one reason for both.
        let old = if reason::exists("TCP_OLD_SEQUENCE") { "TCP_OLD_SEQUENCE" } else { "TCP_INVALID_SEQUENCE" };
        for (seq, reason) in [(late, old), (early, "TCP_INVALID_SEQUENCE")] {
            raw.send(&Segment { seq, ..ack });
            let event = agent.wait_for(reason, |e| e["event"] == "drop" && e["dport"] == 4016 && e["seq"] == seq);
            let class = if reason == "TCP_OLD_SEQUENCE" { "noise" } else { "loss" };
            expect(&event, &[("reason", reason.into()), ("class", class.into()), ("tcp_flags", ".".into())]);
            if !reason::names_receivers() {
                // The packet has lost its device by then (KNOWN_ISSUES.md).
                let keys = ["netns", "iface", "conn", "owner"];
                expect(&event, &keys.map(|key| (key, Value::Null)));
                expect(&event, &[("owner_source", "unknown".into()), ("saddr", from.to_string().into())]);
                continue;
            }
            expect(&event, &[("netns", b.inode().into()), ("direction", "in".into())]);
            expect(&event, &[("conn", accept["conn"].clone()), ("role", "server".into()), ("lport", 4016.into())]);
            expect(&event, &[("rport", port.into()), ("raddr", from.to_string().into())]);
            symbol_is(&event, &["tcp_validate_incoming"]);
            is_ours(&event);
        }
        drop((listener, client, server));
    }
}

#[test]
fn the_close_counts_drops_that_are_folded() {
    if !reason::names_receivers() {
        return skip(&lacks("rx_sk", "of drops inside a TCP socket the connection is not known"));
    }
    let (a, b) = Netns::pair();
    let (from, to) = peers(false, 4020);
    let agent = Agent::live(&["--event", "drop,accept,close"]);
    let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
    let client = a.within(|| TcpStream::connect(to).expect("it connects"));
    let (server, _) = listener.accept().expect("it accepts");
    let next = next_to_receive(&server);
    let port = client.local_addr().expect("it has an address").port();
    let raw = RawIp::open(&a, false);
    let ack = Segment { flags: ACK, ..Segment::between(SocketAddr::new(from, port), to) };
    let seq = next.wrapping_add(1 << 28);
    for _ in 0..100 {
        raw.send(&Segment { seq, ..ack });
    }
    // Immediately: within the second in which they are folded.
    drop((server, client));
    let close = agent.wait_for("close", |e| e["event"] == "close" && e["netns"] == b.inode() && e["role"] == "server");
    assert_eq!(close["drops"], 100, "{close}");
    let stream = agent.stop().stream;
    let ours = stream.kind("drop").filter(|event| event["conn"] == close["conn"] && event["seq"] == seq);
    let told: u64 = ours.map(|event| event["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(told, 100, "each drop has one event");
    drop(listener);
}

#[test]
fn a_packet_of_a_time_wait_socket() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4017);
        let agent = Agent::live(&["--event", "drop,connect,close"]);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        let mut client = a.within(|| TcpStream::connect(to).expect("it connects"));
        let local = client.local_addr().expect("it has an address");
        let (server, _) = listener.accept().expect("it accepts");
        // The side that closes first waits.
        client.shutdown(Shutdown::Write).expect("it ends");
        let next = next_to_receive(&client);
        drop(server);
        assert_eq!(client.read(&mut [0]).expect("it ends"), 0);
        drop(client);
        let close = agent.wait_for("close", |e| e["event"] == "close" && e["netns"] == a.inode());
        let raw = RawIp::open(&b, v6);
        let late = Segment { flags: ACK, seq: next.wrapping_sub(1000), ..Segment::between(to, local) };
        raw.send(&late);
        // The kernel gives no better reason.
        let event = drop_in(&agent, &a, "NOT_SPECIFIED", local.port());
        expect(&event, &[("conn", close["conn"].clone()), ("role", "client".into()), ("direction", "in".into())]);
        expect(&event, &[("laddr", from.to_string().into()), ("lport", local.port().into()), ("rport", 4017.into())]);
        symbol_is(&event, &[if v6 { "tcp_v6_rcv" } else { "tcp_v4_rcv" }]);
        is_ours(&event);
        drop(listener);
    }
}

#[test]
fn a_packet_of_a_request_socket_is_the_listeners() {
    let (a, b) = Netns::pair();
    // No socket there has sent the SYN: the kernel would reset the answer.
    a.nft_rule("input", "tcp sport 4018 drop");
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4018);
        let agent = Agent::live(&["--event", "drop,listen"]);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        let raw = RawIp::open(&a, v6);
        let syn = Segment { flags: SYN, seq: 1000, ..Segment::between(SocketAddr::new(from, 4321), to) };
        raw.send(&syn);
        // Its answer was dropped: the request is there.
        let answer = drop_in(&agent, &a, "NETFILTER_DROP", 4321);
        let ack = (answer["seq"].as_u64().expect("a number") as u32).wrapping_add(1);
        // Right, but far outside the window.
        raw.send(&Segment { flags: ACK, seq: 1001 + (1 << 28), ack, ..syn });
        // Older kernels have TCP_OVERWINDOW, but not for requests.
        let reason = if reason::exists("TCP_LISTEN_OVERFLOW") { "TCP_OVERWINDOW" } else { "NOT_SPECIFIED" };
        let event = drop_in(&agent, &b, reason, 4018);
        expect(&event, &[("class", "loss".into()), ("role", "listener".into()), ("lport", 4018.into())]);
        expect(&event, &[("direction", "in".into()), ("sport", 4321.into()), ("saddr", from.to_string().into())]);
        expect(&event, &[("tcp_flags", ".".into()), ("iface", "wire".into())]);
        symbol_is(&event, &[if v6 { "tcp_v6_rcv" } else { "tcp_v4_rcv" }]);
        is_ours(&event);
        drop(listener);
    }
}

/// SYNs from many ports, whose answers get no answer. The kernel has no drop event for a SYN that finds the queue full
/// (KNOWN_ISSUES.md); an ACK that fits no SYN cookie has one.
#[test]
fn a_flood_of_syns_is_the_listeners() {
    let (a, b) = Netns::pair();
    a.nft_rule("input", "tcp sport 4019 drop");
    b.sysctl("net/ipv4/tcp_max_syn_backlog", "8");
    for v6 in [false, true] {
        let agent = Agent::live(&[]);
        let (from, to) = peers(v6, 4019);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        let raw = RawIp::open(&a, v6);
        // On a slow machine a ring may be full for a moment.
        let syns = scale::load(4000, 400) as u16;
        for port in 20_000..20_000 + syns {
            raw.send(&Segment { flags: SYN, ..Segment::between(SocketAddr::new(from, port), to) });
        }
        let again = agent.wait_for("SYN-ACK sent again", |e| e["event"] == "retransmit" && e["netns"] == b.inode());
        expect(&again, &[("what", "synack".into()), ("role", "listener".into()), ("lport", 4019.into())]);
        is_ours(&again);
        raw.send(&Segment { flags: ACK, seq: 5, ack: 5, ..Segment::between(SocketAddr::new(from, 3000), to) });
        let event = agent.wait_for("drop of the ACK", |e| {
            let here = e["netns"] == b.inode() || e["netns"].is_null() && !reason::names_receivers();
            e["event"] == "drop" && here && e["sport"] == 3000 && e["dport"] == 4019
        });
        // Kernels before 6.10 have this reason, but some not for segments that they answer with an RST.
        let older = reason::of_reset("NO_SOCKET").is_null();
        assert!(reason::is(&event, "TCP_FLAGS") || older && reason::is(&event, "NOT_SPECIFIED"), "{event}");
        assert_class(&event, "noise", "loss");
        expect(&event, &[("tcp_flags", ".".into()), ("sport", 3000.into())]);
        symbol_is(&event, &[if v6 { "tcp_v6_do_rcv" } else { "tcp_v4_do_rcv" }]);
        // Before 6.12 the owner is unknown (KNOWN_ISSUES.md).
        if event["netns"].is_null() {
            expect(&event, &[("owner", Value::Null), ("conn", Value::Null)]);
        } else {
            expect(&event, &[("role", "listener".into()), ("lport", 4019.into())]);
            is_ours(&event);
        }
        let stream = agent.stop().stream;
        assert_eq!(stream.lost(), 0, "{}", stream.summary());
        drop(listener);
    }
}

#[test]
fn a_full_accept_queue_is_the_listeners() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let agent = Agent::live(&[]);
        let (from, to) = peers(v6, 4011);
        let listener = b.within(|| {
            let listener = TcpListener::bind(to).expect("it listens");
            sys::listen(listener.as_raw_fd(), 4).expect("a queue of its own length");
            listener
        });
        let earlier: Vec<_> = a.within(|| (0..4).map(|_| TcpStream::connect_timeout(&to, ATTEMPT)).collect());
        // Both handshakes are complete for the clients and incomplete for the server, whose queue has room for one.
        b.nft_rule("input", "tcp dport 4011 tcp flags == ack drop");
        let clients: Vec<_> = a.within(|| (0..2).map(|_| TcpStream::connect_timeout(&to, ATTEMPT)).collect());
        assert!(clients.iter().all(Result::is_ok), "{clients:?}");
        b.nft_clear();
        // The data of the first completes its handshake and fills the queue.
        for mut client in clients.iter().flatten() {
            client.write_all(b"data").expect("it is sent");
        }
        let event = agent.wait_for("drop of data", |event| {
            event["event"] == "drop" && event["netns"] == b.inode() && event["tcp_flags"] == "P."
        });
        assert!(reason::is(&event, "TCP_LISTEN_OVERFLOW"), "{event}");
        expect(&event, &[("class", "loss".into()), ("role", "listener".into())]);
        expect(&event, &[("lport", 4011.into()), ("direction", "in".into()), ("saddr", from.to_string().into())]);
        symbol_is(&event, &[if v6 { "tcp_v6_rcv" } else { "tcp_v4_rcv" }]);
        is_ours(&event);
        drop((listener, earlier, clients));
    }
}

#[test]
fn a_syn_ack_that_is_sent_again_is_the_listeners() {
    let (a, b) = Netns::pair();
    let agent = Agent::live(&[]);
    let to = address("10.7.0.2:4015");
    let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
    b.nft_rule("input", "tcp dport 4015 tcp flags == ack drop");
    let client = a.within(|| TcpStream::connect_timeout(&to, ATTEMPT).expect("its handshake is done"));
    let again = agent.wait_for("SYN-ACK sent again", |e| e["event"] == "retransmit" && e["netns"] == b.inode());
    expect(&again, &[("what", "synack".into()), ("role", "listener".into()), ("lport", 4015.into())]);
    is_ours(&again);
    assert!(again["seq"].is_u64() && again["state"] == "NEW_SYN_RECV", "{again}");
    drop((listener, client));
}

#[test]
fn what_is_sent_again() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "tcp dport 4012 drop");
    let agent = Agent::live(&[]);
    let to = address("10.7.0.2:4012");
    let attempt = a.within(|| TcpStream::connect_timeout(&to, Duration::from_millis(1500)));
    assert!(attempt.is_err());
    let event = agent.wait_for("retransmit", |e| e["event"] == "retransmit" && e["netns"] == a.inode());
    expect(&event, &[("what", "syn".into()), ("state", "SYN_SENT".into()), ("role", "client".into())]);
    assert!(event["seq"].is_u64(), "{event}");
    is_ours(&event);
}
