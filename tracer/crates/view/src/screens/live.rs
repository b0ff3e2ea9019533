use std::rc::Rc;
use std::sync::Arc;

use super::{EVIL, compare, same};
use crate::clock::WallClock;
use crate::terminal::Columns;
use crate::text::{TextOptions, TextSink};
use tracer_stream::{
    Close, Container, Drop, Event, Finding, Hint, Icmp, Kind, Owner, ProcessFacts, Role, Segment, Sink as _, Socket,
    Stack, TcpState, Verdict, sample,
};

/// 12:01:02.123456789 UTC is 0 on the boot clock.
const CLOCK: WallClock = WallClock { offset_ns: 43_262_123_456_789 };

const CLOSE: Close = Close {
    duration_us: Some(1_240_000),
    connect_us: Some(1_200),
    tx_bytes: Some(1_234_567),
    rx_bytes: Some(345),
    retransmits: Some(12),
    srtt_us: Some(850),
    verdict: Verdict::ClosedLocal,
    ..Close::UNKNOWN
};

fn shown(options: TextOptions, events: &[(Option<Socket<'_>>, Kind<'_>)]) -> String {
    let mut sink = TextSink::new(Vec::new(), CLOCK, options);
    sink.header();
    for (n, (socket, kind)) in (0..).zip(events) {
        sink.event(&Event { boot_ns: n * 1_000_000, socket: *socket, kind: *kind });
    }
    sink.flush();
    String::from_utf8_lossy(&sink.into_inner()).into_owned()
}

fn options(columns: Columns) -> TextOptions {
    TextOptions {
        columns,
        utc: true,
        open: true,
        open_at_end: true,
        quiet_drops: true,
        resets: true,
        ..TextOptions::default()
    }
}

/// Passes an event of each kind to `show`.
fn every_kind<T>(show: impl FnOnce(&[(Option<Socket<'_>>, Kind<'_>)]) -> T) -> T {
    let facts = ProcessFacts {
        exe: Some("/usr/bin/curl".into()),
        cmdline: Some(vec!["curl".into(), EVIL.into(), "https://example.org/a/rather/long/path?with=words".into()]),
        cgroup: Some("/docker/abc".into()),
        container: Some(Container { runtime: "docker", id: "abc".into(), claimed: false }),
        ..ProcessFacts::default()
    };
    let curl = Owner { facts: Arc::new(facts), ..sample::owner("curl", 4121) };
    let nginx = sample::owner("nginx", 4_194_303);
    let evil = sample::owner(EVIL, 666);
    let client = Socket { owner: Some(&curl), ..sample::SOCKET };
    let server = Socket { role: Role::Server, owner: Some(&nginx), lport: Some(443), rport: Some(40_000), ..client };
    let listener = Socket { role: Role::Listener, owner: Some(&evil), raddr: None, rport: None, ..server };
    let long = ["2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8::1234:5678"].map(|addr| addr.parse().ok());
    let six = Socket { laddr: long[0], raddr: long[1], family: 6, ..client };
    let icmp = "10.0.0.9".parse().ok().map(|from| Icmp { v6: false, kind: 3, code: 13, from });
    let closes = [
        CLOSE,
        Close { verdict: Verdict::Refused, errno: Some(libc::ECONNREFUSED), tx_bytes: Some(0), ..CLOSE },
        Close { verdict: Verdict::Unreachable, errno: Some(libc::EHOSTUNREACH), icmp, ..CLOSE },
        Close { verdict: Verdict::NoAnswer, syns: Some(2), tx_bytes: None, rx_bytes: None, ..CLOSE },
        Close { verdict: Verdict::ResetRemote, errno: Some(libc::ECONNRESET), ..CLOSE },
        Close {
            verdict: Verdict::FailedLocal,
            errno: Some(libc::EADDRINUSE),
            held_by: Some(Rc::new(evil.clone())),
            ..CLOSE
        },
        Close { unanswered: Some(true), idle_us: Some(4_000_000), ..CLOSE },
        Close { verdict: Verdict::OpenAtEnd, preexisting: true, duration_us: None, ..CLOSE },
    ];
    let hint = Hint::of(format!("nft: table inet filter, chain input, handle 7 (iifname {EVIL} tcp dport 443 drop)"));
    let frames = ["nft_do_chain+0x10", "nf_hook_slow+0x3f", "ip_local_deliver+0x5f", "ip_rcv+0x8c"].map(Into::into);
    let drops = [
        Drop { hint: Some(Box::new(hint)), count: 7, iface: Some("eth0".into()), ..sample::dropped() },
        Drop { stack: Stack::Known(frames.into()), ..sample::dropped() },
    ];
    let discard = sample::discarded();
    let finding = Finding {
        name: "refused",
        text: format!(
            "nothing listens at 10.0.0.5:443: 12 of 1,204 connections of {EVIL}[4121] were refused by that host"
        ),
        count: 12,
        look: Vec::new(),
        evidence: Vec::new(),
    };
    let mut events = vec![
        (None, Kind::Process(&curl)),
        (Some(listener), Kind::Listen { backlog: Some(511) }),
        (Some(Socket { lport: None, ..client }), Kind::Connect { errno: None }),
        (Some(client), Kind::Connect { errno: Some(libc::EADDRNOTAVAIL) }),
        (Some(client), Kind::Established { connect_us: Some(1_200) }),
        (Some(server), Kind::Accept { accept_wait_us: Some(35) }),
        (Some(Socket { role: Role::Unknown, owner: None, ..client }), Kind::Open { state: TcpState::CloseWait }),
        (Some(six), Kind::State { old: TcpState::Established, new: TcpState::CloseWait, state_us: Some(35_000) }),
        (Some(client), Kind::Error { errno: libc::EPIPE, accepts: None }),
        (Some(listener), Kind::Error { errno: libc::EMFILE, accepts: Some(1_000) }),
        (Some(listener), Kind::Bind { errno: libc::EADDRINUSE, held_by: Some(&nginx) }),
        (Some(six), Kind::Retransmit { state: Some(TcpState::Established), what: Segment::Data, seq: Some(1) }),
        (Some(client), Kind::Reset { received: true, reason: Some("TCP_STATE") }),
        (Some(listener), Kind::Discard(&discard)),
        (None, Kind::Finding(&finding)),
        (None, Kind::Lost { class: "lifecycle", count: 1234 }),
    ];
    events.extend(drops.iter().map(|drop| (Some(client), Kind::Drop(drop))));
    events.extend(closes.iter().map(|close| (Some(client), Kind::Close(close))));
    events.push((Some(six), Kind::Close(&closes[4])));
    let mut kinds: Vec<&str> = events.iter().map(|(_, kind)| kind.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), Kind::NAMES.len(), "{kinds:?}");
    show(&events)
}

#[test]
fn every_kind_of_event() {
    compare("live", |columns| every_kind(|events| shown(options(columns), events)));
}

#[test]
fn wide() {
    let options = TextOptions { wide: true, ..options(Columns::new(80)) };
    same("live_wide", &every_kind(|events| shown(options, events)));
}
