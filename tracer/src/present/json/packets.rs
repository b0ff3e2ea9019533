//! The keys of events of packets.

use super::{address, list, name, number, optional, optional_string, string};
use crate::stream::{self, Drop, Hint, PacketEnds, Segment, Stack, TcpState};

/// Appends the TCP flags as tcpdump writes them: `S`, `S.`, `P.`, `F.`, `R`.
pub fn push_tcp_flags(out: &mut Vec<u8>, flags: u8) {
    let before = out.len();
    for (bit, letter) in [(2, b'S'), (1, b'F'), (4, b'R'), (8, b'P'), (32, b'U'), (64, b'E'), (128, b'W'), (16, b'.')] {
        if flags & bit != 0 {
            out.push(letter);
        }
    }
    if out.len() == before {
        out.extend_from_slice(b"none");
    }
}

pub fn write_drop(out: &mut Vec<u8>, drop: &Drop) {
    out.extend_from_slice(b",\"reason\":");
    optional_string(out, drop.reason.as_deref());
    optional(out, b",\"reason_id\":", drop.reason_id);
    name(out, b",\"class\":\"", drop.class.name());
    out.extend_from_slice(b",\"location\":");
    match drop.location {
        Some(at) => string(out, &format!("{at:#x}")),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"symbol\":");
    optional_string(out, drop.symbol.as_deref());
    out.extend_from_slice(b",\"iface\":");
    optional_string(out, drop.iface.as_deref());
    out.extend_from_slice(b",\"direction\":");
    optional_string(out, stream::direction(drop.direction));
    if drop.socket_netns.is_some() {
        optional(out, b",\"socket_netns\":", drop.socket_netns);
    }
    optional(out, b",\"len\":", Some(drop.len));
    out.extend_from_slice(b",\"protocol\":");
    optional_string(out, drop.protocol);
    if let Some(ends) = &drop.ends {
        out.push(b',');
        write_ends(out, ends);
    }
    if let Some(flags) = drop.tcp_flags {
        out.extend_from_slice(b",\"tcp_flags\":\"");
        push_tcp_flags(out, flags);
        out.push(b'"');
        optional(out, b",\"seq\":", drop.seq);
    }
    if let Some((kind, code)) = drop.icmp {
        optional(out, b",\"icmp_type\":", Some(kind));
        optional(out, b",\"icmp_code\":", Some(code));
    }
    if let Some((protocol, ends)) = &drop.about {
        name(out, b",\"about\":{\"protocol\":\"", protocol);
        out.push(b',');
        write_ends(out, ends);
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
    write_stack(out, &drop.stack);
    if let Some(hint) = &drop.hint {
        write_hint(out, hint);
    }
}

/// Appends the stack, if the user asked for it.
pub fn write_stack(out: &mut Vec<u8>, stack: &Stack) {
    match stack {
        Stack::NotAsked => {}
        Stack::Missing => out.extend_from_slice(b",\"stack\":null"),
        Stack::Known(frames) => {
            out.extend_from_slice(b",\"stack\":");
            list(out, frames, |out, frame| string(out, frame));
        }
    }
}

fn write_hint(out: &mut Vec<u8>, hint: &Hint) {
    out.extend_from_slice(b",\"hint\":");
    string(out, &hint.text);
    if let Some(nft) = &hint.nft {
        name(out, b",\"nft\":{\"family\":\"", nft.family);
        out.extend_from_slice(b",\"table\":");
        string(out, &nft.table);
        out.extend_from_slice(b",\"chain\":");
        string(out, &nft.chain);
        optional(out, b",\"handle\":", nft.handle);
        if let Some(rule) = &nft.rule {
            out.extend_from_slice(b",\"rule\":");
            string(out, rule);
        }
        out.push(b'}');
    }
    if let Some(qdisc) = &hint.qdisc {
        out.extend_from_slice(b",\"qdisc\":{\"kind\":");
        string(out, &qdisc.kind);
        out.extend_from_slice(b",\"handle\":");
        string(out, &qdisc.handle);
        out.push(b'}');
    }
}

/// Appends the packet's own ends, whichever of them is local.
pub fn write_ends(out: &mut Vec<u8>, ends: &PacketEnds) {
    address(out, b"\"saddr\":", Some(ends.saddr));
    optional(out, b",\"sport\":", ends.sport);
    address(out, b",\"daddr\":", Some(ends.daddr));
    optional(out, b",\"dport\":", ends.dport);
}

pub fn write_retransmit(out: &mut Vec<u8>, state: Option<TcpState>, what: Segment, seq: Option<u32>) {
    out.extend_from_slice(b",\"state\":");
    optional_string(out, state.map(TcpState::name));
    name(out, b",\"what\":\"", what.name());
    optional(out, b",\"seq\":", seq);
}

pub fn write_reset(out: &mut Vec<u8>, received: bool, reason: Option<&str>) {
    name(out, b",\"direction\":\"", if received { "received" } else { "sent" });
    out.extend_from_slice(b",\"reason\":");
    optional_string(out, reason);
}
