//! Malformed packets of every kind, dropped: each counts once, and its event has nothing that is not in the packet.

use std::collections::BTreeSet;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::frame::{Frames, IPV4, IPV6, extension, ipv4, ipv6, tcp};
use tracer_tests::netns::Netns;
use tracer_tests::scale;
use tracer_tests::tracepoint::Hits;
use tracer_tests::traffic::sys::until;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const NOTHING: u8 = 59;

/// A wire; a rule at its other end drops all IP packets on arrival.
struct Sink {
    /// Keeps the wire.
    _from: Netns,
    to: Netns,
    frames: Frames,
    agent: Agent,
}

/// The number of dropped packets in the namespace with this inode. The kernel side leaves out drops in other
/// namespaces, except of packets that sockets of this one send (IPv6 by itself); mixed drops have no namespace.
fn packets(events: &[Value], netns: u64) -> u64 {
    let elsewhere = |event: &Value| !event["netns"].is_null() && event["netns"] != netns;
    let of = |event: &&Value| event["event"] == "drop" && !elsewhere(event);
    let lost = |event: &&Value| event["event"] == "lost" && event["class"] == "drop";
    let told: u64 = events.iter().filter(of).map(|event| event["count"].as_u64().unwrap_or(1)).sum();
    told + events.iter().filter(lost).filter_map(|event| event["count"].as_u64()).sum::<u64>()
}

impl Sink {
    fn new() -> Self {
        let (from, to) = Netns::pair();
        // The device sends nothing by itself: all packets are the test's.
        from.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        to.nft(
            "table inet test {\nchain everything {\ntype filter hook prerouting priority -500; policy drop;\n}\n}\n",
        );
        let frames = Frames::open(&from, &to, "wire");
        let agent = Agent::live(&["--event", "drop", "--netns", &to.inode().to_string()]);
        Self { _from: from, to, frames, agent }
    }

    /// Waits until the events have `count` dropped packets in all.
    fn await_packets(&self, count: u64) {
        let mut told = 0;
        let settled = self.agent.settles(|events| {
            told = packets(events, self.to.inode());
            told >= count
        });
        assert!(settled, "{told} of {count} packets have events: {}", self.agent.log());
    }

    /// Ends the trace with `count` packets in all; returns their events.
    fn end(self, count: u64) -> Vec<Value> {
        self.await_packets(count);
        let netns = self.to.inode();
        let ended = self.agent.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_eq!(packets(&ended.stream.events, netns), count, "{}", ended.stream.summary());
        assert_eq!(ended.stream.summary()["lost"]["undecoded"], Value::Null);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        ended.stream.of_netns(netns).filter(|event| event["event"] == "drop").cloned().collect()
    }
}

/// Packets with ports, wrapped in different ways.
fn with_ports(sport: u16) -> Vec<(&'static str, u16, Vec<u8>)> {
    let n = |i: u16| tcp(sport, 2000 + i);
    let v6 = |headers: &[Vec<u8>], first: u8, i: u16| ipv6(first, &[headers.concat(), n(i)].concat());
    let mut overlong = tcp(sport, 2008);
    overlong[12] = 0xf0;
    let mut no_offset = tcp(sport, 2009);
    no_offset[12] = 0;
    vec![
        ("plain", IPV4, ipv4(TCP, 0, &[], &n(0))),
        ("options", IPV4, ipv4(TCP, 0, &[1; 40], &n(1))),
        ("options that end early", IPV4, ipv4(TCP, 0, &[7, 39, 4, 0, 0, 0, 0, 0], &n(2))),
        ("don't fragment", IPV4, ipv4(TCP, 0x4000, &[], &n(3))),
        ("first fragment", IPV4, ipv4(TCP, 0x2000, &[], &n(4))),
        ("v6", IPV6, v6(&[], TCP, 5)),
        ("v6 hop by hop", IPV6, v6(&[extension(TCP, 0)], HOP_BY_HOP, 6)),
        ("v6 chain", IPV6, v6(&[extension(DESTINATION, 1), extension(ROUTING, 0), extension(TCP, 2)], HOP_BY_HOP, 7)),
        ("TCP offset too large", IPV4, ipv4(TCP, 0, &[], &overlong)),
        ("TCP offset too small", IPV4, ipv4(TCP, 0, &[], &no_offset)),
    ]
}

/// Packets without ports, or without ports in the right place.
fn without_ports() -> Vec<(&'static str, u16, Vec<u8>)> {
    let header = tcp(7777, 7777);
    let cut = |packet: Vec<u8>, len: usize| packet[..len].to_vec();
    let whole = || ipv4(TCP, 0, &[], &tcp(7777, 7777));
    let changed = |at: usize, byte: u8| {
        let mut packet = whole();
        packet[at] = byte;
        packet
    };
    let long_chain = ipv6(DESTINATION, &[extension(DESTINATION, 0).repeat(30), header.clone()].concat());
    vec![
        ("nothing", IPV4, Vec::new()),
        ("one byte", IPV4, vec![0x45]),
        ("half a header", IPV4, cut(whole(), 10)),
        ("a header less one", IPV4, cut(whole(), 19)),
        ("only a header", IPV4, ipv4(TCP, 0, &[], &[])),
        ("three bytes of TCP", IPV4, ipv4(TCP, 0, &[], &header[..3])),
        ("version 6 in IPv4", IPV4, changed(0, 0x65)),
        ("version 0", IPV4, changed(0, 0x05)),
        ("header too short", IPV4, changed(0, 0x44)),
        ("no header length", IPV4, changed(0, 0x40)),
        ("options beyond the end", IPV4, cut(ipv4(TCP, 0, &[1; 40], &[]), 24)),
        ("later fragment", IPV4, ipv4(TCP, 100, &[], &header)),
        ("fragment beyond the end", IPV4, ipv4(TCP, 0x1fff, &[], &header)),
        ("ICMP without a header", IPV4, ipv4(ICMP, 0, &[], &[])),
        ("ICMP about nothing", IPV4, ipv4(ICMP, 0, &[], &[3, 1, 0, 0, 0, 0, 0, 0])),
        ("ICMP about a piece", IPV4, ipv4(ICMP, 0, &[], &[&[3, 1, 0, 0, 0, 0, 0, 0][..], &whole()[..13]].concat())),
        ("protocol 255", IPV4, ipv4(255, 0, &[], &header)),
        ("v6 nothing", IPV6, Vec::new()),
        ("v6 half a header", IPV6, cut(ipv6(TCP, &header), 20)),
        ("v6 only a header", IPV6, ipv6(TCP, &[])),
        ("v6 no next header", IPV6, ipv6(NOTHING, &header)),
        ("v6 version 4", IPV6, whole()),
        ("v6 a piece of an extension", IPV6, ipv6(HOP_BY_HOP, &[TCP])),
        ("v6 extension beyond the end", IPV6, ipv6(DESTINATION, &[&[TCP, 255][..], &[0; 30]].concat())),
        ("v6 too many extensions", IPV6, long_chain),
        ("v6 hop by hop without end", IPV6, ipv6(HOP_BY_HOP, &extension(HOP_BY_HOP, 0).repeat(20))),
        ("v6 later fragment", IPV6, ipv6(FRAGMENT, &[&[TCP, 0, 0, 80, 0, 0, 0, 1][..], &header].concat())),
        ("v6 ICMP about nothing", IPV6, ipv6(ICMPV6, &[1, 4, 0, 0, 0, 0, 0, 0])),
        ("no such protocol", 0x88b5, vec![0xff; 60]),
    ]
}

#[test]
fn each_is_told_once_and_says_what_is_in_it() {
    let sink = Sink::new();
    let mut sent = 0;
    for (name, ethertype, packet) in with_ports(1111) {
        assert!(sink.frames.send(ethertype, &packet), "{name} is sent");
        sent += 1;
        sink.await_packets(sent);
    }
    for (name, ethertype, packet) in without_ports() {
        if sink.frames.send(ethertype, &packet) {
            sent += 1;
        } else {
            println!("{name} is not sent");
        }
        sink.await_packets(sent);
    }
    let events = sink.end(sent);
    let ports: BTreeSet<u64> =
        events.iter().filter(|e| e["sport"] == 1111).filter_map(|event| event["dport"].as_u64()).collect();
    assert_eq!(ports, (2000..2010).collect(), "{events:#?}");
    for event in &events {
        let known = event["sport"] == 1111 || event["sport"].is_null() && event["dport"].is_null();
        assert!(known, "ports that no packet has: {event}");
        let addresses = [&event["saddr"], &event["daddr"]].map(|addr| addr.as_str().unwrap_or("none"));
        let real = [["10.7.0.1", "10.7.0.2"], ["fd07::1", "fd07::2"], ["none", "none"]];
        assert!(real.contains(&addresses), "{event}");
        assert_eq!(event["iface"], "wire", "{event}");
    }
}

/// The same packets, with random bytes changed and ends cut off.
#[test]
fn at_random_all_are_counted() {
    alone();
    let sink = Sink::new();
    let whole = [with_ports(1111), without_ports(), vec![("UDP", IPV4, ipv4(UDP, 0, &[], &[0; 8]))]].concat();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let hits = Hits::of("skb", "kfree_skb");
    let (before, mut sent) = (hits.count(), 0);
    for _ in 0..scale::load(20_000, 1000) {
        let (_, ethertype, mut packet) = whole[random(whole.len())].clone();
        for _ in 0..random(4) {
            if !packet.is_empty() {
                let at = random(packet.len());
                packet[at] = random(256) as u8;
            }
        }
        packet.truncate(random(2 * packet.len() + 1));
        sent += u64::from(sink.frames.send(ethertype, &packet));
    }
    // The kernel may hide drops on top of some tasks from all tracing (KNOWN_ISSUES.md): a few.
    let least = sent - sent / 50;
    assert_eq!(until(|| Ok(hits.count() - before >= least)), Ok(()), "{} of {sent}", hits.count() - before);
    let dropped = hits.count() - before;
    let ended = sink.agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let summary = ended.stream.summary();
    assert_eq!(summary["lost"]["undecoded"], Value::Null, "{summary}");
    let programs = summary["cost"]["programs"].as_array().into_iter().flatten();
    let of_drops = programs.filter(|program| program["name"].as_str().is_some_and(|name| name.contains("kfree")));
    let missed: u64 = of_drops.filter_map(|program| program["missed"].as_u64()).sum();
    let told = packets(&ended.stream.events, sink.to.inode());
    println!("{sent} packets, {dropped} dropped, {told} told, {missed} missed");
    // The host drops packets of its own meanwhile. Mixed drops may include them.
    assert!((sent.min(dropped)..=dropped).contains(&(told + missed)), "{told} and {missed} of {dropped}: {summary}");
}
