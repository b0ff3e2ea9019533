//! A table that is formatted and parsed again stays the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{
    arp, dev, fib_trie, if_inet6, igmp, igmp6, ipv6_route, percpu, ptype, route, snmp, snmp6, sockstat, softnet_stat,
    wireless,
};
use super::{format, parsed};
use tracer_fuzz::Random;

const TABLES: u64 = 300;

/// Checks tables of up to 20 rows that `row` makes.
fn same<T: PartialEq + std::fmt::Debug>(
    mut row: impl FnMut(&mut Random) -> T,
    format: impl Fn(&[T]) -> String,
    read: impl Fn(&[u8]) -> (Vec<T>, Vec<u64>),
) {
    for seed in 1..=TABLES {
        let mut random = Random::new(seed * 0x9e37_79b9);
        let table: Vec<T> = (0..random.below(20)).map(|_| row(&mut random)).collect();
        let text = format(&table);
        let (again, malformed) = read(text.as_bytes());
        assert_eq!(again, table, "{text}");
        assert_eq!(malformed, [0; 0], "{text}");
    }
}

fn v4(random: &mut Random) -> Ipv4Addr {
    Ipv4Addr::from(random.bits() as u32)
}

fn v6(random: &mut Random) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(random.any()) << 64 | u128::from(random.bits()))
}

#[test]
fn dev() {
    let row = |r: &mut Random| dev::Device { name: r.name(), counters: std::array::from_fn(|_| r.any()) };
    same(row, format::dev, |text| parsed(text, |t, p, m| dev::read(t, p, m)));
}

#[test]
fn wireless() {
    let row = |r: &mut Random| wireless::Wireless {
        name: r.name(),
        status: r.bits() as u16,
        link: r.below(256) as i32,
        level: -(r.below(256) as i32),
        noise: -(r.below(256) as i32),
        discarded: std::array::from_fn(|_| r.any()),
    };
    same(row, format::wireless, |text| parsed(text, |t, p, m| wireless::read(t, p, m)));
}

#[test]
fn if_inet6() {
    let row = |r: &mut Random| if_inet6::Address {
        address: v6(r),
        ifindex: r.bits() as u32,
        prefix: r.below(129) as u8,
        scope: r.bits() as u8,
        flags: r.bits() as u8,
        device: r.name(),
    };
    same(row, format::if_inet6, |text| parsed(text, |t, p, m| if_inet6::read(t, p, m)));
}

#[test]
fn igmp() {
    let row = |r: &mut Random| igmp::Group {
        ifindex: r.below(3) as u32,
        device: ["lo", "eth0"][r.below(2)].to_owned(),
        group: v4(r),
        users: r.bits() as u32,
    };
    same(row, format::igmp, |text| parsed(text, |t, p, m| igmp::read(t, p, m)));
}

#[test]
fn igmp6() {
    let row = |r: &mut Random| igmp6::Group {
        ifindex: r.bits() as u32,
        device: r.name(),
        group: v6(r),
        users: r.bits() as u32,
    };
    same(row, format::igmp6, |text| parsed(text, |t, p, m| igmp6::read(t, p, m)));
}

#[test]
fn ptype() {
    let row = |r: &mut Random| ptype::Receiver {
        protocol: (r.below(3) > 0).then(|| r.bits() as u16),
        device: (r.below(2) > 0).then(|| "a-device-name-x"[..1 + r.below(15)].to_owned()),
        function: ["ip_rcv", "packet_rcv [af_packet]"][r.below(2)].to_owned(),
    };
    same(row, format::ptype, |text| parsed(text, |t, p, m| ptype::read(t, p, m)));
}

#[test]
fn route() {
    let row = |r: &mut Random| route::Route {
        device: (r.below(5) > 0).then(|| r.name()),
        destination: v4(r),
        prefix: r.below(33) as u8,
        gateway: (r.below(2) > 0).then(|| Ipv4Addr::from(1 + r.bits() as u32 / 2)),
        flags: r.bits() as u16,
        metric: r.bits() as u32,
        mtu: r.below(65536) as u32,
    };
    same(row, format::route, |text| parsed(text, |t, p, m| route::read(t, p, m)));
}

#[test]
fn fib_trie() {
    let row = |r: &mut Random| fib_trie::Route {
        table: [fib_trie::MAIN, fib_trie::LOCAL, r.bits() as u32][r.below(3)],
        destination: v4(r),
        prefix: r.below(33) as u8,
        scope: ["universe", "site", "link", "host", "nowhere", "scope-7"][r.below(6)].to_owned(),
        kind: ["UNICAST", "LOCAL", "BROADCAST", "type 99"][r.below(4)].to_owned(),
    };
    same(row, format::fib_trie, |text| parsed(text, |t, p, m| fib_trie::read(t, p, m)));
}

#[test]
fn ipv6_route() {
    let row = |r: &mut Random| {
        let gateway = (r.below(2) > 0).then(|| v6(r));
        let flags = r.bits() as u32 & !2 | if gateway.is_some() { 2 } else { 0 };
        ipv6_route::Route {
            destination: v6(r),
            prefix: r.below(129) as u8,
            source: v6(r),
            source_prefix: r.below(129) as u8,
            gateway,
            metric: r.bits() as u32,
            flags,
            device: r.name(),
        }
    };
    same(row, format::ipv6_route, |text| parsed(text, |t, p, m| ipv6_route::read(t, p, m)));
}

#[test]
fn arp() {
    let row = |r: &mut Random| arp::Neighbour {
        address: v4(r),
        hardware: r.bits() as u16,
        flags: r.bits() as u32,
        lladdr: ["02:fc:00:00:00:05", "", "80:00:00:48:fe:80:00:00:00:00"][r.below(3)].to_owned(),
        device: r.name(),
    };
    same(row, format::arp, |text| parsed(text, |t, p, m| arp::read(t, p, m)));
}

#[test]
fn snmp() {
    let row = |r: &mut Random| {
        let name = format!("{}{}", ["Ip", "Tc", "Ud"][r.below(3)], ["Out", "In", "MaxConn", "InType3"][r.below(4)]);
        snmp::Counter { name, value: if r.below(9) == 0 { -1 } else { r.any().into() } }
    };
    same(row, |table| format::snmp(table, |_| 2), |text| parsed(text, |t, p, m| snmp::read(t, p, m)));
}

#[test]
fn snmp6() {
    let row = |r: &mut Random| snmp::Counter { name: format!("Ip6X{}", r.below(99)), value: r.any().into() };
    same(row, format::snmp6, |text| parsed(text, |t, p, m| snmp6::read(t, p, m)));
}

#[test]
fn sockstat() {
    let row = |r: &mut Random| sockstat::Entry {
        group: ["TCP", "UDP6", "sockets"][r.below(3)].to_owned(),
        key: ["inuse", "mem"][r.below(2)].to_owned(),
        value: r.any(),
    };
    same(row, format::sockstat, |text| parsed(text, |t, p, m| sockstat::read(t, p, m)));
}

#[test]
fn softnet_stat() {
    let row = |r: &mut Random| {
        let columns: Vec<u32> = (0..[9, 11, 13, 15][r.below(4)]).map(|_| r.bits() as u32).collect();
        softnet_stat::Cpu { cpu: columns.get(12).copied(), columns }
    };
    same(row, format::softnet_stat, |text| parsed(text, |t, p, m| softnet_stat::read(t, p, m)));
}

#[test]
fn percpu() {
    for seed in 1..=TABLES {
        let mut random = Random::new(seed);
        let names: Vec<String> = (0..1 + random.below(20)).map(|n| format!("name{n}")).collect();
        let cpus = (0..random.below(9)).map(|_| names.iter().map(|_| random.bits() as u32).collect()).collect();
        let table = percpu::Table { names, cpus };
        let text = format::percpu(&table);
        assert_eq!(parsed(text.as_bytes(), |t, p, m| percpu::read(t, p, m)), (table, vec![]), "{text}");
    }
}
