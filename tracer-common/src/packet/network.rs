//! VLAN tags, IPv4 and IPv6.

use super::{FRAGMENT, Flow, LATER_FRAGMENT, Packet, TRUNCATED, Window, has};

/// Ethertype of IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;
/// Ethertype of 802.1Q.
const ETH_P_8021Q: u16 = 0x8100;
/// Ethertype of 802.1ad.
const ETH_P_8021AD: u16 = 0x88a8;

/// VLAN tags that the parser follows.
const TAGS: usize = 2;
/// Extension headers that the parser follows.
const EXTENSIONS: usize = 4;

const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const FRAGMENT_HEADER: u32 = 44;
const AUTHENTICATION: u32 = 51;
const DESTINATION: u32 = 60;

/// Skips the tags; returns the word at which the network header starts.
#[inline(always)]
pub fn tags(window: &mut Window, have: u32, ethertype: u16, packet: &mut Packet) -> u32 {
    let (mut at, mut ethertype) = (0, ethertype);
    for _ in 0..TAGS {
        if (ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD) || !has(have, at, 4) {
            break;
        }
        let tag = window.word(at, 0);
        if at == 0 {
            packet.vlan = (tag >> 16) as u16 & 0xfff;
        }
        ethertype = tag as u16;
        at += 1;
    }
    packet.ethertype = ethertype;
    window.go_to(at)
}

/// Reads the network header at word `at`; returns the word behind it, `None` if there is no transport header.
#[inline(always)]
pub fn outer(window: &mut Window, have: u32, at: u32, packet: &mut Packet) -> Option<u32> {
    let version = window.word(at, 0) >> 28;
    match packet.ethertype {
        ETH_P_IP if version == 4 => {
            packet.ttl = if has(have, at, 20) { (window.word(at, 2) >> 24) as u8 } else { 0 };
            ipv4(window, have, at, &mut packet.flow)
        }
        ETH_P_IPV6 if version == 6 => {
            packet.ttl = if has(have, at, 40) { window.word(at, 1) as u8 } else { 0 };
            ipv6(window, have, at, &mut packet.flow, EXTENSIONS)
        }
        _ => None,
    }
}

/// Reads the header of a quoted packet. Follows only its first extension header.
#[inline(always)]
pub fn inner(window: &mut Window, have: u32, at: u32, v6: bool, flow: &mut Flow) -> Option<u32> {
    let version = window.word(at, 0) >> 28;
    match (v6, version) {
        (false, 4) => ipv4(window, have, at, flow),
        (true, 6) => ipv6(window, have, at, flow, 1),
        _ => None,
    }
}

/// Reads an IPv4 header (RFC 791).
#[inline(always)]
fn ipv4(window: &mut Window, have: u32, at: u32, flow: &mut Flow) -> Option<u32> {
    let first = window.word(at, 0);
    let length = first >> 24 & 15;
    if length < 5 || !has(have, at, 20) {
        return None;
    }
    let fragment = window.word(at, 1);
    flow.family = 4;
    flow.protocol = (window.word(at, 2) >> 16) as u8;
    flow.src = [window.raw(at, 3), 0, 0, 0];
    flow.dst = [window.raw(at, 4), 0, 0, 0];
    // More fragments, or an offset.
    if fragment & 0x3fff != 0 {
        flow.flags |= FRAGMENT;
    }
    if fragment & 0x1fff != 0 {
        flow.flags |= LATER_FRAGMENT;
        return None;
    }
    Some(window.go_to(at + length))
}

/// Reads an IPv6 header and its extension headers (RFC 8200).
#[inline(always)]
fn ipv6(window: &mut Window, have: u32, at: u32, flow: &mut Flow, extensions: usize) -> Option<u32> {
    if !has(have, at, 40) {
        return None;
    }
    flow.family = 6;
    flow.src = [window.raw(at, 2), window.raw(at, 3), window.raw(at, 4), window.raw(at, 5)];
    flow.dst = [window.raw(at, 6), window.raw(at, 7), window.raw(at, 8), window.raw(at, 9)];
    let mut next = window.word(at, 1) >> 8 & 0xff;
    let mut at = window.go_to(at + 10);
    for _ in 0..extensions {
        if !is_extension(next) {
            break;
        }
        flow.protocol = next as u8;
        if !has(have, at, 8) {
            flow.flags |= TRUNCATED;
            return None;
        }
        let head = window.word(at, 0);
        let length = head >> 16 & 0xff;
        let behind = if next == FRAGMENT_HEADER {
            // An atomic fragment (RFC 6946) is a whole packet.
            if head & 0xfff9 != 0 {
                flow.flags |= FRAGMENT;
            }
            if head & 0xfff8 != 0 {
                flow.flags |= LATER_FRAGMENT;
                flow.protocol = (head >> 24) as u8;
                return None;
            }
            at + 2
        } else if next == AUTHENTICATION {
            at + length + 2
        } else {
            at + (length + 1) * 2
        };
        at = window.go_to(behind);
        next = head >> 24;
    }
    flow.protocol = next as u8;
    if is_extension(next) {
        flow.flags |= TRUNCATED;
        return None;
    }
    Some(at)
}

#[inline(always)]
fn is_extension(next: u32) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT_HEADER | AUTHENTICATION | DESTINATION)
}
