#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::AsRawFd;

use super::super::lines::PLACES;
use std::path::Path;

use super::super::{Malformed, read_sockets};
use super::*;
use tracer_fuzz::{Random, inputs};
use tracer_stream::address;

const HEADER: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

fn random_row(random: &mut Random) -> Row {
    let mut addr = [[0; 4]; 2];
    let family = if random.bits() & 1 == 0 { 4 } else { 6 };
    for addr in &mut addr {
        let words = if family == 4 { 1 } else { 4 };
        addr[..words].fill_with(|| random.bits() as u32);
    }
    Row {
        family,
        laddr: addr[0],
        lport: random.bits() as u16,
        raddr: addr[1],
        rport: random.bits() as u16,
        state: 1 + random.below(12) as u8,
        tx_queue: random.bits() as u32,
        rx_queue: random.bits() as u32,
        retransmits: random.bits() as u32,
        uid: random.bits() as u32,
        inode: random.any(),
    }
}

fn words(family: u8, addr: &[u32; 4]) -> String {
    let words = if family == 4 { 1 } else { 4 };
    addr[..words].iter().fold(String::new(), |mut text, word| {
        write!(text, "{word:08X}").unwrap();
        text
    })
}

/// Formats a row like the kernel's `get_tcp4_sock` and `get_tcp6_sock`, with the padding of tcp4.
fn format(sl: usize, row: &Row) -> String {
    let mut text = format!(
        "{sl:4}: {}:{:04X} {}:{:04X} {:02X} {:08X}:{:08X} {:02X}:{:08X} {:08X} {:5} {:8} {} 1 000000002e999915 100 0 0 10 0",
        words(row.family, &row.laddr),
        row.lport,
        words(row.family, &row.raddr),
        row.rport,
        row.state,
        row.tx_queue,
        row.rx_queue,
        1,
        0x1234,
        row.retransmits,
        row.uid,
        0,
        row.inode,
    );
    if row.family == 4 {
        write!(text, "{:1$}", "", 149usize.saturating_sub(text.len())).unwrap();
    }
    text.push('\n');
    text
}

fn ip(row: &Row) -> (IpAddr, IpAddr) {
    (address(row.family, row.laddr).0, address(row.family, row.raddr).0)
}

#[test]
#[cfg(target_endian = "little")]
fn rows_of_a_little_endian_kernel() {
    let row = parse(b"   1: 0100007F:1F90 0200000A:C350 01 00000010:00000020 01:00000014 00000003  1000        0 31337 2 000000002e999915 20 4 30 10 -1               \n").unwrap();
    assert_eq!(ip(&row), (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(10, 0, 0, 2).into()));
    assert_eq!((row.family, row.lport, row.rport, row.state), (4, 8080, 50000, 1));
    assert_eq!((row.tx_queue, row.rx_queue, row.retransmits, row.uid, row.inode), (16, 32, 3, 1000, 31337));
    assert_eq!(row.tcp_state(), Some(TcpState::Established));

    let row = parse(b"   0: B80D0120000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 18233 1 ffff9d5a8a5b8000 100 0 0 10 0\n").unwrap();
    assert_eq!(ip(&row), ("2001:db8::1".parse().unwrap(), Ipv6Addr::UNSPECIFIED.into()));
    assert_eq!((row.family, row.lport, row.inode), (6, 22, 18233));

    let row = parse(b"   3: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:C350 08 00000000:00000001 00:00000000 00000000    33        0 99 1 0000000000000000\n").unwrap();
    assert_eq!(address(row.family, row.laddr), (Ipv4Addr::LOCALHOST.into(), true));

    // TIME_WAIT has fewer fields after its inode.
    let row = parse(b"  12: 0100007F:0050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000     0        0 0 3 0000000000000000\n").unwrap();
    assert_eq!((row.state, row.uid, row.inode), (6, 0, 0));
}

#[test]
fn a_formatted_row_is_the_row() {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    for sl in 0..20_000 {
        let row = random_row(&mut random);
        let text = format(sl, &row);
        assert_eq!(parse(text.as_bytes()), Some(row), "{text}");
    }
}

#[test]
fn lines_that_are_no_rows() {
    let good = format(0, &random_row(&mut Random::new(7)));
    let inode_at = good.find(" 1 00000000").unwrap();
    for text in [
        "",
        "\n",
        "0:",
        HEADER,
        "   0: 0100007:0050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000     0        0 0 3\n",
        "   0: 0100007F:10050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000     0        0 0 3\n",
        "   0: 0100007F:0050 00000000000000000000000000000000:9C40 06 00000000:00000000 03:00001747 00000000     0        0 0 3\n",
        "   0: 0100007F:0050 0100007F:9C40 100 00000000:00000000 03:00001747 00000000     0        0 0 3\n",
        "   0: 0100007F:0050 0100007F:9C40 06 100000000:00000000 03:00001747 00000000     0        0 0 3\n",
        "   0: 0100007F:0050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000    -1        0 0 3\n",
        "   0: 0100007F:0050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000 4294967296   0 0 3\n",
        "   0: 0100007F:0050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000     0        0 18446744073709551616 3\n",
        "   0: 0100007F:0050 0100007F:9C40 06 00000000:00000000 03:00001747 00000000     0        0 0x1 3\n",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
    // A cut within the inode's digits leaves no trace; every shorter line is malformed.
    let digits = good[..inode_at].rfind(' ').unwrap() + 1;
    for len in 0..=digits {
        assert_eq!(parse(&good.as_bytes()[..len]), None, "{len}");
    }
}

#[test]
fn malformed_lines_are_noted_and_skipped() {
    let row = random_row(&mut Random::new(3));
    let good = format(0, &row);
    let mut text = format!("{HEADER}{good}garbage\n{good}\n");
    text.push_str(HEADER);
    text.push_str(good.trim_end());
    let (mut malformed, mut rows) = (Malformed::default(), Vec::new());
    let path = Path::new("/proc/7/net/tcp");
    assert_eq!(read_sockets(text.as_bytes(), path, &mut malformed, |row: Row| rows.push(row)).unwrap(), 3);
    assert_eq!(rows, [row; 3]);
    let places = [3, 5, 6].map(|line| (path.to_owned(), line));
    assert_eq!(malformed, Malformed { count: 3, places: places.to_vec() });

    let text = "garbage\n".repeat(100);
    let mut malformed = Malformed::default();
    assert_eq!(read_sockets(text.as_bytes(), path, &mut malformed, |_: Row| unreachable!()).unwrap(), 0);
    assert_eq!((malformed.count, malformed.places.len()), (100, PLACES));
}

#[test]
fn mutated_lines_never_panic_and_what_parses_is_consistent() {
    let mut random = Random::new(0x1234_5678_9abc_def1);
    let lines: Vec<Vec<u8>> = (0..64).map(|sl| format(sl, &random_row(&mut random)).into_bytes()).collect();
    let mut line = Vec::new();
    let (mut rows, mut others) = (0u32, 0u32);
    for n in 0..usize::try_from(inputs()).unwrap().max(1_000_000) {
        line.clear();
        line.extend_from_slice(&lines[n % lines.len()]);
        for _ in 0..=random.below(3) {
            let at = random.below(line.len().max(1));
            match random.below(4) {
                0 => line.truncate(at),
                1 => line.insert(at.min(line.len()), random.bits() as u8),
                2 if at < line.len() => drop(line.remove(at)),
                _ if at < line.len() => line[at] = random.bits() as u8,
                _ => {}
            }
        }
        match parse(&line) {
            Some(row) => {
                rows += 1;
                if n % 16 == 0 {
                    assert_eq!(parse(format(n, &row).as_bytes()), Some(row));
                }
            }
            None => others += 1,
        }
    }
    assert!(rows > 100_000 && others > 100_000, "{rows} rows, {others} others: the mutations test nothing");
}

#[test]
fn own_listener_is_a_row() {
    for (addr, table) in [("127.0.0.1:0", "/proc/self/net/tcp"), ("[::1]:0", "/proc/self/net/tcp6")] {
        let listener = match TcpListener::bind(addr) {
            Ok(listener) => listener,
            // A host without IPv6 has no such rows.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)) => continue,
            Err(error) => panic!("{addr}: {error}"),
        };
        let local = listener.local_addr().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let (mut found, mut malformed) = (Vec::new(), Malformed::default());
        let file = BufReader::new(std::fs::File::open(table).unwrap());
        read_sockets(file, Path::new(table), &mut malformed, |row: Row| {
            if format!("socket:[{}]", row.inode) == link.to_str().unwrap() {
                found.push(row);
            }
        })
        .unwrap();
        assert_eq!(malformed, Malformed::default());
        let [row] = found[..] else { panic!("{found:?}") };
        assert_eq!((ip(&row).0, row.lport), (local.ip(), local.port()));
        assert_eq!(row.tcp_state(), Some(TcpState::Listen));
        // SAFETY: geteuid cannot fail and touches nothing.
        assert_eq!(row.uid, unsafe { libc::geteuid() });
    }
}
