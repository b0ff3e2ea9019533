#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;

use super::listen::listener;
use super::{inet, local};
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::Kind;
use tracer_fuzz::{Random, inputs};
use tracer_tables::netlink::fixtures;
use tracer_tables::netlink::message::{Answer, HEADER, request};

/// Builds a message as the kernel does: header, payload, attributes of (type, bytes).
fn message(kind: u16, sequence: u32, payload: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = payload.to_vec();
    for (kind, bytes) in attributes {
        body.extend(u16::try_from(bytes.len() + 4).unwrap().to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(*bytes);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    request(kind, sequence, &body)
}

/// Builds a `struct inet_diag_msg` of a connection 10.0.0.1:443 → 10.0.0.2:40000.
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
    let mut rows = Vec::new();
    let end = Answer::new(9, 20).take(&bytes, |payload| rows.push(inet::parse(payload, Proto::Tcp).unwrap()));
    assert!(!end.unwrap());
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.state, row.inode, row.cookie, row.uid), (State::Established, 4711, Some(77), Some(1000)));
    assert_eq!((row.recv_q, row.send_q), (5, 6));
    let tcp = row.tcp().unwrap();
    assert_eq!((tcp.srtt_us, tcp.ssthresh, tcp.cwnd, tcp.retransmits), (Some(1500), None, Some(10), Some(2)));
    assert_eq!((tcp.tx_bytes, tcp.rx_bytes), (Some(100), Some(50)), "the SYN is no payload");
    assert_eq!(tcp.congestion.as_deref(), Some("cubic"));
    let timer = tcp.timer.unwrap();
    assert_eq!((timer.name, timer.expires_ms, timer.retries), ("on", 200, 3));
}

/// Each kernel's `struct tcp_info` has what its end allows.
#[test]
fn the_split_of_a_connections_time() {
    let mut info = [0; 248];
    info[4] = 3;
    info[7] = if cfg!(target_endian = "little") { 1 } else { 0x80 };
    for (at, value) in [(44, 1_u32), (52, 2), (56, 3), (88, 4), (144, 5), (216, 6), (224, 7), (228, 8)] {
        info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    for (at, value) in [(160, 11_u64), (168, 12), (176, 13), (184, 14), (208, 15)] {
        info[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    let parsed = |info: &[u8], state: u8| {
        let mut payload = inet_payload();
        payload[1] = state;
        let bytes = message(20, 9, &payload, &[(2, info)]);
        inet::parse(&bytes[HEADER..], Proto::Tcp).unwrap().tcp().unwrap().clone()
    };
    let tcp = parsed(&info, 1);
    assert_eq!((tcp.last_sent_ms, tcp.last_received_ms, tcp.last_ack_ms), (Some(1), Some(2), Some(3)));
    assert_eq!((tcp.reordering, tcp.notsent_bytes, tcp.backoff), (Some(4), Some(5), Some(3)));
    assert_eq!((tcp.dsack, tcp.out_of_order, tcp.snd_wnd), (Some(6), Some(7), Some(8)));
    assert_eq!((tcp.delivery_rate, tcp.app_limited), (Some(11), Some(true)));
    assert_eq!((tcp.busy_us, tcp.rwnd_limited_us, tcp.sndbuf_limited_us), (Some(12), Some(13), Some(14)));
    assert_eq!(tcp.retransmitted_bytes, Some(15));
    // 4.9 ends after the delivery rate, 4.19 after the bytes sent again, 5.4 after the window.
    let old = parsed(&info[..168], 1);
    assert_eq!((old.delivery_rate, old.busy_us, old.retransmitted_bytes, old.snd_wnd), (Some(11), None, None, None));
    assert_eq!(old.limited(), None);
    let old = parsed(&info[..224], 1);
    assert_eq!((old.retransmitted_bytes, old.dsack, old.out_of_order), (Some(15), Some(6), None));
    let unmeasured = parsed(&[0; 248], 1);
    assert_eq!((unmeasured.delivery_rate, unmeasured.app_limited), (None, None));
    // SYN_SENT: no data yet.
    assert_eq!(parsed(&info, 2).last_sent_ms, None);
}

#[test]
fn listeners() {
    let rows = fixtures::messages(include_str!("fixtures/listen.hex"));
    let listeners: Vec<_> =
        rows.iter().map(|message| listener(inet::parse(message, Proto::Tcp).unwrap()).unwrap()).collect();
    let shown: Vec<_> = listeners.iter().map(|l| (l.address.to_string(), l.port, l.waiting, l.limit)).collect();
    assert_eq!(shown, [("127.0.0.1".to_owned(), 8080, 1, 5), ("::".to_owned(), 8081, 0, 128)]);
    let mut mapped = inet_payload();
    mapped[..2].copy_from_slice(&[10, 10]);
    mapped[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
    let mapped = listener(inet::parse(&mapped, Proto::Tcp).unwrap()).unwrap();
    assert_eq!(mapped.address, "::ffff:127.0.0.1".parse::<std::net::IpAddr>().unwrap());
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
        random.mutate(&mut bytes, &[]);
        let _ = black_box(Answer::new(1, 20).take(&bytes, |payload| _ = black_box(payload.len())));
        let payload = bytes.get(HEADER..).unwrap_or_default();
        black_box(inet::parse(payload, Proto::Tcp));
        black_box(inet::parse(payload, Proto::Udp));
        black_box((local::unix(payload), local::packet(payload), local::netlink(payload)));
    }
}
