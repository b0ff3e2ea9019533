#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::net::Interface;
use crate::net::collect::empty;
use crate::proc::net::percpu::Table;
use crate::proc::net::snmp::Counter;
use crate::proc::net::softnet_stat::Cpu;
use tracer_tables::netlink::link::Link;

#[test]
fn counters_wrap_or_begin_again() {
    const TOP: u64 = 1 << 32;
    for (before, now, moved) in [
        (0, 0, Change::By(0)),
        (5, 7, Change::By(2)),
        (0, u64::MAX, Change::By(u64::MAX)),
        (TOP - 1, 4, Change::By(5)),
        (TOP - 1, 0, Change::By(1)),
        (TOP / 2 + 7, TOP / 2, Change::Reset),
        (TOP / 2 - 1, 5, Change::Reset),
        (1000, 5, Change::Reset),
        (TOP + 5, 6, Change::Reset),
        (u64::MAX, 4, Change::By(5)),
        (u64::MAX - 9, 0, Change::By(10)),
        (1 << 63, 0, Change::Reset),
    ] {
        assert_eq!(change(before, now), moved, "{before} to {now}");
    }
    assert_eq!(change32(u32::MAX, 1), 2);
    assert_eq!(change32(3, 5), 2);
}

fn counter(name: &str, value: i128) -> Counter {
    Counter { name: name.to_owned(), value }
}

fn interface(name: &str, ifindex: Option<u32>, rx_bytes: u64) -> Interface {
    let link = ifindex.map(|ifindex| Link {
        ifindex,
        name: name.to_owned(),
        up: true,
        running: true,
        loopback: false,
        mtu: None,
        operstate: None,
        rx_dropped: None,
        xdp: None,
    });
    let mut counters = [0; 16];
    counters[0] = rx_bytes;
    Interface { name: name.to_owned(), counters, link, addresses: Vec::new() }
}

#[test]
fn only_counters_that_moved_are_told() {
    let (mut before, mut now) = (empty(1), empty(1));
    now.boot_ns = before.boot_ns + 2_000_000_000;
    before.counters = vec![
        counter("TcpInSegs", 10),
        counter("TcpCurrEstab", 5),
        counter("TcpMaxConn", -1),
        counter("TcpOutSegs", 50),
        counter("TcpInErrs", 7),
    ];
    now.counters = vec![
        counter("TcpInSegs", 14),
        counter("TcpCurrEstab", 9),
        counter("TcpMaxConn", -1),
        counter("TcpOutSegs", 50),
        counter("TcpInErrs", 2),
        counter("TcpNew", 9),
    ];
    let changes = changes(&before, &now);
    assert!((changes.seconds - 2.0).abs() < 1e-9);
    assert_eq!(changes.counters, [("TcpInSegs".to_owned(), Change::By(4)), ("TcpInErrs".to_owned(), Change::Reset)]);
}

#[test]
fn devices_come_and_go() {
    let (mut before, mut now) = (empty(1), empty(1));
    before.interfaces = vec![
        interface("lo", Some(1), 10),
        interface("gone", Some(2), 7),
        interface("again", Some(3), 100),
        interface("unknown", None, 8),
    ];
    now.interfaces = vec![
        interface("lo", Some(1), 15),
        interface("again", Some(9), 4),
        interface("new", Some(10), 3),
        interface("unknown", None, 9),
    ];
    let told: Vec<_> = changes(&before, &now)
        .devices
        .into_iter()
        .map(|device| (device.name, device.presence, device.counters[0]))
        .collect();
    let expected = [
        ("lo", Presence::Stayed, Change::By(5)),
        // Another device of the same name.
        ("again", Presence::Appeared, Change::By(4)),
        ("new", Presence::Appeared, Change::By(3)),
        ("unknown", Presence::Stayed, Change::By(1)),
        ("gone", Presence::Vanished, Change::Reset),
    ];
    assert_eq!(told, expected.map(|(name, presence, change)| (name.to_owned(), presence, change)));
}

fn cpu(number: Option<u32>, processed: u32, dropped: u32) -> Cpu {
    let mut columns = vec![0; 13];
    columns[0] = processed;
    columns[1] = dropped;
    Cpu { cpu: number, columns }
}

#[test]
fn processors_come_and_go() {
    let (mut before, mut now) = (empty(1), empty(1));
    before.softnet = vec![cpu(Some(0), u32::MAX, 1), cpu(Some(1), 100, 0)];
    now.softnet = vec![cpu(Some(0), 9, 3), cpu(Some(2), 5000, 9)];
    assert_eq!(changes(&before, &now).softnet, [10, 2, 0]);
    before.softnet = vec![cpu(None, 1, 0), cpu(None, 1, 0)];
    now.softnet = vec![cpu(None, 9, 0)];
    assert_eq!(changes(&before, &now).softnet, [0; 3], "without numbers they cannot be told apart");
}

#[test]
fn tables_of_processors() {
    let (mut before, mut now) = (empty(1), empty(1));
    let table = |rows: &[[u32; 2]]| Table {
        names: vec!["entries".to_owned(), "drop".to_owned()],
        cpus: rows.iter().map(|row| row.to_vec()).collect(),
    };
    before.percpu.insert("nf_conntrack", table(&[[1, u32::MAX], [1, 4]]));
    now.percpu.insert("nf_conntrack", table(&[[9, 1], [9, 5]]));
    assert_eq!(changes(&before, &now).percpu, [("nf_conntrack", "drop".to_owned(), 3)]);
    now.percpu.insert("nf_conntrack", table(&[[9, 1]]));
    assert_eq!(changes(&before, &now).percpu, [], "another number of processors");
    let cpus = &now.percpu.get("nf_conntrack").unwrap().cpus;
    assert_eq!(cpus.len(), 1);
}
