#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;

use super::message::{HEADER, Message, Messages, request};
use super::{inet, local};
use crate::proc::net_fuzz::{Random, inputs};
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::Kind;

/// A message as the kernel writes it: header, payload, attributes of (type, bytes).
fn message(kind: u16, sequence: u32, payload: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = payload.to_vec();
    for (kind, bytes) in attributes {
        body.extend(u16::try_from(bytes.len() + 4).unwrap().to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(*bytes);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut bytes = request(sequence, &body);
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes
}

/// A `struct inet_diag_msg` of a connection 10.0.0.1:443 → 10.0.0.2:40000.
fn inet_payload() -> Vec<u8> {
    let mut bytes = vec![0; 72];
    bytes[..4].copy_from_slice(&[2, 1, 1, 3]);
    bytes[4..6].copy_from_slice(&443_u16.to_be_bytes());
    bytes[6..8].copy_from_slice(&40_000_u16.to_be_bytes());
    bytes[8..12].copy_from_slice(&[10, 0, 0, 1]);
    bytes[24..28].copy_from_slice(&[10, 0, 0, 2]);
    bytes[44..48].copy_from_slice(&77_u32.to_ne_bytes());
    for (at, value) in [(52, 200_u32), (56, 5), (60, 6), (64, 1000), (68, 4711)] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

#[test]
fn a_connection() {
    let mut info = [0; 216];
    for (at, value) in [(68, 1500_u32), (76, 0x7fff_ffff), (80, 10), (100, 2), (148, 900)] {
        info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    for (at, value) in [(120, 101_u64), (128, 50), (200, 100), (208, 0)] {
        info[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    let bytes = message(20, 9, &inet_payload(), &[(2, &info), (4, b"cubic\0")]);
    let Some(Message::Socket(payload)) = (Messages { bytes: &bytes, sequence: 9 }).next() else { panic!() };
    let row = inet::parse(payload, Proto::Tcp).unwrap();
    assert_eq!((row.state, row.inode, row.cookie, row.uid), (State::Established, 4711, Some(77), Some(1000)));
    assert_eq!((row.recv_q, row.send_q), (5, 6));
    let tcp = row.tcp().unwrap();
    assert_eq!((tcp.srtt_us, tcp.ssthresh, tcp.cwnd, tcp.retransmits), (Some(1500), None, Some(10), Some(2)));
    assert_eq!((tcp.tx_bytes, tcp.rx_bytes), (Some(100), Some(50)), "the SYN is no payload");
    assert_eq!(tcp.congestion.as_deref(), Some("cubic"));
    let timer = tcp.timer.unwrap();
    assert_eq!((timer.name, timer.expires_ms, timer.retries), ("on", 200, 3));
}

#[test]
fn only_what_was_asked_for_is_an_answer() {
    let mut bytes = message(20, 8, &inet_payload(), &[]);
    bytes.extend(message(3, 9, &0_u32.to_ne_bytes(), &[]));
    let found: Vec<Message<'_>> = Messages { bytes: &bytes, sequence: 9 }.collect();
    assert_eq!(found, [Message::Done(0)]);
    let refused = message(2, 9, &(-libc::ENOENT).to_ne_bytes(), &[]);
    assert_eq!((Messages { bytes: &refused, sequence: 9 }).next(), Some(Message::Done(libc::ENOENT)));
}

#[test]
fn unix_names() {
    let mut payload = vec![1, 1, 10, 0];
    payload.extend([7_u32, 1, 0].iter().flat_map(|word| word.to_ne_bytes()));
    for (name, shown) in [(&b"/run/x\0"[..], "/run/x"), (b"\0abstract\0x", "@abstract@x"), (b"\xff/\0", "\u{fffd}/")] {
        let bytes = message(20, 1, &payload, &[(0, name)]);
        let row = local::unix(&bytes[HEADER..]).unwrap();
        let Kind::Unix(unix) = &row.kind else { panic!() };
        assert_eq!((row.state, row.inode, unix.path.as_deref()), (State::Listen, 7, Some(shown)));
    }
}

#[test]
fn noise_is_no_socket_and_no_panic() {
    let mut random = Random::seeded();
    let info = [0x5a; 240];
    let whole = message(20, 1, &inet_payload(), &[(2, &info), (4, b"bbr\0"), (21, &[1; 8]), (8, &[1])]);
    for n in 0..inputs() {
        let mut bytes = if n % 8 == 0 { random.noise() } else { whole.clone() };
        random.mutate(&mut bytes);
        for message in (Messages { bytes: &bytes, sequence: 1 }) {
            black_box(message);
        }
        let payload = bytes.get(HEADER..).unwrap_or_default();
        black_box(inet::parse(payload, Proto::Tcp));
        black_box(inet::parse(payload, Proto::Udp));
        black_box((local::unix(payload), local::packet(payload), local::netlink(payload)));
    }
}
