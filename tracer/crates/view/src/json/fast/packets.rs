//! The keys of packets' events: a flood has tens of thousands of them a second.

use std::io::Write as _;

use super::{address, name, number, optional, terminal, text};
use tracer_stream::{Drop, PacketEnds, Segment, Stack, TcpFlags, TcpState, direction};

/// Appends the keys of a `drop`.
pub fn drop(out: &mut Vec<u8>, drop: &Drop) {
    text(out, b",\"reason\":", drop.reason.as_deref());
    optional(out, b",\"reason_id\":", drop.reason_id);
    name(out, b",\"class\":\"", drop.class.name());
    out.extend_from_slice(b",\"location\":");
    match drop.location {
        Some(at) => location(out, at),
        None => out.extend_from_slice(b"null"),
    }
    text(out, b",\"symbol\":", drop.symbol.as_deref());
    text(out, b",\"iface\":", drop.iface.as_deref());
    text(out, b",\"direction\":", direction(drop.direction));
    if drop.socket_netns.is_some() {
        optional(out, b",\"socket_netns\":", drop.socket_netns);
    }
    optional(out, b",\"len\":", Some(drop.len));
    text(out, b",\"protocol\":", drop.protocol);
    if let Some(of_packet) = &drop.ends {
        out.push(b',');
        ends(out, of_packet);
    }
    if let Some(flags) = drop.tcp_flags {
        out.extend_from_slice(b",\"tcp_flags\":\"");
        // Writing to a Vec does not fail.
        let _ = write!(out, "{}", TcpFlags(flags));
        out.push(b'"');
        optional(out, b",\"seq\":", drop.seq);
    }
    if let Some((kind, code)) = drop.icmp {
        optional(out, b",\"icmp_type\":", Some(kind));
        optional(out, b",\"icmp_code\":", Some(code));
    }
    if let Some((protocol, of_packet)) = &drop.about {
        name(out, b",\"about\":{\"protocol\":\"", protocol);
        out.push(b',');
        ends(out, of_packet);
        out.push(b'}');
    }
    if drop.fragment {
        out.extend_from_slice(b",\"fragment\":true");
    }
    if drop.count != 1 {
        out.extend_from_slice(b",\"count\":");
        number(out, drop.count);
        optional(out, b",\"first_boot_ns\":", Some(drop.first_ns));
    }
    if drop.mixed {
        out.extend_from_slice(b",\"mixed\":true");
    }
    match &drop.stack {
        Stack::NotAsked => {}
        stack => {
            out.extend_from_slice(b",\"stack\":");
            terminal::append(out, stack);
        }
    }
    if let Some(hint) = &drop.hint {
        text(out, b",\"hint\":", Some(&hint.text));
        if let Some(nft) = &hint.nft {
            out.extend_from_slice(b",\"nft\":");
            terminal::append(out, nft);
        }
        if let Some(qdisc) = &hint.qdisc {
            out.extend_from_slice(b",\"qdisc\":");
            terminal::append(out, qdisc);
        }
    }
}

/// Appends the keys of a `retransmit`.
pub fn retransmit(out: &mut Vec<u8>, state: Option<TcpState>, what: Segment, seq: Option<u32>) {
    text(out, b",\"state\":", state.map(TcpState::name));
    name(out, b",\"what\":\"", what.name());
    optional(out, b",\"seq\":", seq);
}

/// Appends the keys of a `reset`.
pub fn reset(out: &mut Vec<u8>, received: bool, reason: Option<&str>) {
    name(out, b",\"direction\":\"", if received { "received" } else { "sent" });
    text(out, b",\"reason\":", reason);
}

/// Appends the packet's own ends, whichever of them is local.
fn ends(out: &mut Vec<u8>, ends: &PacketEnds) {
    address(out, b"\"saddr\":", Some(ends.saddr));
    optional(out, b",\"sport\":", ends.sport);
    address(out, b",\"daddr\":", Some(ends.daddr));
    optional(out, b",\"dport\":", ends.dport);
}

/// Appends an address in the kernel: `"0xffffffff81234567"`.
fn location(out: &mut Vec<u8>, at: u64) {
    out.extend_from_slice(b"\"0x");
    let digits = (at | 1).ilog2() / 4 + 1;
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(at >> (4 * digit) & 15) as usize]);
    }
    out.push(b'"');
}
