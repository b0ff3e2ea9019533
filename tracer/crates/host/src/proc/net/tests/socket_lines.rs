//! Tests every parser of sockets with mutations of real lines and with noise: none may panic, and a
//! parsed row must equal the formatted one.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::super::{self as net, Malformed};
use tracer_fuzz::{Random, inputs};

fn words(r: &mut Random, family: u8) -> [u32; 4] {
    if family == 4 { [r.u32(), 0, 0, 0] } else { [r.u32(), r.u32(), r.u32(), r.u32()] }
}

fn hex(words: [u32; 4], family: u8) -> String {
    words[..if family == 4 { 1 } else { 4 }].iter().map(|word| format!("{word:08X}")).collect()
}

/// Makes a row of the part that TCP and datagram sockets share, and its text up to the inode.
fn inet(r: &mut Random) -> (net::tcp::Row, String) {
    let family = if r.below(2) == 0 { 4 } else { 6 };
    let row = net::tcp::Row {
        family,
        laddr: words(r, family),
        lport: r.u16(),
        raddr: words(r, family),
        rport: r.u16(),
        state: r.number() as u8,
        tx_queue: r.u32(),
        rx_queue: r.u32(),
        retransmits: r.u32(),
        uid: r.u32(),
        inode: r.number(),
    };
    let text = format!(
        "{:4}: {}:{:04X} {}:{:04X} {:02X} {:08X}:{:08X} {:02X}:{:08X} {:08X} {:5} {:8} {}",
        r.below(1 << 20),
        hex(row.laddr, family),
        row.lport,
        hex(row.raddr, family),
        row.rport,
        row.state,
        row.tx_queue,
        row.rx_queue,
        r.below(5),
        r.u32(),
        row.retransmits,
        row.uid,
        r.below(9),
        row.inode,
    );
    (row, text)
}

fn tcp(r: &mut Random) -> (net::tcp::Row, String) {
    let (row, text) = inet(r);
    (row, format!("{text} {} {:016x} 20 4 30 10 -1", r.below(9), r.bits()))
}

fn udp(r: &mut Random) -> (net::udp::Row, String) {
    let (net::tcp::Row { family, laddr, lport, raddr, rport, state, tx_queue, rx_queue, uid, inode, .. }, text) =
        inet(r);
    let drops = r.u32();
    let row = net::udp::Row { family, laddr, lport, raddr, rport, state, tx_queue, rx_queue, uid, inode, drops };
    (row, format!("{text} {} {:016x} {drops}", r.below(9), r.bits()))
}

fn unix(r: &mut Random) -> (net::unix::Row, String) {
    let path: Option<Vec<u8>> = match r.below(3) {
        0 => None,
        1 => Some(b"/run/some where/x.sock".to_vec()),
        _ => Some(format!("@abstract{}", r.bits()).into_bytes()),
    };
    let row =
        net::unix::Row { listens: r.below(2) == 0, kind: r.u16(), state: r.number() as u8, inode: r.number(), path };
    let flags = if row.listens { 1 << 16 } else { 0 };
    let mut line = format!(
        "{:016x}: {:08X} {:08X} {flags:08X} {:04X} {:02X} {:5}",
        r.bits(),
        r.below(9),
        0,
        row.kind,
        row.state,
        row.inode
    );
    if let Some(path) = &row.path {
        write!(line, " {}", String::from_utf8_lossy(path)).unwrap();
    }
    (row, line)
}

fn packet(r: &mut Random) -> (net::packet::Row, String) {
    let row = net::packet::Row {
        kind: r.u16(),
        protocol: r.u16(),
        ifindex: r.u32(),
        rx_queue: r.u32(),
        uid: r.u32(),
        inode: r.number(),
    };
    let line = format!(
        "{:016x} {:<6} {:<4} {:04x}   {:<5} {} {:<6} {:<6} {:<6}",
        r.bits(),
        r.below(9),
        row.kind,
        row.protocol,
        row.ifindex,
        r.below(2),
        row.rx_queue,
        row.uid,
        row.inode
    );
    (row, line)
}

fn netlink(r: &mut Random) -> (net::netlink::Row, String) {
    let row = net::netlink::Row {
        protocol: r.number() as u8,
        portid: r.u32(),
        groups: r.u32(),
        rx_queue: r.u32(),
        tx_queue: r.u32(),
        drops: r.u32(),
        inode: r.number(),
    };
    let line = format!(
        "{:016x} {:<3} {:<10} {:08x} {:<8} {:<8} {:<5} {:<8} {:<8} {:<8}",
        r.bits(),
        row.protocol,
        row.portid,
        row.groups,
        row.rx_queue,
        row.tx_queue,
        r.below(2),
        r.below(9),
        row.drops,
        row.inode
    );
    (row, line)
}

fn addresses(r: &mut Random, least: usize) -> Vec<IpAddr> {
    (0..least + r.below(3))
        .map(|_| {
            if r.below(2) == 0 {
                Ipv4Addr::from_bits(r.u32()).into()
            } else {
                Ipv6Addr::from_bits(u128::from(r.bits()) << 64 | 1).into()
            }
        })
        .collect()
}

fn sctp(r: &mut Random, association: bool) -> (net::sctp::Row, String) {
    let queue = |r: &mut Random| if association { r.u32() } else { 0 };
    let row = net::sctp::Row {
        state: r.number() as u8,
        association,
        tx_queue: queue(r),
        rx_queue: queue(r),
        uid: r.u32(),
        inode: r.number(),
        lport: r.u16(),
        rport: if association { r.u16() } else { 0 },
        laddrs: addresses(r, usize::from(association)),
        raddrs: if association { addresses(r, 1) } else { Vec::new() },
    };
    let mut line = format!("{:8x} {:8x} {:<3} ", r.bits(), r.bits(), r.below(3));
    let list = |addrs: &[IpAddr]| addrs.iter().map(|addr| format!("{addr} ")).collect::<String>();
    if association {
        write!(
            line,
            "{:<3} {:<2} {:<4} {:<4} {:>8} {:>8} {:>7} {:<5} {:<5} {:<5} {}<-> *{}\t 7500 10 10 10 0 0 0 4 0 212992 212992",
            r.below(9), row.state, r.below(99), r.below(99), row.tx_queue, row.rx_queue, row.uid, row.inode, row.lport,
            row.rport, format_args!(" {}", list(&row.laddrs)), list(&row.raddrs)
        )
        .unwrap();
    } else {
        write!(
            line,
            "{:<3} {:<4} {:<5} {:>5} {:>5} {}",
            row.state,
            r.below(99),
            row.lport,
            row.uid,
            row.inode,
            list(&row.laddrs)
        )
        .unwrap();
    }
    (row, line)
}

/// Runs `parse` on the rows of `format`, which must come back, then on mutations of them and on noise.
fn fuzz<T: PartialEq + std::fmt::Debug>(
    format: impl Fn(&mut Random) -> (T, String),
    parse: impl Fn(&[u8]) -> Option<T>,
    read: impl Fn(&[u8], &mut Malformed) -> std::io::Result<u64>,
) {
    let mut random = Random::seeded();
    let mut lines = 0_u64;
    for n in 0..inputs() {
        let (row, line) = format(&mut random);
        assert_eq!(parse(line.as_bytes()).as_ref(), Some(&row), "{line:?}");
        let mut bytes = if n % 8 == 0 { random.noise() } else { line.into_bytes() };
        random.mutate(&mut bytes, &[]);
        black_box(parse(&bytes));
        if n % 16 == 0 {
            let mut malformed = Malformed::default();
            let rows = read(&bytes, &mut malformed).unwrap();
            let ends = bytes.iter().filter(|c| **c == b'\n').count() as u64;
            let there = ends + u64::from(bytes.last().is_some_and(|c| *c != b'\n'));
            // Only the first line may pass for a heading.
            assert!(rows + malformed.count == there || rows + malformed.count + 1 == there, "{bytes:?}");
            lines += there;
        }
    }
    black_box(lines);
}

const PATH: &str = "table";

#[test]
fn tcp_lines() {
    fuzz(tcp, net::tcp::parse, |bytes, malformed| {
        net::read_sockets(bytes, Path::new(PATH), malformed, |_: net::tcp::Row| ())
    });
}

#[test]
fn udp_lines() {
    fuzz(udp, net::udp::parse, |bytes, malformed| {
        net::read_sockets(bytes, Path::new(PATH), malformed, |_: net::udp::Row| ())
    });
}

#[test]
fn unix_lines() {
    fuzz(unix, net::unix::parse, |bytes, malformed| {
        net::read_sockets(bytes, Path::new(PATH), malformed, |_: net::unix::Row| ())
    });
}

#[test]
fn packet_lines() {
    fuzz(packet, net::packet::parse, |bytes, malformed| {
        net::read_sockets(bytes, Path::new(PATH), malformed, |_: net::packet::Row| ())
    });
}

#[test]
fn netlink_lines() {
    fuzz(netlink, net::netlink::parse, |bytes, malformed| {
        net::read_sockets(bytes, Path::new(PATH), malformed, |_: net::netlink::Row| ())
    });
}

#[test]
fn sctp_endpoint_lines() {
    fuzz(
        |r| sctp(r, false),
        net::sctp::parse_endpoint,
        |bytes, malformed| net::sctp::read(bytes, Path::new(PATH), malformed, false, |_| ()),
    );
}

#[test]
fn sctp_association_lines() {
    fuzz(
        |r| sctp(r, true),
        net::sctp::parse_association,
        |bytes, malformed| net::sctp::read(bytes, Path::new(PATH), malformed, true, |_| ()),
    );
}
