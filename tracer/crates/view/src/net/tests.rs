#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::terminal::Columns;
use crate::{escape, ink};
use serde_json::Value;
use tracer_host::net::change::{Change, changes};
use tracer_host::net::collect::empty;
use tracer_host::net::health;
use tracer_host::net::sockets::{Destination, Owned, Owner, STATES};
use tracer_host::net::{Conntrack, Interface};
use tracer_host::proc::net::snmp::Counter;
use tracer_host::proc::net::{ipv6_route, ptype, route, softnet_stat};
use tracer_host::sockets::diag::listen::Listener;
use tracer_tables::netlink::{link::Link, neigh::Neighbour};

use super::*;

pub(crate) const EVIL: &str = "evil\u{1b}[2J\n\u{202e}\u{9b}31m";

pub(crate) fn interface(name: &str, n: u64) -> Interface {
    let link = Link {
        ifindex: n as u32,
        name: name.to_owned(),
        up: n != 5,
        running: n != 4,
        loopback: false,
        mtu: Some(1500),
        operstate: Some("lowerlayerdown"),
        rx_dropped: None,
        xdp: None,
    };
    let addresses = ["203.0.113.255", "2001:db8:1234:5678:9abc:def0:1234:5678", "fd00::1", "fe80::1"];
    let addresses = addresses.iter().map(|address| (address.parse().unwrap(), 64)).collect();
    Interface { name: name.to_owned(), counters: [(u64::MAX >> 24) >> n; 16], link: Some(link), addresses }
}

/// Makes a picture in which everything is long, numerous, and hostile.
pub(crate) fn full() -> Picture {
    let mut picture = empty(4_026_531_840);
    picture.boot_ns = 1_000_000_000_000_000;
    picture.netns.name = Some(EVIL.to_owned());
    picture.interfaces = (1..30).map(|n| interface(&format!("{n}{EVIL}"), n)).collect();
    picture.counters = health::counters::RULES
        .iter()
        .map(|rule| Counter { name: rule.name.to_owned(), value: 999_999_999_999 })
        .chain([Counter { name: "TcpMaxConn".to_owned(), value: -1 }, Counter { name: EVIL.to_owned(), value: 5 }])
        .collect();
    let address = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
    picture.listeners = Some(
        (0..20).map(|n| Listener { address, port: 65_535 - n, waiting: 65_536, limit: 65_535, inode: 1 }).collect(),
    );
    picture.limits.port_range = Some((1024, 65_535));
    picture.sockets.destinations =
        (0..20).map(|n| Destination { laddr: address, raddr: address, rport: n, ports: 64_512 }).collect();
    let owner = |pid| Owner::Process { pid, comm: EVIL.to_owned() };
    picture.sockets.owners =
        (0..20).map(|n| Owned { owner: owner(u32::MAX - n), states: [u64::from(u32::MAX); STATES] }).collect();
    picture.sockets.owners.push(Owned { owner: Owner::Unknown, states: [1; STATES] });
    picture.sockets.states = [1; STATES];
    picture.sockets.denied = 5;
    picture.conntrack = Some(Conntrack {
        count: Some(2_097_152),
        max: Some(2_097_152),
        states: Some([((EVIL.to_owned(), String::new()), 4)].into()),
    });
    picture.neighbours =
        Some((0..20).map(|n| Neighbour { ifindex: n, address, lladdr: vec![0xfe; 20], state: 0x20 }).collect());
    picture.softnet = vec![softnet_stat::Cpu { cpu: None, columns: vec![u32::MAX; 15] }; 4];
    picture.routes = vec![route::Route {
        device: Some(EVIL.to_owned()),
        destination: [0, 0, 0, 0].into(),
        prefix: 0,
        gateway: Some([1, 2, 3, 4].into()),
        flags: 3,
        metric: u32::MAX,
        mtu: 0,
    }];
    let v6 = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
    picture.ipv6_routes = vec![ipv6_route::Route {
        destination: v6,
        prefix: 0,
        source: v6,
        source_prefix: 0,
        gateway: Some(v6),
        metric: 1,
        flags: 3,
        device: EVIL.to_owned(),
    }];
    let function = "packet_rcv [af_packet]".to_owned();
    picture.receivers = vec![ptype::Receiver { protocol: None, device: Some(EVIL.to_owned()), function }];
    picture.gaps = vec!["nf_conntrack: only root may read it".to_owned(), EVIL.to_owned()];
    picture.malformed.count = 9;
    picture.malformed.places = vec![(format!("/proc/net/{EVIL}").into(), 7); 8];
    picture
}

fn page(picture: &Picture, changes: Option<&Changes>, options: Options) -> String {
    let findings = health::assess(picture, changes);
    write_text(&View { picture, changes, findings: &findings }, options, 0)
}

#[test]
fn never_wider_than_the_page_and_never_hostile() {
    let (before, now) = (empty(4_026_531_840), full());
    let moved = changes(&before, &now);
    for (changes, all, columns) in [None, Some(&moved)]
        .into_iter()
        .flat_map(|changes| [false, true].map(|all| (changes, all)))
        .flat_map(|(changes, all)| [60, 80, 100, 200].map(|columns| (changes, all, columns)))
    {
        let options = Options { all, utc: true, columns: Columns::new(columns), ..Options::default() };
        let plain = page(&now, changes, options);
        for line in plain.lines() {
            assert!(escape::width(line) <= columns, "{columns}: {}: {line}", escape::width(line));
            assert!(line.chars().all(escape::is_plain), "{line:?}");
            assert_eq!(line.trim_end(), line);
        }
        let colored = page(&now, changes, Options { color: true, ..options });
        assert!(colored.contains("\x1b[31mSICK"));
        assert_eq!(ink::without(&colored), plain);
    }
    let wide = page(&now, None, Options { columns: Columns::ENDLESS, ..Options::default() });
    assert!(wide.contains("evil\\x1b[2J\\n\\u{202e}\\u{9b}31m[4294967295]"), "{wide}");
}

#[test]
fn one_page_however_much_there_is() {
    let text = page(&full(), None, Options { quiet: true, ..Options::default() });
    assert!(text.lines().count() <= 50, "{}: {text}", text.lines().count());
    assert!(text.contains("more: --all") && text.contains("tracer explain "), "{text}");
    let all = page(&full(), None, Options { all: true, ..Options::default() });
    assert!(all.lines().count() > 150);
    assert!(all.contains("TcpMaxConn") && all.contains("-1"));
}

#[test]
fn nothing_is_calm_and_short() {
    let text = page(&empty(7), None, Options::default());
    assert!(text.starts_with("all calm in netns 7\n"), "{text}");
    assert!(text.lines().count() <= 12, "{text}");
}

#[test]
fn what_came_went_and_began_again() {
    let (mut before, mut now) = (empty(7), empty(7));
    now.boot_ns = before.boot_ns + 2_000_000_000;
    let device = |name: &str, ifindex, bytes| {
        let mut device = interface(name, ifindex);
        device.counters = [0; 16];
        device.counters[0] = bytes;
        device.addresses.clear();
        device
    };
    before.interfaces = vec![device("lo", 1, 1000), device("gone", 2, 5), device("back", 3, 9000)];
    now.interfaces = vec![device("lo", 1, 5000), device("new", 6, 4), device("back", 3, 10)];
    before.counters =
        vec![Counter { name: "TcpInSegs".into(), value: 5 }, Counter { name: "TcpOutSegs".into(), value: 9 }];
    now.counters =
        vec![Counter { name: "TcpInSegs".into(), value: 25 }, Counter { name: "TcpOutSegs".into(), value: 2 }];
    let moved = changes(&before, &now);
    assert_eq!(moved.counters[1].1, Change::Reset);
    let text = page(&now, Some(&moved), Options { utc: true, ..Options::default() });
    for line in [
        "lo         up      2.0kB",
        "GONE",
        "NEW",
        "RESET",
        "2 moved: TcpInSegs 10/s, TcpOutSegs began again",
        "00:00:00.000, what moved in 2.0 s",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&text).contains(&squeezed(line)), "{line}: {text}");
    }
}

#[test]
fn an_object_with_a_member_for_each_section() {
    let (before, now) = (empty(4_026_531_840), full());
    let moved = changes(&before, &now);
    for changes in [None, Some(&moved)] {
        let findings = health::assess(&now, changes);
        let mut out = Vec::new();
        write_json(&mut out, &View { picture: &now, changes, findings: &findings }, 0);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(
            text.starts_with("{\"v\":1,\"event\":\"net\",\"time\":\"1970-01-01T00:00:00.000000000Z\",\"boot_ns\":")
        );
        let object: Value = serde_json::from_str(&text).unwrap();
        for member in [
            "findings",
            "interfaces",
            "wireless",
            "sockets",
            "listen_queues",
            "ports",
            "counters",
            "sockstat",
            "memory",
            "conntrack",
            "softnet",
            "neighbours",
            "routes",
            "multicast",
            "receivers",
            "tables",
            "missing",
        ] {
            assert!(!object[member].is_null(), "{member}");
        }
        assert_eq!(object["changes"].is_null(), changes.is_none());
        assert_eq!(object["netns_name"], EVIL);
        assert_eq!(object["counters"]["TcpMaxConn"], -1);
        assert_eq!(object["findings"].as_array().unwrap().len(), findings.len());
        assert_eq!(object["sockets"]["owners"].as_array().unwrap().len(), 21);
    }
}
