//! Segments that the kernel sends for a listener or without a socket: the events have the peer's address.

use std::net::{IpAddr, SocketAddr, TcpListener};

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{expect, is_ours, peers};
use tracer_tests::netns::Netns;
use tracer_tests::reason;
use tracer_tests::segment::{ACK, RawIp, SYN, Segment};

/// A reset or a repeated segment that `netns` sends from `port`.
fn sent(agent: &Agent, kind: &str, netns: &Netns, port: u16) -> Value {
    agent.wait_for(&format!("{kind} from port {port}"), |event| {
        event["event"] == kind && event["netns"] == netns.inode() && event["lport"] == port
    })
}

fn has_ends(event: &Value, local: SocketAddr, remote: SocketAddr) {
    let addr = |addr: IpAddr| Value::from(addr.to_string());
    expect(event, &[("laddr", addr(local.ip())), ("lport", local.port().into())]);
    expect(event, &[("raddr", addr(remote.ip())), ("rport", remote.port().into())]);
    expect(event, &[("family", if local.is_ipv6() { 6 } else { 4 }.into())]);
}

/// As after a restart: the peer goes on with a connection that this host does not know.
#[test]
fn the_reset_of_an_unknown_connection_has_the_peers_ends() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4080);
        let from = SocketAddr::new(from, 4081);
        let anywhere: SocketAddr = if v6 { ([0_u16; 8], 4080).into() } else { ([0; 4], 4080).into() };
        let listener = b.within(|| TcpListener::bind(anywhere).expect("it listens"));
        let agent = Agent::live(&["--event", "reset,listen"]);
        RawIp::open(&a, v6).send(&Segment { flags: ACK, seq: 7, ack: 8, ..Segment::between(from, to) });
        let event = sent(&agent, "reset", &b, 4080);
        has_ends(&event, to, from);
        expect(&event, &[("direction", "sent".into()), ("role", "listener".into())]);
        is_ours(&event);
        drop(listener);
    }
}

#[test]
fn the_reset_of_a_closed_port_has_the_peers_ends() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4082);
        let from = SocketAddr::new(from, 4083);
        let agent = Agent::live(&["--event", "reset"]);
        RawIp::open(&a, v6).send(&Segment { flags: SYN, seq: 7, ..Segment::between(from, to) });
        let event = sent(&agent, "reset", &b, 4082);
        has_ends(&event, to, from);
        expect(&event, &[("direction", "sent".into()), ("owner", Value::Null), ("conn", Value::Null)]);
        expect(&event, &[("reason", reason::of_reset("NO_SOCKET"))]);
    }
}

/// The SYN-ACK gets no answer: the kernel sends it again to the peer, for the listener's process.
#[test]
fn a_repeated_synack_has_the_peers_ends_and_the_listeners_owner() {
    let (a, b) = Netns::pair();
    a.nft_rule("input", "tcp sport 4084 drop");
    for v6 in [false, true] {
        let (from, to) = peers(v6, 4084);
        let from = SocketAddr::new(from, 4085);
        let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
        let agent = Agent::live(&["--event", "retransmit,listen"]);
        RawIp::open(&a, v6).send(&Segment { flags: SYN, seq: 7, ..Segment::between(from, to) });
        let event = sent(&agent, "retransmit", &b, 4084);
        has_ends(&event, to, from);
        expect(&event, &[("what", "synack".into()), ("role", "listener".into())]);
        is_ours(&event);
        drop(listener);
    }
}

/// The filter names the peer, which the listener itself does not have.
#[test]
fn a_listeners_segment_is_filtered_by_the_peer_that_it_goes_to() {
    let (a, b) = Netns::pair();
    let (from, to) = peers(false, 4086);
    let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
    let netns = b.inode().to_string();
    let wanted = Agent::live(&["--netns", &netns, "--event", "reset", "--rport", "4087"]);
    let other = Agent::live(&["--netns", &netns, "--event", "reset", "--rport", "4088"]);
    let raw = RawIp::open(&a, false);
    for port in [4087, 4088] {
        raw.send(&Segment { flags: ACK, seq: 7, ack: 8, ..Segment::between(SocketAddr::new(from, port), to) });
    }
    for (agent, port) in [(wanted, 4087), (other, 4088)] {
        let event = sent(&agent, "reset", &b, 4086);
        has_ends(&event, to, SocketAddr::new(from, port));
        let stream = agent.stop().stream;
        assert!(stream.kind("reset").all(|event| event["rport"] == port), "nothing else");
    }
    drop(listener);
}
