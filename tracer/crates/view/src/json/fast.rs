//! The lines of a connection's life and of its packets by hand.
//!
//! A busy host has a hundred thousand of them a second, and what serde derives takes ten times as long for them: it
//! looks at every byte of every key. [`Line`](tracer_stream::Line) says what a line holds, and the tests compare both.

mod packets;

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use super::super::clock::{Rfc3339, WallClock};
use super::super::number::{append as number, append_ipv4};
use super::super::owners::Owners;
use super::terminal;
use tracer_stream::errno::{self, Errno};
use tracer_stream::{Close, ConnId, Kind, Limited, Socket};

/// Appends the beginning of every object.
pub fn head(out: &mut Vec<u8>, time: &mut Rfc3339, clock: WallClock, event: &str, boot_ns: u64) {
    out.extend_from_slice(b"{\"v\":1,\"event\":\"");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    time.write(out, clock.wall_ns(boot_ns));
    out.extend_from_slice(b"\",\"boot_ns\":");
    number(out, boot_ns);
}

/// Appends the keys of a socket with addresses.
pub fn socket(out: &mut Vec<u8>, socket: &Socket<'_>, owners: &mut Owners<Vec<u8>>) {
    if socket.conn == ConnId::NONE {
        out.extend_from_slice(b",\"conn\":null,\"proto\":\"");
    } else {
        out.extend_from_slice(b",\"conn\":\"");
        number(out, socket.conn.0);
        out.extend_from_slice(b"\",\"proto\":\"");
    }
    out.extend_from_slice(socket.proto.as_bytes());
    out.extend_from_slice(b"\",\"family\":");
    if socket.family == 0 {
        out.extend_from_slice(b"null");
    } else {
        number(out, socket.family.into());
    }
    if socket.v4mapped {
        out.extend_from_slice(b",\"v4mapped\":true");
    }
    if let Some(v6only) = socket.v6only {
        out.extend_from_slice(if v6only { b",\"v6only\":true" } else { b",\"v6only\":false" });
    }
    if socket.mptcp {
        out.extend_from_slice(b",\"mptcp\":true");
    }
    address(out, b",\"laddr\":", socket.laddr);
    optional(out, b",\"lport\":", socket.lport);
    address(out, b",\"raddr\":", socket.raddr);
    optional(out, b",\"rport\":", socket.rport);
    if socket.ifindex.is_some() {
        optional(out, b",\"ifindex\":", socket.ifindex);
    }
    ownership(out, socket, owners);
}

/// Appends namespace, role, owner and holders, which sockets of every family have.
pub fn ownership(out: &mut Vec<u8>, socket: &Socket<'_>, owners: &mut Owners<Vec<u8>>) {
    optional(out, b",\"netns\":", socket.netns);
    out.extend_from_slice(b",\"role\":\"");
    out.extend_from_slice(socket.role.name().as_bytes());
    out.extend_from_slice(b"\",\"owner\":");
    match socket.owner {
        Some(owner) => out.extend_from_slice(owners.written(owner, || {
            let mut json = Vec::new();
            terminal::append(&mut json, owner);
            json
        })),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"owner_source\":\"");
    out.extend_from_slice(socket.owner_source.name().as_bytes());
    out.push(b'"');
    if !socket.holders.is_empty() {
        out.extend_from_slice(b",\"holders\":");
        terminal::append(out, socket.holders);
    }
}

/// Appends `limited` of a `close`.
fn split(out: &mut Vec<u8>, limited: &Limited) {
    optional(out, b",\"limited\":{\"app_us\":", limited.app_us);
    optional(out, b",\"network_us\":", Some(limited.network_us));
    optional(out, b",\"peer_window_us\":", Some(limited.peer_window_us));
    optional(out, b",\"send_buffer_us\":", Some(limited.send_buffer_us));
    match limited.by {
        Some(limit) => name(out, b",\"by\":\"", limit.name()),
        None => out.extend_from_slice(b",\"by\":null"),
    }
    out.push(b'}');
}

/// Appends the keys of a `close`.
fn close(out: &mut Vec<u8>, close: &Close) {
    optional(out, b",\"duration_us\":", close.duration_us);
    optional(out, b",\"connect_us\":", close.connect_us);
    optional(out, b",\"accept_wait_us\":", close.accept_wait_us);
    optional(out, b",\"tx_bytes\":", close.tx_bytes);
    optional(out, b",\"rx_bytes\":", close.rx_bytes);
    optional(out, b",\"unacked_bytes\":", close.unacked_bytes);
    optional(out, b",\"retransmits\":", close.retransmits);
    optional(out, b",\"drops\":", close.drops);
    optional(out, b",\"srtt_us\":", close.srtt_us);
    optional(out, b",\"min_rtt_us\":", close.min_rtt_us);
    optional(out, b",\"idle_us\":", close.idle_us);
    out.extend_from_slice(match close.unanswered {
        Some(true) => b",\"unanswered\":true",
        Some(false) => b",\"unanswered\":false",
        None => b",\"unanswered\":null",
    });
    match &close.limited {
        Some(limited) => split(out, limited),
        None => out.extend_from_slice(b",\"limited\":null"),
    }
    optional(out, b",\"delivery_rate\":", close.delivery_rate);
    optional(out, b",\"retransmitted_bytes\":", close.retransmitted_bytes);
    if close.out_of_order.is_some() {
        optional(out, b",\"out_of_order\":", close.out_of_order);
    }
    if close.reordering.is_some() {
        optional(out, b",\"reordering\":", close.reordering);
    }
    if close.dsack.is_some() {
        optional(out, b",\"dsack\":", close.dsack);
    }
    name(out, b",\"verdict\":\"", close.verdict.name());
    out.extend_from_slice(b",\"errno\":");
    match close.errno.map(|errno| (errno, errno::name(errno))) {
        None => out.extend_from_slice(b"null"),
        Some((_, Some(known))) => name(out, b"\"", known),
        Some((errno, None)) => terminal::append(out, &Errno(errno)),
    }
    if let Some(owner) = &close.held_by {
        out.extend_from_slice(b",\"held_by\":");
        terminal::append(out, owner);
    }
    if let Some(icmp) = &close.icmp {
        out.extend_from_slice(b",\"icmp\":");
        terminal::append(out, icmp);
    }
    if close.syns.is_some() {
        optional(out, b",\"syns\":", close.syns);
    }
    out.extend_from_slice(if close.preexisting { b",\"preexisting\":true" } else { b",\"preexisting\":false" });
    if close.incomplete {
        out.extend_from_slice(b",\"incomplete\":true");
    }
    if close.sockmap {
        out.extend_from_slice(b",\"sockmap\":true");
    }
}

/// Appends the keys of a kind.
pub fn kind(out: &mut Vec<u8>, kind: &Kind<'_>) {
    match *kind {
        Kind::Connect { errno: None } => {}
        Kind::Established { connect_us } => optional(out, b",\"connect_us\":", connect_us),
        Kind::Accept { accept_wait_us } => optional(out, b",\"accept_wait_us\":", accept_wait_us),
        Kind::State { old, new, state_us } => {
            name(out, b",\"old\":\"", old.name());
            name(out, b",\"new\":\"", new.name());
            optional(out, b",\"state_us\":", state_us);
        }
        Kind::Close(event) => close(out, event),
        Kind::Drop(event) => packets::drop(out, event),
        Kind::Retransmit { state, what, seq } => packets::retransmit(out, state, what, seq),
        Kind::Reset { received, reason } => packets::reset(out, received, reason),
        _ => terminal::members(out, kind),
    }
}

/// Appends a value that needs no escapes; `key` ends in the opening quote.
pub fn name(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Appends text that may need escapes.
fn text(out: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    out.extend_from_slice(key);
    match value {
        None => out.extend_from_slice(b"null"),
        Some(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') => {
            name(out, b"\"", text);
        }
        Some(text) => terminal::append(out, text),
    }
}

fn optional<T: Into<u64>>(out: &mut Vec<u8>, key: &[u8], value: Option<T>) {
    out.extend_from_slice(key);
    match value {
        Some(value) => number(out, value.into()),
        None => out.extend_from_slice(b"null"),
    }
}

fn address(out: &mut Vec<u8>, key: &[u8], addr: Option<IpAddr>) {
    out.extend_from_slice(key);
    let Some(addr) = addr else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    match addr {
        IpAddr::V4(addr) => append_ipv4(out, addr),
        IpAddr::V6(addr) => ipv6(out, addr),
    }
    out.push(b'"');
}

/// Appends an address in the form of RFC 5952. The standard library takes three times as long,
/// because it formats into a buffer first, and events have two addresses.
pub(super) fn ipv6(out: &mut Vec<u8>, addr: Ipv6Addr) {
    let groups = addr.segments();
    if matches!(groups, [0, 0, 0, 0, 0, 0xffff, ..]) {
        // Writing to a Vec does not fail.
        return drop(write!(out, "{addr}"));
    }
    // RFC 5952 leaves out the first of the longest runs of two zeros or more.
    let (mut begin, mut length) = (0, 1);
    let mut run = 0;
    for (n, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > length {
            (begin, length) = (n + 1 - run, run);
        }
    }
    let (head, tail) = if length > 1 { (&groups[..begin], &groups[begin + length..]) } else { (&groups[..], &[][..]) };
    hex_groups(out, head);
    if length > 1 {
        out.extend_from_slice(b"::");
    }
    hex_groups(out, tail);
}

fn hex_groups(out: &mut Vec<u8>, groups: &[u16]) {
    for (n, group) in groups.iter().enumerate() {
        if n > 0 {
            out.push(b':');
        }
        let digits = (u32::from(*group) | 1).ilog2() / 4 + 1;
        for digit in (0..digits).rev() {
            out.push(b"0123456789abcdef"[usize::from(group >> (4 * digit) & 15)]);
        }
    }
}
