//! Packets that IP or UDP drops: no route, no room, no socket.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{Row, address, datagram, drop_in, expect, is_ours, peers, symbol_is};
use tracer_tests::netns::Netns;
use tracer_tests::reason::{self, assert_class};
use tracer_tests::traffic::sys;

#[test]
fn the_last_hop_is_not_passed() {
    let row = Row::new();
    for (to, reason) in [("10.8.2.1:4003", "IP_INHDR"), ("[fd08:2::1]:4003", "IP_INHDR")] {
        let agent = Agent::live(&["--event", "drop"]);
        datagram(&row.left, address(to), Some(1));
        let event = drop_in(&agent, &row.middle, reason, 4003);
        expect(&event, &[("class", "loss".into()), ("owner", Value::Null), ("iface", "wire1".into())]);
        symbol_is(&event, &[if to.starts_with('[') { "ip6_forward" } else { "ip_forward" }]);
    }
    drop(row.right);
}

#[test]
fn a_destination_without_a_route() {
    let row = Row::new();
    // IPv6 has decided to forward the packet by then.
    for (to, symbols, direction) in [
        ("10.200.0.1:4004", &["ip_error"][..], "in"),
        ("[fd99::1]:4004", &["ip6_pkt_discard", "ip6_pkt_drop"], "forward"),
    ] {
        let agent = Agent::live(&["--event", "drop"]);
        let (to, v6) = (address(to), to.starts_with('['));
        let port = datagram(&row.left, to, None);
        let event = drop_in(&agent, &row.middle, "IP_INNOROUTES", 4004);
        expect(&event, &[("class", "loss".into()), ("direction", direction.into()), ("owner", Value::Null)]);
        expect(&event, &[("sport", port.into()), ("daddr", to.ip().to_string().into()), ("iface", "wire1".into())]);
        let from = if v6 { "fd08:1::1" } else { "10.8.1.1" };
        expect(&event, &[("saddr", from.into()), ("conn", Value::Null), ("protocol", "udp".into())]);
        symbol_is(&event, symbols);
    }
    drop(row.right);
}

#[test]
fn a_closed_udp_port_refuses() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let agent = Agent::live(&["--event", "drop"]);
        let (_, to) = peers(v6, 4006);
        let port = datagram(&a, to, None);
        let event = drop_in(&agent, &b, "NO_SOCKET", 4006);
        assert_class(&event, "refused", "loss");
        expect(&event, &[("proto", "udp".into()), ("rport", port.into())]);
        expect(&event, &[("owner", Value::Null), ("direction", "in".into())]);
        symbol_is(&event, if v6 { &["__udp6_lib_rcv", "udpv6_rcv"] } else { &["__udp4_lib_rcv", "udp_rcv"] });
    }
}

#[test]
fn a_full_receive_buffer_is_its_owners() {
    let (a, b) = Netns::pair();
    for v6 in [false, true] {
        let agent = Agent::live(&["--event", "drop"]);
        let (_, to) = peers(v6, 4007);
        let socket = b.within(|| UdpSocket::bind(to).expect("it binds"));
        sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 1).expect("the least buffer");
        for _ in 0..20 {
            datagram(&a, to, None);
        }
        let event = drop_in(&agent, &b, "SOCKET_RCVBUFF", 4007);
        expect(&event, &[("class", "loss".into()), ("proto", "udp".into()), ("direction", "in".into())]);
        expect(&event, &[("lport", 4007.into())]);
        if reason::names_receivers() {
            expect(&event, &[("owner_source", "fd".into())]);
            is_ours(&event);
        } else {
            expect(&event, &[("owner_source", "unknown".into()), ("owner", Value::Null)]);
        }
        drop(socket);
    }
}

#[test]
fn a_neighbour_that_does_not_answer() {
    let (a, _b) = Netns::pair();
    for (key, value) in [("mcast_solicit", "1"), ("retrans_time_ms", "20")] {
        a.sysctl(&format!("net/ipv4/neigh/wire/{key}"), value);
        a.sysctl(&format!("net/ipv6/neigh/wire/{key}"), value);
    }
    // The kernel gives a reason for IPv4 only (ndisc_error_report has none).
    for (to, reason) in [("10.7.0.77:4009", "NEIGH_FAILED"), ("[fd07::77]:4009", "NOT_SPECIFIED")] {
        let to = address(to);
        let agent = Agent::live(&["--event", "drop"]);
        let socket = a.within(|| UdpSocket::bind(if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).expect("it binds"));
        socket.send_to(b"x", to).expect("it is sent");
        let event = drop_in(&agent, &a, reason, 4009);
        symbol_is(&event, &["neigh_invalidate"]);
        expect(&event, &[("class", "loss".into()), ("direction", "out".into()), ("iface", "wire".into())]);
        is_ours(&event);
    }
}
