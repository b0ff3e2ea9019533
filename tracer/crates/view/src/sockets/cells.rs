//! The cells of the table.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::escape;
use crate::unit::{Bytes, Micros};
use tracer_host::sockets::collect::Picture;
use tracer_host::sockets::proto::Proto;
use tracer_host::sockets::row::{Inet, Kind, Netlink, Packet, Row, Tcp, Unix, netlink_protocol, socket_type};
use tracer_stream::{Limit, Limited, OwnerSource, address};

/// Least columns of a cut address: `[20…01]`.
const LEAST_ADDRESS: usize = 7;
/// `ETH_P_ALL`
const ETH_P_ALL: u16 = 3;

/// Appends the local end, at most `columns` wide.
pub(super) fn local(out: &mut String, row: &Row, device: Option<&str>, columns: usize) {
    match &row.kind {
        Kind::Inet(inet) => endpoint(out, row.proto, inet, device, true, columns),
        Kind::Unix(unix) => path(out, unix, columns),
        Kind::Packet(packet) => protocol(out, *packet),
        Kind::Netlink(netlink) => group(out, *netlink),
    }
}

/// Appends the remote end, at most `columns` wide.
pub(super) fn remote(out: &mut String, row: &Row, device: Option<&str>, columns: usize) {
    // Writing to a String does not fail.
    let _ = match &row.kind {
        Kind::Inet(inet) => return endpoint(out, row.proto, inet, device, false, columns),
        Kind::Unix(unix) if let Some(peer) = unix.peer => write!(out, "{peer}"),
        Kind::Packet(packet) if packet.ifindex != 0 => {
            out.push_str("interface ");
            return push_device(out, device, packet.ifindex);
        }
        Kind::Netlink(netlink) if netlink.groups != 0 => write!(out, "groups {:x}", netlink.groups),
        _ => write!(out, "*"),
    };
}

/// Appends a device's name, or its index if the name is unknown.
fn push_device(out: &mut String, name: Option<&str>, ifindex: u32) {
    match name {
        // Other names are hostile, and cannot be cut.
        Some(name) if name.bytes().all(|byte| byte.is_ascii_graphic()) => out.push_str(name),
        _ => digits(out, ifindex),
    }
}

fn endpoint(out: &mut String, proto: Proto, inet: &Inet, device: Option<&str>, is_local: bool, columns: usize) {
    let (words, port) = if is_local { (inet.laddr, inet.lport) } else { (inet.raddr, inet.rport) };
    let begin = out.len();
    if !is_local && port == 0 && words == [0; 4] {
        out.push('*');
        return;
    }
    let (addr, _) = address(inet.family, words);
    // The zone of a link-local address, or the device that the socket is bound to.
    let scoped = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let ifindex = Some(inet.ifindex).filter(|index| *index != 0);
    match addr {
        IpAddr::V4(addr) => ipv4(out, addr),
        // `*`, as in `ss`: also every address of IPv4.
        IpAddr::V6(addr) if is_local && addr.is_unspecified() && inet.v6only == Some(false) => out.push('*'),
        IpAddr::V6(addr) => {
            out.push('[');
            let _ = write!(out, "{addr}");
            if let (true, Some(index)) = (scoped, ifindex) {
                out.push('%');
                push_device(out, device, index);
            }
            out.push(']');
        }
    }
    if let (true, false, Some(index)) = (is_local, scoped, ifindex) {
        out.push('%');
        push_device(out, device, index);
    }
    let end = out.len();
    out.push(':');
    match port {
        0 => out.push('*'),
        port if proto == Proto::Raw
            && is_local
            && let Some(name) = protocol_name(port) =>
        {
            out.push_str(name)
        }
        port => digits(out, port.into()),
    }
    // The port is always whole, and the beginning of an address is worth more than its end.
    let room = columns.saturating_sub(out.len() - end).max(LEAST_ADDRESS);
    if end - begin > room {
        let kept = room - 1;
        let head = kept.div_ceil(2);
        out.replace_range(begin + head..end - (kept - head), "…");
    }
}

/// "000" to "999", one after another.
const TRIPLES: &str = {
    const BYTES: [u8; 3000] = {
        let mut bytes = [0; 3000];
        let mut n = 0;
        while n < 1000 {
            bytes[3 * n] = b'0' + (n / 100) as u8;
            bytes[3 * n + 1] = b'0' + (n / 10 % 10) as u8;
            bytes[3 * n + 2] = b'0' + (n % 10) as u8;
            n += 1;
        }
        bytes
    };
    match str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("digits are text"),
    }
};

/// Appends a number without `core::fmt`: a table has 100,000 of them.
pub(super) fn digits(out: &mut String, number: u32) {
    let rest = (number % 1000) as usize;
    let zeros = if number >= 1000 {
        digits(out, number / 1000);
        0
    } else {
        usize::from(rest < 100) + usize::from(rest < 10)
    };
    out.push_str(TRIPLES.get(3 * rest + zeros..3 * rest + 3).unwrap_or_default());
}

/// The text "0." to "255.", and its length.
pub(super) const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let digits = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        let zeros = (n < 100) as usize + (n < 10) as usize;
        let mut at = zeros;
        while at < 3 {
            octets[n].0[at - zeros] = digits[at];
            at += 1;
        }
        octets[n].1 = 4 - zeros as u8;
        n += 1;
    }
    octets
};

fn ipv4(out: &mut String, addr: Ipv4Addr) {
    let mut text = [0; 16];
    let mut end = 0;
    for byte in addr.octets() {
        let (octet, length) = OCTETS[usize::from(byte)];
        if let Some(place) = text.get_mut(end..end + 4) {
            place.copy_from_slice(&octet);
        }
        end += usize::from(length);
    }
    // Without the last dot.
    let text = text.get(..end - 1).and_then(|text| str::from_utf8(text).ok());
    out.push_str(text.unwrap_or_default());
}

/// Returns the name of a protocol that raw sockets usually have (IANA "Protocol Numbers").
const fn protocol_name(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "ipv6-icmp",
        89 => "ospf",
        112 => "vrrp",
        132 => "sctp",
        255 => "raw",
        _ => return None,
    })
}

/// Appends a path, cut at its beginning: the end is worth more.
fn path(out: &mut String, unix: &Unix, columns: usize) {
    let Some(path) = &unix.path else { return out.push('*') };
    let begin = out.len();
    escape::push(out, path);
    let width = escape::width(out.get(begin..).unwrap_or_default());
    if width > columns {
        let whole = out.split_off(begin);
        let mut left = columns.saturating_sub(1);
        let mut from = whole.len();
        for (at, c) in whole.char_indices().rev() {
            let wide = escape::width(c.encode_utf8(&mut [0; 4]));
            if wide > left {
                break;
            }
            left -= wide;
            from = at;
        }
        out.push('…');
        out.push_str(whole.get(from..).unwrap_or_default());
    }
}

fn protocol(out: &mut String, packet: Packet) {
    let _ = match packet.protocol {
        0 => write!(out, "none"),
        ETH_P_ALL => write!(out, "all"),
        0x0800 => write!(out, "ip"),
        0x0806 => write!(out, "arp"),
        0x86dd => write!(out, "ipv6"),
        0x88cc => write!(out, "lldp"),
        0x888e => write!(out, "eapol"),
        other => write!(out, "{other:#06x}"),
    };
}

fn group(out: &mut String, netlink: Netlink) {
    let _ = match netlink_protocol(netlink.protocol) {
        Some(name) => write!(out, "{name}:{}", netlink.portid),
        None => write!(out, "{}:{}", netlink.protocol, netlink.portid),
    };
}

/// Appends `comm[pid]` and the number of other holders, at most `columns` wide; `all`: every holder.
pub(super) fn owner(out: &mut String, picture: &Picture, row: &Row, columns: usize, all: bool) {
    let ownership = picture.owners.of(row);
    let Some((first, others)) = ownership.pids.split_first() else {
        out.push('-');
        return;
    };
    let tail = |out: &mut String| {
        out.push('[');
        digits(out, *first);
        out.push(']');
        if all {
            for pid in others {
                let _ = write!(out, ",[{pid}]");
            }
        } else if !others.is_empty() {
            let _ = write!(out, " +{}", others.len());
        }
        if ownership.source == OwnerSource::Listener {
            out.push_str(" unaccepted");
        }
    };
    let comm = picture.owners.process(*first).map_or("?", |owner| owner.comm.as_str());
    let begin = out.len();
    if comm.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./:".contains(&c)) {
        out.push_str(comm);
        tail(out);
        if out.len() - begin <= columns {
            return;
        }
        out.truncate(begin);
    }
    let tail = {
        let mut text = String::new();
        tail(&mut text);
        text
    };
    // A little of the name is worth more than the number of others, and the id more than the name.
    let id = tail.find(']').map_or(tail.len(), |end| end + 1);
    let least = columns.saturating_sub(id).clamp(1, 4);
    escape::push_cut(out, comm, columns.saturating_sub(tail.len()).max(least));
    let used = escape::width(out.get(begin..).unwrap_or_default());
    escape::push_cut_plain(out, &tail, columns.saturating_sub(used).max(2));
}

/// Appends the details that a wide line has after the owner.
pub(super) fn details(out: &mut String, picture: &Picture, row: &Row) {
    if let Some(uid) = row.uid {
        let _ = write!(out, " uid {uid}");
    }
    if row.inode != 0 {
        let _ = write!(out, " inode {}", row.inode);
    }
    match &row.kind {
        Kind::Inet(inet) => {
            if let Some(tcp) = inet.tcp.as_deref() {
                figures(out, tcp);
            }
        }
        Kind::Unix(unix) => {
            let _ = write!(out, " {}", socket_type(unix.kind));
        }
        Kind::Packet(packet) => {
            let _ = write!(out, " {}", socket_type(packet.kind));
        }
        Kind::Netlink(_) => {}
    }
    let Some(owner) = super::first_owner(picture, row) else { return };
    if let Some(container) = &owner.facts.container {
        let short = container.id.get(..12).filter(|_| container.id.len() == 64).unwrap_or(&container.id);
        let _ = write!(out, " {} {}", container.runtime, escape::Escaped(short));
    } else if let Some(cgroup) = owner.facts.cgroup.as_deref().filter(|cgroup| *cgroup != "/") {
        let _ = write!(out, " cgroup {}", escape::Escaped(cgroup));
    }
}

fn figures(out: &mut String, tcp: &Tcp) {
    if let Some(srtt) = tcp.srtt_us {
        let _ = write!(out, " rtt {}", Micros(srtt.into()));
    }
    if let Some(cwnd) = tcp.cwnd {
        let _ = write!(out, " cwnd {cwnd}");
    }
    if let Some(tx) = tcp.tx_bytes.filter(|tx| *tx > 0) {
        let _ = write!(out, " ↑{}", Bytes(tx));
    }
    if let Some(rx) = tcp.rx_bytes.filter(|rx| *rx > 0) {
        let _ = write!(out, " ↓{}", Bytes(rx));
    }
    if let Some(count) = tcp.retransmits.filter(|count| *count > 0) {
        let _ = write!(out, " retransmits {count}");
    }
    if let Some(limited) = tcp.limited() {
        split(out, &limited);
    }
    if let Some(idle) = tcp.idle_ms().filter(|idle| *idle >= 1000) {
        let _ = write!(out, " idle {}", Micros(idle * 1000));
    }
    if let Some(congestion) = &tcp.congestion {
        let _ = write!(out, " {}", escape::Escaped(congestion));
    }
    if let Some(timer) = tcp.timer {
        let _ = write!(out, " timer {} {}", timer.name, Micros(u64::from(timer.expires_ms) * 1000));
    }
}

/// Appends the time with data to send, and the share of each limit: ` busy 4.1s (peer_window 72 %, network 28 %)`.
fn split(out: &mut String, limited: &Limited) {
    let mut parts = Limit::ALL.map(|limit| (limit, limited.of(limit)));
    parts.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
    let busy: u64 = parts.iter().map(|(_, us)| us).sum();
    if busy == 0 {
        return;
    }
    let _ = write!(out, " busy {}", Micros(busy));
    let mut before = " (";
    for (limit, us) in parts {
        let percent = us.saturating_mul(100) / busy;
        if percent > 0 {
            let _ = write!(out, "{before}{} {percent} %", limit.name());
            before = ", ";
        }
    }
    out.push(')');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_of_a_connections_time_is_short() {
        let shown = |busy_us, window, buffer, unacked, last| {
            let tcp = Tcp {
                busy_us: Some(busy_us),
                rwnd_limited_us: Some(window),
                sndbuf_limited_us: Some(buffer),
                unacked: Some(unacked),
                notsent_bytes: Some(0),
                last_sent_ms: Some(last),
                last_ack_ms: Some(last),
                ..Tcp::default()
            };
            let mut out = String::new();
            figures(&mut out, &tcp);
            out
        };
        assert_eq!(shown(4_100_000, 3_000_000, 4_000, 1, 5), " busy 4.10s (peer_window 73 %, network 26 %)");
        assert_eq!(shown(40_000, 0, 0, 0, 5), " busy 40ms (network 100 %)");
        assert_eq!(shown(40_000, 0, 0, 0, 9_000), " busy 40ms (network 100 %) idle 9.00s");
        assert_eq!(shown(0, 0, 0, 0, 5), "");
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        let powers = (0..10).map(|n| 10_u32.pow(n));
        for number in powers.flat_map(|n| [n - 1, n, n + 1]).chain([u32::MAX, 12_345, 65_535, 255, 1_000_020]) {
            let mut out = String::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string());
        }
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        for byte in 0..=u8::MAX {
            for octets in [[byte; 4], [byte, 0, 255, 10], [1, byte, 99, byte.wrapping_add(100)]] {
                let (addr, mut out) = (Ipv4Addr::from(octets), String::new());
                ipv4(&mut out, addr);
                assert_eq!(out, addr.to_string());
            }
        }
    }
}
