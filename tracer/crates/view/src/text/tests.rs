#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tracer_stream::{Close, Container, Icmp, Limited, ProcessFacts, Role, TcpState, sample};

use super::*;

/// 12:01:02.123456789 UTC is 0 on the boot clock.
const CLOCK: WallClock = WallClock { offset_ns: 43_262_123_456_789 };
const UTC: TextOptions = TextOptions {
    wide: false,
    columns: Columns::PIPE,
    utc: true,
    color: false,
    open: true,
    open_at_end: true,
    quiet_drops: true,
    resets: true,
};

fn owner(comm: &str, pid: u32) -> Owner {
    Owner { start_ns: None, ..sample::owner(comm, pid) }
}

fn socket<'a>(owner: Option<&'a Owner>, laddr: &str, raddr: &str) -> Socket<'a> {
    Socket { laddr: laddr.parse().ok(), raddr: raddr.parse().ok(), owner, ..sample::SOCKET }
}

const CLOSE: Close = Close {
    duration_us: Some(1_240_000),
    connect_us: Some(1_200),
    tx_bytes: Some(1_234_567),
    rx_bytes: Some(345),
    retransmits: Some(0),
    srtt_us: Some(850),
    verdict: Verdict::ClosedLocal,
    ..Close::UNKNOWN
};

fn lines(options: TextOptions, events: &[(Option<Socket<'_>>, Kind<'_>)]) -> String {
    let mut sink = TextSink::new(Vec::new(), CLOCK, options);
    for (n, (socket, kind)) in events.iter().enumerate() {
        sink.event(&Event { boot_ns: n as u64 * 1_000_000, socket: *socket, kind: *kind });
    }
    sink.flush();
    assert!(sink.error().is_none());
    String::from_utf8(sink.into_inner()).unwrap()
}

#[test]
fn a_process_is_one_line_that_is_cut() {
    let facts = ProcessFacts {
        cmdline: Some(vec!["curl".into(), "\x1b[2J".into(), "x".repeat(200)]),
        cmdline_cut: true,
        ..ProcessFacts::default()
    };
    let curl = Owner { facts: Arc::new(facts), ..owner("curl", 4121) };
    let text = lines(UTC, &[(None, Kind::Process(&curl))]);
    assert_eq!(text, format!("12:01:02.123 process         curl[4121]       curl \\x1b[2J {}…\n", "x".repeat(40)));
    assert!(lines(TextOptions { wide: true, ..UTC }, &[(None, Kind::Process(&curl))]).ends_with("xx…\n"));
}

#[test]
fn wide_lines_have_everything() {
    let facts = ProcessFacts {
        exe: Some("/usr/bin/cu\nrl".into()),
        cgroup: Some("/docker/abc".into()),
        container: Some(Container { runtime: "docker", id: "abc".into(), claimed: false }),
        ..ProcessFacts::default()
    };
    let curl = Owner { facts: Arc::new(facts), ..owner("curl", 4121) };
    let refused = Close { verdict: Verdict::Refused, errno: Some(libc::ECONNREFUSED), ..CLOSE };
    assert_eq!(
        lines(
            TextOptions { wide: true, ..UTC },
            &[(Some(socket(Some(&curl), "10.0.0.1", "10.0.0.5")), Kind::Close(&refused))]
        ),
        concat!(
            "12:01:02.123 refused         curl[4121]               ",
            "10.0.0.1:40000 → 10.0.0.5:443                 1.24s ECONNREFUSED ↑1.2MB ↓345B ",
            r"rtt=850µs connect=1.2ms netns=4026531840 uid=1000 container=docker:abc exe=/usr/bin/cu\nrl cgroup=/docker/abc",
            "\n"
        )
    );
}

#[test]
fn colour_is_for_meaning() {
    let colored = TextOptions { color: true, ..UTC };
    let client = socket(None, "10.0.0.1", "10.0.0.5");
    let with = |verdict| Close { verdict, ..CLOSE };
    for (kind, sequence) in [
        (Kind::Connect { errno: None }, ""),
        (Kind::Connect { errno: Some(1) }, "\x1b[31m"),
        (Kind::Established { connect_us: None }, "\x1b[32m"),
        (Kind::Close(&with(Verdict::ClosedRemote)), "\x1b[2m"),
        (Kind::Close(&with(Verdict::ResetLocal)), "\x1b[33m"),
        (Kind::Close(&with(Verdict::TimedOut)), "\x1b[33m"),
        (Kind::Close(&with(Verdict::Refused)), "\x1b[31m"),
    ] {
        let plain = lines(UTC, &[(Some(client), kind)]);
        let shown = lines(colored, &[(Some(client), kind)]);
        assert_eq!(shown.replace(sequence, "").replace("\x1b[0m", ""), plain);
        assert_eq!(shown.contains('\x1b'), !sequence.is_empty(), "{shown}");
        assert!(shown.contains(sequence), "{shown}");
    }
}

#[test]
fn what_was_and_stays_open_is_shown_on_request() {
    let client = socket(None, "10.0.0.1", "10.0.0.5");
    let open = Close { verdict: Verdict::OpenAtEnd, ..CLOSE };
    let events = [
        (Some(client), Kind::Open { state: TcpState::Established }),
        (Some(client), Kind::Close(&open)),
        (Some(client), Kind::Close(&CLOSE)),
    ];
    assert_eq!(lines(UTC, &events).lines().count(), 3);
    let shown = lines(TextOptions { open: false, open_at_end: false, ..UTC }, &events);
    assert_eq!(shown.lines().count(), 1);
    assert!(shown.contains("closed_local"));
}

/// `PID_MAX_LIMIT`
const PID_MAX: u32 = 4 << 20;

/// A small deterministic generator: the same events in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.next() as usize % values.len()]
    }

    /// Returns a number of any size, small ones as often as large ones.
    fn number(&mut self) -> u64 {
        let bits = self.next() % 48;
        self.next() >> bits << (self.next() % 16)
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (!self.next().is_multiple_of(4)).then_some(value)
    }

    fn addr(&mut self) -> IpAddr {
        let (high, low) = (u128::from(self.next()), u128::from(self.next()));
        match self.next() % 4 {
            0 => Ipv6Addr::from_bits(high << 80 | low << 40 | high).into(),
            1 => Ipv6Addr::from_bits(0xfe80 << 112 | low).into(),
            _ => Ipv4Addr::from_bits(high as u32).into(),
        }
    }

    fn comm(&mut self) -> String {
        let letters = ['a', ' ', '\n', '\x1b', '\u{9b}', '\u{202e}', '日', 'é', '\\', '\u{301}', '\u{fffd}', '['];
        (0..self.next() % 16).map(|_| self.of(&letters)).collect()
    }

    fn close(&mut self) -> Close {
        let (a, b, c, d, e) = (self.number(), self.number(), self.number(), self.number(), self.next() as i32 % 200);
        let icmp = Icmp { v6: c % 2 == 0, kind: c as u8 % 16, code: d as u8 % 16, from: self.addr() };
        let holder = std::rc::Rc::new(owner(&self.comm(), c as u32));
        Close {
            duration_us: self.maybe(a),
            connect_us: self.maybe(b),
            accept_wait_us: self.maybe(c),
            tx_bytes: self.maybe(d),
            rx_bytes: self.maybe(a ^ b),
            retransmits: self.maybe(c as u32),
            drops: self.maybe(d),
            srtt_us: self.maybe(a as u32),
            min_rtt_us: self.maybe(b as u32),
            verdict: self.of(&Verdict::ALL),
            errno: self.maybe(e),
            held_by: self.maybe(holder),
            icmp: self.maybe(icmp),
            syns: self.maybe(a as u32),
            unanswered: self.maybe(d % 2 == 0),
            unacked_bytes: self.maybe(b),
            idle_us: self.maybe(c),
            limited: self.maybe(Limited::new(Some(a), [b, c, d])),
            delivery_rate: self.maybe(a),
            retransmitted_bytes: self.maybe(b),
            out_of_order: self.maybe(c as u32),
            reordering: self.maybe(d as u32),
            dsack: self.maybe(a as u32),
            preexisting: a % 2 == 0,
            incomplete: b % 2 == 0,
            sockmap: b % 3 == 0,
        }
    }
}

#[test]
fn any_event_fits_and_is_harmless() {
    let mut random = Random(7);
    let states: Vec<TcpState> = (1..=12).map(|n| TcpState::from_number(n).unwrap()).collect();
    let mut longest = 0;
    for _ in 0..50_000 {
        let facts = ProcessFacts { exe: Some(random.comm()), cgroup: Some(random.comm()), ..ProcessFacts::default() };
        let owner = Owner { facts: Arc::new(facts), ..owner(&random.comm(), random.number() as u32 % PID_MAX) };
        let (laddr, raddr) = (random.addr(), random.addr());
        let (lport, rport, ifindex) = (random.next() as u16, random.next() as u16, random.number() as u32);
        let role = random.of(&[Role::Client, Role::Server, Role::Listener, Role::Unknown]);
        let event_socket = Socket {
            laddr: random.maybe(laddr),
            lport: random.maybe(lport),
            raddr: if role == Role::Listener { None } else { random.maybe(raddr) },
            rport: if role == Role::Listener { None } else { random.maybe(rport) },
            ifindex: random.maybe(ifindex),
            role,
            owner: random.maybe(&owner),
            ..socket(None, "", "")
        };
        let close = random.close();
        let (number, errno) = (random.number(), random.next() as i32 % 200);
        let kind = match random.next() % 10 {
            0 => Kind::Listen { backlog: random.maybe(number as u32) },
            1 => Kind::Connect { errno: random.maybe(errno) },
            2 => Kind::Established { connect_us: random.maybe(number) },
            3 => Kind::Accept { accept_wait_us: random.maybe(number) },
            4 => Kind::Open { state: random.of(&states) },
            5 => Kind::State { old: random.of(&states), new: random.of(&states), state_us: random.maybe(number) },
            6 => Kind::Error { errno, accepts: None },
            7 => Kind::Lost { class: "lifecycle", count: number },
            _ => Kind::Close(&close),
        };
        for columns in [60, 72, 80, 100, 200, usize::MAX] {
            let wide = columns == usize::MAX;
            let options = TextOptions { wide, columns: Columns::new(columns), ..UTC };
            let text = lines(options, &[(Some(event_socket), kind)]);
            for line in text.lines() {
                assert!(line.chars().all(escape::is_plain), "{line:?}");
                assert!(!line.ends_with(' '));
                assert!(escape::width(line) <= columns, "{} {line}", escape::width(line));
                assert!(unicode_width::UnicodeWidthStr::width(line) <= columns, "{line}");
                if columns == 100 {
                    longest = longest.max(escape::width(line));
                }
            }
            // Details without room, and the ICMP error of a close, are in lines below.
            let line = text.lines().next().unwrap();
            if let Kind::State { old, new, .. } = kind {
                assert!(text.contains(&format!("{}→{}", old.name(), new.name())), "{text}");
            }
            for port in [event_socket.lport, event_socket.rport].into_iter().flatten() {
                assert!(line.contains(&format!(":{port}")), "{port} {line}");
            }
        }
    }
    assert_eq!(longest, 100, "the events are long enough to test something");
}

/// Makes a drop with this hint.
fn dropped(hint: &str) -> tracer_stream::Drop {
    let hint = Some(Box::new(tracer_stream::Hint::of(hint)));
    tracer_stream::Drop { reason_id: None, ends: None, seq: None, hint, ..sample::dropped() }
}

#[test]
fn a_hint_is_a_line_below() {
    let curl = owner("curl", 4121);
    let line = |hint: &str, wide| {
        let drop = dropped(hint);
        let mut sink = TextSink::new(Vec::new(), CLOCK, TextOptions { wide, ..UTC });
        let socket = Some(socket(Some(&curl), "10.0.0.1", "10.0.0.5"));
        sink.event(&Event { boot_ns: 0, socket, kind: Kind::Drop(&drop) });
        sink.flush();
        String::from_utf8(sink.into_inner()).unwrap()
    };
    let rule = "nft: table inet filter, chain input, handle 7 (tcp dport 443 drop)";
    let expected = format!(
        "12:01:02.123 drop            curl[4121]       10.0.0.1:40000 → 10.0.0.5:443    NETFILTER_DROP [S]\n             └ {rule}\n"
    );
    assert_eq!(line(rule, false), expected);
    // Text that others choose stays on its line, within its room.
    let long = line(&format!("nft: \u{1b}[2J\n{}", "x".repeat(200)), false);
    assert_eq!(long.lines().count(), 2, "{long}");
    assert!(!long.contains('\u{1b}') && long.lines().all(|line| line.chars().count() <= 100), "{long}");
    assert!(line(&"x".repeat(200), true).contains(&"x".repeat(200)));
}

#[test]
fn what_had_no_answer() {
    let curl = owner("curl", 4121);
    let client = socket(Some(&curl), "10.0.0.1", "10.90.3.2");
    let given_up = Close {
        verdict: Verdict::NoAnswer,
        duration_us: Some(1_500_000),
        syns: Some(2),
        retransmits: Some(1),
        tx_bytes: Some(0),
        rx_bytes: Some(0),
        ..CLOSE
    };
    let once = Close { duration_us: Some(200_000), syns: Some(1), ..given_up.clone() };
    let older = Close { duration_us: None, preexisting: true, syns: Some(7), ..given_up.clone() };
    let icmp = Icmp { v6: false, kind: 3, code: 13, from: "10.90.3.2".parse().unwrap() };
    let rejected = Close {
        verdict: Verdict::Unreachable,
        errno: Some(libc::EHOSTUNREACH),
        duration_us: Some(1_400),
        icmp: Some(icmp),
        ..once.clone()
    };
    let unanswered = Close { unanswered: Some(true), unacked_bytes: Some(0), idle_us: Some(4_000_000), ..CLOSE };
    let unacked =
        Close { unacked_bytes: Some(120), verdict: Verdict::TimedOut, errno: Some(110), ..unanswered.clone() };
    let answered = Close { unanswered: Some(false), ..unanswered.clone() };
    let events = [given_up, once, older, rejected, unanswered, unacked, answered].map(|close| (Some(client), close));
    let shown = |options| {
        let kinds: Vec<_> = events.iter().map(|(socket, close)| (*socket, Kind::Close(close))).collect();
        lines(options, &kinds)
    };
    let expected = "\
12:01:02.123 no_answer       curl[4121]       10.0.0.1:40000 → 10.90.3.2:443   after 1.50s, 2 SYNs
12:01:02.124 no_answer       curl[4121]       10.0.0.1:40000 → 10.90.3.2:443   after 200ms, 1 SYN
12:01:02.125 no_answer       curl[4121]       10.0.0.1:40000 → 10.90.3.2:443   after 7 SYNs
12:01:02.126 unreachable     curl[4121]       10.0.0.1:40000 → 10.90.3.2:443   1.4ms EHOSTUNREACH
             └ EHOSTUNREACH (ICMP 3/13 admin prohibited from 10.90.3.2)
12:01:02.127 closed_local    curl[4121]       :40000 → 10.90.3.2:443 1.24s unanswered (4.00s) ↑1.2MB
12:01:02.128 timed_out       curl[4121]       :40000 → 10.90.3.2:443 1.24s 120B never acknowledged
12:01:02.129 closed_local    curl[4121]       10.0.0.1:40000 → 10.90.3.2:443   1.24s ↑1.2MB ↓345B
";
    assert_eq!(shown(UTC), expected);
    let wide = shown(TextOptions { wide: true, ..UTC });
    assert!(wide.contains(" 1.4ms EHOSTUNREACH (ICMP 3/13 admin prohibited from 10.90.3.2) "), "{wide}");
}
