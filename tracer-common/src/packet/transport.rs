//! Transport headers: ports, TCP flags, ICMP errors.

use super::{Flow, HAS_PORTS, Packet, TRUNCATED, Window, has, network};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;

/// Reads the transport header at word `at`.
#[inline(always)]
pub fn parse(window: &mut Window, have: u32, at: u32, packet: &mut Packet) {
    ports(window, have, at, &mut packet.flow);
    match packet.flow.protocol {
        TCP => tcp(window, have, at, packet),
        ICMP if packet.flow.family == 4 => icmp(window, have, at, false, packet),
        ICMPV6 if packet.flow.family == 6 => icmp(window, have, at, true, packet),
        _ => {}
    }
}

/// Reads the ports, which all these protocols have in their first word.
#[inline(always)]
fn ports(window: &mut Window, have: u32, at: u32, flow: &mut Flow) {
    if !matches!(flow.protocol, TCP | UDP | DCCP | SCTP | UDPLITE) {
        return;
    }
    if !has(have, at, 4) {
        flow.flags |= TRUNCATED;
        return;
    }
    let both = window.word(at, 0);
    flow.sport = (both >> 16) as u16;
    flow.dport = both as u16;
    flow.flags |= HAS_PORTS;
}

/// Reads a TCP header (RFC 9293).
#[inline(always)]
fn tcp(window: &mut Window, have: u32, at: u32, packet: &mut Packet) {
    if !has(have, at, 16) {
        packet.flow.flags |= TRUNCATED;
        return;
    }
    packet.seq = window.word(at, 1);
    packet.tcp_flags = (window.word(at, 3) >> 16) as u8;
}

/// Reads an ICMP header. An error quotes the packet that it is about (RFC 792, RFC 4443).
#[inline(always)]
fn icmp(window: &mut Window, have: u32, at: u32, v6: bool, packet: &mut Packet) {
    if !has(have, at, 8) {
        packet.flow.flags |= TRUNCATED;
        return;
    }
    let head = window.word(at, 0);
    packet.icmp_type = (head >> 24) as u8;
    packet.icmp_code = (head >> 16) as u8;
    let error = if v6 { matches!(packet.icmp_type, 1..=4) } else { matches!(packet.icmp_type, 3 | 4 | 5 | 11 | 12) };
    let quoted = window.go_to(at + 2);
    if error && let Some(behind) = network::inner(window, have, quoted, v6, &mut packet.inner) {
        ports(window, have, behind, &mut packet.inner);
    }
}
