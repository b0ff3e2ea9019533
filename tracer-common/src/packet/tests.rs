//! Compares the parser with `etherparse` on valid packets of every shape that it follows, and tests its
//! bounds on arbitrary bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

extern crate std;

use std::{vec, vec::Vec};

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, LaxSlicedPacket,
    TcpHeader, UdpHeader, ether_type, icmpv4, icmpv6,
};

use super::{
    FRAGMENT, Flow, HAS_PORTS, LATER_FRAGMENT, Packet, TRUNCATED, WINDOW_BYTES, Window, network, parse, parse_tcp,
};

/// Inputs of the property tests; `TRACER_FUZZ` sets another number.
const INPUTS: u64 = 200_000;

fn inputs() -> u64 {
    std::env::var("TRACER_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(INPUTS)
}

/// SplitMix64: the same inputs in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

fn parsed(bytes: &[u8], ethertype: u16) -> Packet {
    let mut window = Window::EMPTY;
    let have = window.fill(bytes);
    let mut packet = Packet::default();
    parse(&mut window, have, ethertype, &mut packet);
    packet
}

fn words(bytes: &[u8]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(4)) {
        *word = u32::from_ne_bytes(chunk.try_into().unwrap());
    }
    words
}

/// Returns a transport header and the bytes behind it.
fn transport(dice: &mut Dice, v6: bool, depth: u32) -> (IpNumber, Vec<u8>) {
    let mut out = Vec::new();
    let number = match dice.below(if depth > 0 { 4 } else { 6 }) {
        0 | 1 => {
            let mut tcp = TcpHeader::new(dice.next() as u16, dice.next() as u16, dice.next() as u32, 1000);
            let flags = dice.next();
            (tcp.syn, tcp.ack, tcp.fin, tcp.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 8 != 0);
            (tcp.psh, tcp.urg, tcp.ece, tcp.cwr) =
                (flags & 16 != 0, flags & 32 != 0, flags & 64 != 0, flags & 128 != 0);
            tcp.write(&mut out).unwrap();
            IpNumber::TCP
        }
        2 | 3 => {
            UdpHeader { source_port: dice.next() as u16, destination_port: dice.next() as u16, length: 8, checksum: 0 }
                .write(&mut out)
                .unwrap();
            IpNumber::UDP
        }
        _ if v6 => {
            out.extend([[1, 2, 3, 4, 128, 129, 135][dice.below(7)], dice.below(7) as u8]);
            out.extend(dice.array::<6>());
            out.extend(network_packet(dice, true, depth + 1));
            IpNumber::IPV6_ICMP
        }
        _ => {
            out.extend([[0, 3, 4, 5, 8, 11, 12][dice.below(7)], dice.below(16) as u8]);
            out.extend(dice.array::<6>());
            out.extend(network_packet(dice, false, depth + 1));
            IpNumber::ICMP
        }
    };
    (number, out)
}

/// Returns a whole packet, with options, extension headers or fragments.
fn network_packet(dice: &mut Dice, v6: bool, depth: u32) -> Vec<u8> {
    let (mut number, mut payload) = transport(dice, v6, depth);
    let mut out = Vec::new();
    if !v6 {
        let mut options = vec![0; dice.below(11) * 4];
        dice.fill(&mut options);
        let mut ip =
            Ipv4Header::new(payload.len() as u16, 1 + dice.below(255) as u8, number, dice.array(), dice.array())
                .unwrap();
        ip.options = Ipv4Options::try_from(&options[..]).unwrap();
        if dice.below(4) == 0 {
            ip.more_fragments = dice.below(2) == 0;
            ip.fragment_offset = IpFragOffset::try_new((dice.below(3) * 100) as u16).unwrap();
        }
        ip.set_payload_len(payload.len()).unwrap();
        ip.write(&mut out).unwrap();
    } else {
        // The parser follows only the first extension header of a quoted packet.
        for _ in 0..dice.below(if depth > 0 { 2 } else { 4 }) {
            let mut extension = vec![number.0];
            number = match dice.below(5) {
                0 => {
                    let more = dice.below(2) == 0;
                    let fragment = Ipv6FragmentHeader::new(
                        number,
                        IpFragOffset::try_new((dice.below(3) * 100) as u16).unwrap(),
                        more,
                        dice.next() as u32,
                    );
                    extension.clear();
                    fragment.write(&mut extension).unwrap();
                    IpNumber::IPV6_FRAGMENTATION_HEADER
                }
                1 => {
                    extension.extend([1 + 2 * dice.below(2) as u8, 0, 0]);
                    let length = (usize::from(extension[1]) + 2) * 4;
                    extension.resize(length, 7);
                    IpNumber::AUTHENTICATION_HEADER
                }
                n => {
                    extension.push(dice.below(2) as u8);
                    let length = (usize::from(extension[1]) + 1) * 8;
                    extension.resize(length, 0);
                    [
                        IpNumber::IPV6_DESTINATION_OPTIONS,
                        IpNumber::IPV6_ROUTE_HEADER,
                        IpNumber::IPV6_DESTINATION_OPTIONS,
                    ][n - 2]
                }
            };
            extension.extend(payload);
            payload = extension;
        }
        Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::try_new(dice.next() as u32 & 0xf_ffff).unwrap(),
            payload_length: payload.len() as u16,
            next_header: number,
            hop_limit: 1 + dice.below(255) as u8,
            source: dice.array(),
            destination: dice.array(),
        }
        .write(&mut out)
        .unwrap();
    }
    out.extend(payload);
    out
}

/// Returns the addresses and ports that etherparse finds in `bytes`.
fn reference<'a>(bytes: &[u8], whole: &'a [u8]) -> (Flow, LaxSlicedPacket<'a>) {
    let mut flow = Flow::default();
    match LaxSlicedPacket::from_ip(bytes).unwrap().net.as_ref().unwrap() {
        etherparse::LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            flow.family = 4;
            flow.src = words(&header.source());
            flow.dst = words(&header.destination());
            flow.protocol = header.protocol().0;
            if header.is_fragmenting_payload() {
                flow.flags |= FRAGMENT;
            }
            if header.fragments_offset().value() > 0 {
                flow.flags |= LATER_FRAGMENT;
            }
        }
        etherparse::LaxNetSlice::Ipv6(ip) => {
            flow.family = 6;
            flow.src = words(&ip.header().source());
            flow.dst = words(&ip.header().destination());
            flow.protocol = ip.payload().ip_number.0;
            for extension in ip.extensions().clone() {
                if let etherparse::Ipv6ExtensionSlice::Fragment(fragment) = extension {
                    if fragment.is_fragmenting_payload() {
                        flow.flags |= FRAGMENT;
                    }
                    if fragment.fragment_offset().value() > 0 {
                        flow.flags |= LATER_FRAGMENT;
                    }
                }
            }
        }
        etherparse::LaxNetSlice::Arp(_) => {}
    }
    if flow.family == 6 && flow.flags & LATER_FRAGMENT == 0 {
        let etherparse::LaxNetSlice::Ipv6(ip) = LaxSlicedPacket::from_ip(whole).unwrap().net.unwrap() else { panic!() };
        flow.protocol = ip.payload().ip_number.0;
    }
    // A later fragment has no further header (RFC 8200, 4.5), though etherparse reads on.
    if flow.family == 6 && flow.flags & LATER_FRAGMENT != 0 {
        flow.protocol = announced(bytes);
    }
    let sliced = LaxSlicedPacket::from_ip(whole).unwrap();
    let ports = match &sliced.transport {
        Some(etherparse::TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
        Some(etherparse::TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
        _ => None,
    };
    if let Some((source, destination)) = ports {
        (flow.sport, flow.dport) = (source, destination);
        flow.flags |= HAS_PORTS;
    }
    (flow, sliced)
}

/// Returns the packet without its fragmentation: etherparse does not read on in a first fragment,
/// though the headers are there.
fn whole(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[6] &= !0x20;
        return bytes;
    }
    let (mut next, mut at) = (bytes[6], 40);
    while matches!(next, 0 | 43 | 44 | 51 | 60) && at + 4 <= bytes.len() {
        let (after, length) = (bytes[at], usize::from(bytes[at + 1]));
        at += match next {
            44 => {
                bytes[at + 3] &= !1;
                8
            }
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        next = after;
    }
    bytes
}

/// Returns the protocol that the first fragment header with an offset announces.
fn announced(bytes: &[u8]) -> u8 {
    let (mut next, mut at) = (bytes[6], 40);
    loop {
        let (after, length) = (bytes[at], usize::from(bytes[at + 1]));
        if next == 44 && u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]) >> 3 != 0 {
            return after;
        }
        at += match next {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        next = after;
    }
}

#[test]
fn valid_packets_are_what_etherparse_says() {
    let mut dice = Dice(1);
    let (mut with_ports, mut fragments, mut errors) = (0, 0, 0);
    for _ in 0..inputs() {
        let v6 = dice.below(2) == 0;
        let bytes = network_packet(&mut dice, v6, 0);
        let packet = parsed(&bytes, if v6 { network::ETH_P_IPV6 } else { network::ETH_P_IP });
        let whole = whole(&bytes);
        let (flow, sliced) = reference(&bytes, &whole);
        // The parser knows nothing of bytes behind the window.
        if packet.flow.flags & TRUNCATED != 0 {
            assert!(bytes.len() > WINDOW_BYTES || flow.flags & HAS_PORTS == 0, "{bytes:?}");
            continue;
        }
        assert_eq!(packet.flow, flow, "{bytes:?}");
        with_ports += u32::from(flow.flags & HAS_PORTS != 0);
        fragments += u32::from(flow.flags & FRAGMENT != 0);
        match &sliced.transport {
            Some(etherparse::TransportSlice::Tcp(tcp)) => {
                assert_eq!(packet.seq, tcp.sequence_number());
                assert_eq!(packet.tcp_flags, tcp.slice()[13]);
            }
            Some(etherparse::TransportSlice::Icmpv4(icmp)) => {
                assert_eq!((packet.icmp_type, packet.icmp_code), (icmp.type_u8(), icmp.code_u8()));
                let error = matches!(
                    icmp.type_u8(),
                    icmpv4::TYPE_DEST_UNREACH
                        | icmpv4::TYPE_SOURCE_QUENCH
                        | icmpv4::TYPE_REDIRECT
                        | icmpv4::TYPE_TIME_EXCEEDED
                        | icmpv4::TYPE_PARAMETER_PROBLEM
                );
                errors += inner(&packet, &icmp.slice()[8..], error);
            }
            Some(etherparse::TransportSlice::Icmpv6(icmp)) => {
                assert_eq!((packet.icmp_type, packet.icmp_code), (icmp.type_u8(), icmp.code_u8()));
                let error = matches!(
                    icmp.type_u8(),
                    icmpv6::TYPE_DST_UNREACH
                        | icmpv6::TYPE_PACKET_TOO_BIG
                        | icmpv6::TYPE_TIME_EXCEEDED
                        | icmpv6::TYPE_PARAMETER_PROBLEM
                );
                errors += inner(&packet, &icmp.slice()[8..], error);
            }
            _ => {}
        }
    }
    assert!(with_ports > 0 && fragments > 0 && errors > 0, "{with_ports} {fragments} {errors}");
}

/// Compares the quoted packet; returns 1 if there was one.
fn inner(packet: &Packet, quoted: &[u8], error: bool) -> u32 {
    if !error {
        assert_eq!(packet.inner, Flow::default());
        return 0;
    }
    if packet.inner.family == 0 || packet.inner.flags & TRUNCATED != 0 {
        return 0;
    }
    assert_eq!(packet.inner, reference(quoted, &whole(quoted)).0, "{quoted:?}");
    1
}

#[test]
fn any_bytes_of_any_length_are_survived() {
    let mut dice = Dice(2);
    for _ in 0..inputs() {
        let mut bytes = [0_u8; WINDOW_BYTES + 8];
        let length = dice.below(bytes.len() as u64);
        dice.fill(&mut bytes);
        // Half of them begin well.
        if dice.below(2) == 0 {
            let packet = network_packet(&mut dice, length.is_multiple_of(2), 0);
            let kept = packet.len().min(bytes.len());
            bytes[..kept].copy_from_slice(&packet[..kept]);
            // One of their bytes is wrong.
            bytes[dice.below(kept as u64)] = dice.next() as u8;
        }
        let ethertype = [0x0800, 0x86dd, 0x8100, 0x88a8, dice.next() as u16][dice.below(5)];
        let packet = parsed(&bytes[..length], ethertype);
        // The parser ignores the bytes behind the end: other bytes there give the same packet.
        let mut window = Window::EMPTY;
        let have = window.fill(&bytes[..length]);
        let mut other = window;
        let whole = (have as usize).div_ceil(4);
        for word in &mut other.words[whole..] {
            *word = dice.next() as u32;
        }
        let mut again = Packet::default();
        parse(&mut other, have, ethertype, &mut again);
        assert_eq!(packet, again, "{length} {ethertype:#x} {bytes:?}");
        let mut tcp = Packet::default();
        parse_tcp(&mut other, have, &mut tcp);
        assert_eq!(tcp.flow.flags & TRUNCATED != 0, have < 16);
        if packet.flow.flags & HAS_PORTS != 0 {
            assert!(packet.flow.family != 0 && have >= 24);
        }
    }
}

#[test]
fn tags_are_taken_off() {
    let mut dice = Dice(3);
    for ethertype in [ether_type::VLAN_TAGGED_FRAME.0, ether_type::PROVIDER_BRIDGING.0] {
        let packet = network_packet(&mut dice, false, 1);
        let mut tagged = vec![0x20, 42, 0x81, 0x00, 0x00, 7, 0x08, 0x00];
        tagged.extend(&packet);
        let both = parsed(&tagged, ethertype);
        assert_eq!((both.vlan, both.ethertype), (42, 0x0800));
        assert_eq!(both.flow, parsed(&packet, 0x0800).flow);
        let three = [&[0, 1, 0x81, 0][..], &tagged].concat();
        assert_eq!(parsed(&three, ethertype).flow.family, 0, "two are followed");
    }
}
