//! The tables of one network namespace, from /proc/PID/net.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::proto::{Proto, State};
use super::row::{Inet, Kind, Netlink, Packet, Row, Unix};
use crate::proc::net::{self, Malformed};
use crate::proc::root::ReadError;

/// Room for a read of a table, which gives a page at a time.
const BUFFER: usize = 1 << 16;

/// Returns the files of a protocol, below a namespace's `net` directory.
#[must_use]
pub const fn files(proto: Proto) -> &'static [&'static str] {
    match proto {
        Proto::Tcp => &["tcp", "tcp6"],
        Proto::Udp => &["udp", "udp6"],
        Proto::Udplite => &["udplite", "udplite6"],
        Proto::Raw => &["raw", "raw6"],
        Proto::Icmp => &["icmp", "icmp6"],
        Proto::Sctp => &["sctp/eps", "sctp/assocs"],
        Proto::Unix => &["unix"],
        Proto::Packet => &["packet"],
        Proto::Netlink => &["netlink"],
    }
}

/// Passes every socket of `proto` in the tables below `net` to `sink`. A table that this kernel lacks
/// has no sockets.
///
/// # Errors
/// If a table exists and cannot be read; `sink` may have got rows.
pub fn read(
    net: &Path,
    netns: u32,
    proto: Proto,
    malformed: &mut Malformed,
    mut sink: impl FnMut(Row),
) -> Result<(), ReadError> {
    for name in files(proto) {
        let path = net.join(name);
        let file = match File::open(&path) {
            Ok(file) => BufReader::with_capacity(BUFFER, file),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => continue,
            Err(source) => return Err(ReadError { path, source }),
        };
        let mut give = |mut row: Row| {
            row.netns = netns;
            sink(row);
        };
        let read = match proto {
            Proto::Tcp => net::read_sockets(file, &path, malformed, |row| give(tcp(&row))),
            Proto::Udp | Proto::Udplite | Proto::Raw | Proto::Icmp => {
                net::read_sockets(file, &path, malformed, |row| give(datagram(proto, &row)))
            }
            Proto::Sctp => net::sctp::read(file, &path, malformed, name.ends_with("assocs"), |row| give(sctp(&row))),
            Proto::Unix => net::read_sockets(file, &path, malformed, |row| give(unix(row))),
            Proto::Packet => net::read_sockets(file, &path, malformed, |row| give(packet(&row))),
            Proto::Netlink => net::read_sockets(file, &path, malformed, |row| give(netlink(&row))),
        };
        read.map_err(|source| ReadError { path, source })?;
    }
    Ok(())
}

fn row(proto: Proto, state: State, inode: u64, uid: Option<u32>, kind: Kind) -> Row {
    Row { proto, state, netns: 0, inode, cookie: None, uid, recv_q: 0, send_q: 0, kind }
}

fn tcp(from: &net::tcp::Row) -> Row {
    let state = State::of_sk_state(Proto::Tcp, from.state);
    let inet = Inet {
        family: from.family,
        laddr: from.laddr,
        lport: from.lport,
        raddr: from.raddr,
        rport: from.rport,
        ifindex: 0,
        v6only: None,
        tcp: None,
    };
    let uid = (state != State::TimeWait).then_some(from.uid);
    Row {
        recv_q: from.rx_queue,
        // /proc does not show how many connections may wait.
        send_q: from.tx_queue,
        ..row(Proto::Tcp, state, from.inode, uid, Kind::Inet(inet))
    }
}

fn datagram(proto: Proto, from: &net::udp::Row) -> Row {
    let inet = Inet {
        family: from.family,
        laddr: from.laddr,
        lport: from.lport,
        raddr: from.raddr,
        rport: from.rport,
        ifindex: 0,
        v6only: None,
        tcp: None,
    };
    let state = State::of_sk_state(proto, from.state);
    Row {
        recv_q: from.rx_queue,
        send_q: from.tx_queue,
        ..row(proto, state, from.inode, Some(from.uid), Kind::Inet(inet))
    }
}

fn sctp(from: &net::sctp::Row) -> Row {
    let state =
        if from.association { State::of_association(from.state) } else { State::of_sk_state(Proto::Sctp, from.state) };
    let family = from.laddrs.iter().chain(&from.raddrs).next().map_or(4, |addr| if addr.is_ipv4() { 4 } else { 6 });
    let first = |addrs: &[std::net::IpAddr]| {
        let words = |octets: [u8; 4]| u32::from_ne_bytes(octets);
        match addrs.first() {
            Some(std::net::IpAddr::V4(addr)) if family == 6 => [0, 0, 0xffff_u32.to_be(), words(addr.octets())],
            Some(std::net::IpAddr::V4(addr)) => [words(addr.octets()), 0, 0, 0],
            Some(std::net::IpAddr::V6(addr)) => {
                let octets = addr.octets();
                let (quads, _) = octets.as_chunks::<4>();
                let mut all = [0; 4];
                for (word, quad) in all.iter_mut().zip(quads) {
                    *word = words(*quad);
                }
                all
            }
            None => [0; 4],
        }
    };
    let inet = Inet {
        family,
        laddr: first(&from.laddrs),
        lport: from.lport,
        raddr: first(&from.raddrs),
        rport: from.rport,
        ifindex: 0,
        v6only: None,
        tcp: None,
    };
    Row {
        recv_q: from.rx_queue,
        send_q: from.tx_queue,
        ..row(Proto::Sctp, state, from.inode, Some(from.uid), Kind::Inet(inet))
    }
}

fn unix(from: net::unix::Row) -> Row {
    let state = match (from.listens, from.state) {
        (true, _) => State::Listen,
        (_, 2) if from.inode != 0 => State::SynSent,
        // State 2 without a socket: connect() made it and accept() has not taken it yet.
        (_, 2 | 3) => State::Established,
        _ => State::Unconn,
    };
    let path = from.path.map(|path| String::from_utf8_lossy(&path).into_owned());
    row(Proto::Unix, state, from.inode, None, Kind::Unix(Box::new(Unix { kind: from.kind, path, peer: None })))
}

fn packet(from: &net::packet::Row) -> Row {
    let packet = Packet { kind: from.kind, protocol: from.protocol, ifindex: from.ifindex };
    let row = row(Proto::Packet, State::Unconn, from.inode, Some(from.uid), Kind::Packet(packet));
    Row { recv_q: from.rx_queue, ..row }
}

fn netlink(from: &net::netlink::Row) -> Row {
    let netlink = Netlink { protocol: from.protocol, portid: from.portid, groups: from.groups };
    let row = row(Proto::Netlink, State::Unconn, from.inode, None, Kind::Netlink(netlink));
    Row { recv_q: from.rx_queue, send_q: from.tx_queue, ..row }
}
