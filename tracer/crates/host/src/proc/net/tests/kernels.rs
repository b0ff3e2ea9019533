//! The parsers understand every line of the files of real kernels, and agree with `ip` there.

use std::net::{IpAddr, Ipv4Addr};

use super::super::{
    arp, dev, fib_trie, if_inet6, igmp, igmp6, ipv6_route, nf_conntrack, percpu, ptype, route, snmp, snmp6, sockstat,
    softnet_stat,
};
use super::{fixtures, format, parsed};

/// Reads the file `name` of each kernel with `read`, which must understand every line.
fn whole<T>(
    name: &str,
    read: impl Fn(&[u8], &std::path::Path, &mut super::Malformed) -> std::io::Result<T>,
) -> Vec<(&'static str, T, String)> {
    let files = fixtures::each(name);
    assert!(!files.is_empty(), "{name}");
    files
        .into_iter()
        .map(|(kernel, text)| {
            let (table, malformed) = parsed(&text, &read);
            assert_eq!(malformed, [0; 0], "{kernel}/{name}");
            (kernel, table, String::from_utf8(text).unwrap())
        })
        .collect()
}

#[test]
fn dev() {
    for (kernel, devices, text) in whole("dev", |t, p, m| dev::read(t, p, m)) {
        assert_eq!(format::dev(&devices), text, "{kernel}");
        assert!(["lo", "wire"].iter().all(|name| devices.iter().any(|device| device.name == *name)), "{kernel}");
        assert!(devices.iter().any(|device| device.counters[1] > 0), "{kernel}");
    }
}

#[test]
fn addresses() {
    for (kernel, addresses, text) in whole("if_inet6", |t, p, m| if_inet6::read(t, p, m)) {
        assert_eq!(format::if_inet6(&addresses), text, "{kernel}");
        let wire = addresses.iter().find(|address| address.address == "fd07::1".parse::<IpAddr>().unwrap()).unwrap();
        assert_eq!((wire.prefix, wire.device.as_str()), (64, "wire"), "{kernel}");
    }
}

#[test]
fn groups() {
    for (kernel, groups, text) in whole("igmp", |t, p, m| igmp::read(t, p, m)) {
        assert!(groups.iter().any(|g| g.device == "wire" && g.group == Ipv4Addr::new(224, 0, 0, 1)), "{kernel}");
        // The parser ignores the column `Count`; the number of groups must be the same.
        assert_eq!(format::igmp(&groups).lines().count(), text.lines().count(), "{kernel}");
    }
    for (kernel, groups, text) in whole("igmp6", |t, p, m| igmp6::read(t, p, m)) {
        assert_eq!(groups.len(), text.lines().count(), "{kernel}");
        assert!(
            groups.iter().any(|g| g.device == "wire" && g.group == "ff02::1".parse::<IpAddr>().unwrap()),
            "{kernel}"
        );
    }
}

#[test]
fn receivers() {
    for (kernel, receivers, text) in whole("ptype", |t, p, m| ptype::read(t, p, m)) {
        assert_eq!(
            format::ptype(&receivers).lines().skip(1).collect::<Vec<_>>(),
            text.lines().skip(1).collect::<Vec<_>>()
        );
        assert!(receivers.iter().any(|r| r.protocol == Some(0x800) && r.function == "ip_rcv"), "{kernel}");
    }
}

#[test]
fn routes() {
    for (kernel, routes, text) in whole("route", |t, p, m| route::read(t, p, m)) {
        // The route with an MTU: the file shows it only if the route sets advmss.
        assert_eq!(format::route(&routes), text, "{kernel}");
        let default = routes.iter().find(|route| route.prefix == 0).unwrap();
        assert_eq!(default.gateway, Some(Ipv4Addr::new(10, 7, 0, 2)), "{kernel}");
        let refused = routes.iter().find(|route| route.device.is_none()).unwrap();
        assert_eq!((refused.destination, refused.prefix), (Ipv4Addr::new(192, 0, 2, 0), 24));
        assert_ne!(refused.flags & route::RTF_REJECT, 0);
        assert!(routes.iter().any(|route| route.metric == 50));
    }
    for (kernel, routes, _) in whole("ipv6_route", |t, p, m| ipv6_route::read(t, p, m)) {
        let unicast: Vec<_> = routes.iter().filter(|route| route.is_unicast()).collect();
        let default = unicast.iter().find(|route| route.prefix == 0).unwrap();
        assert_eq!(default.gateway, Some("fd07::2".parse().unwrap()), "{kernel}");
        assert!(unicast.iter().all(|route| route.prefix < 128), "{kernel}: {unicast:?}");
    }
}

#[test]
fn tries() {
    for (kernel, routes, text) in whole("fib_trie", |t, p, m| fib_trie::read(t, p, m)) {
        assert_eq!(routes.len(), text.lines().filter(|line| line.trim().starts_with('/')).count(), "{kernel}");
        let own: std::collections::BTreeSet<Ipv4Addr> =
            routes.iter().filter(|route| route.is_own_address()).map(|route| route.destination).collect();
        assert_eq!(own.into_iter().collect::<Vec<_>>(), [Ipv4Addr::new(10, 7, 0, 1), Ipv4Addr::LOCALHOST], "{kernel}");
        let tables: std::collections::BTreeSet<u32> = routes.iter().map(|route| route.table).collect();
        assert_eq!(tables.into_iter().collect::<Vec<_>>(), [100, fib_trie::MAIN, fib_trie::LOCAL], "{kernel}");
        let default = routes.iter().find(|route| route.prefix == 0).unwrap();
        assert_eq!((default.destination, default.kind.as_str()), (Ipv4Addr::UNSPECIFIED, "UNICAST"), "{kernel}");
        assert!(routes.iter().any(|route| route.kind == "UNREACHABLE" && route.scope == "universe"), "{kernel}");
    }
}

#[test]
fn neighbours() {
    for (kernel, neighbours, text) in whole("arp", |t, p, m| arp::read(t, p, m)) {
        assert_eq!(format::arp(&neighbours), text, "{kernel}");
        if kernel != "linux-6.18" {
            let state = |host| neighbours.iter().find(|n| n.address == Ipv4Addr::new(10, 7, 0, host)).unwrap().flags;
            assert_eq!((state(2), state(99)), (arp::ATF_COM, 0), "{kernel}");
        }
    }
}

/// Returns the length of the group in a counter's name, up to the colon in the file.
fn group_of(name: &str) -> usize {
    ["IcmpMsg", "UdpLite", "TcpExt", "IpExt", "MPTcpExt", "Icmp", "Ip", "Tcp", "Udp"]
        .iter()
        .find(|group| name.starts_with(**group))
        .unwrap_or_else(|| panic!("{name}"))
        .len()
}

#[test]
fn counters() {
    for name in ["snmp", "netstat"] {
        for (kernel, counters, text) in whole(name, |t, p, m| snmp::read(t, p, m)) {
            assert_eq!(format::snmp(&counters, group_of), text, "{kernel}/{name}");
        }
    }
    for (kernel, counters, text) in whole("snmp6", |t, p, m| snmp6::read(t, p, m)) {
        assert_eq!(format::snmp6(&counters), text, "{kernel}");
    }
    // Every counter that a rule names exists in one of these kernels.
    let mut names: Vec<String> = Vec::new();
    for (_, counters, _) in whole("snmp", |t, p, m| snmp::read(t, p, m)) {
        names.extend(counters.into_iter().map(|counter| counter.name));
    }
    for (_, counters, _) in whole("netstat", |t, p, m| snmp::read(t, p, m)) {
        names.extend(counters.into_iter().map(|counter| counter.name));
    }
    for (_, counters, _) in whole("snmp6", |t, p, m| snmp6::read(t, p, m)) {
        names.extend(counters.into_iter().map(|counter| counter.name));
    }
    for rule in crate::net::health::counters::RULES {
        assert!(names.iter().any(|name| name == rule.name), "{}", rule.name);
        assert!(rule.meaning.chars().count() <= 48, "{}", rule.meaning);
        use crate::net::health::counters::Measure;
        if let Measure::Share { of, .. } | Measure::AnyOf { of, .. } = rule.measure {
            assert!(names.iter().any(|name| name == of), "{of}");
        }
    }
}

#[test]
fn sockets() {
    for name in ["sockstat", "sockstat6"] {
        for (kernel, entries, text) in whole(name, |t, p, m| sockstat::read(t, p, m)) {
            assert_eq!(format::sockstat(&entries), text, "{kernel}");
        }
    }
}

#[test]
fn cpus() {
    for (kernel, cpus, text) in whole("softnet_stat", |t, p, m| softnet_stat::read(t, p, m)) {
        assert_eq!(format::softnet_stat(&cpus), text, "{kernel}");
        assert_eq!(cpus.iter().map(|cpu| cpu.cpu).collect::<Vec<_>>(), [Some(0), Some(1)], "{kernel}");
        assert!(cpus[0].processed() > 0, "{kernel}");
    }
    for (kernel, table, _) in whole("stat/nf_conntrack", |t, p, m| percpu::read(t, p, m)) {
        assert!(["drop", "early_drop", "insert_failed"].iter().all(|name| table.sum(name) == Some(0)), "{kernel}");
        if kernel != "linux-6.18" {
            assert_eq!(table.sum("entries"), Some(4), "{kernel}: two connections, told by two CPUs");
        }
    }
    for (kernel, table, _) in whole("stat/arp_cache", |t, p, m| percpu::read(t, p, m)) {
        assert!(table.sum("table_fulls").is_some() && table.sum("lookups") > Some(0), "{kernel}");
    }
}

#[test]
fn connections() {
    for (kernel, text) in fixtures::each("nf_conntrack") {
        let lines: Vec<&[u8]> = text.split(|c| *c == b'\n').filter(|line| !line.is_empty()).collect();
        let states: Vec<_> = lines.iter().map(|line| nf_conntrack::parse(line).unwrap()).collect();
        assert!(states.iter().all(|entry| entry.family == 4 && entry.protocol == "tcp"), "{kernel}");
        assert!(states.iter().all(|entry| entry.dport == Some(80) && entry.sport.is_some()), "{kernel}");
        if kernel != "linux-6.18" {
            let lost = states.iter().find(|entry| entry.dst == Ipv4Addr::new(10, 7, 0, 99)).unwrap();
            assert_eq!((lost.state, lost.unreplied, lost.assured), (Some("SYN_SENT"), true, false), "{kernel}");
        }
    }
}

#[test]
fn connections_of_every_protocol() {
    for (line, state, timeout, ports) in [
        (
            "ipv6     10 udp      17 29 src=::1 dst=::1 sport=1 dport=2 [UNREPLIED] src=::1 dst=::1 sport=2 dport=1 mark=0 use=2",
            None,
            Some(29),
            (Some(1), Some(2)),
        ),
        (
            "ipv4     2 icmp     1 29 src=1.2.3.4 dst=1.2.3.5 type=8 code=0 id=77 src=1.2.3.5 dst=1.2.3.4 type=0 code=0 id=77 \
          mark=0 zone=0 use=2",
            None,
            Some(29),
            (None, None),
        ),
        (
            "ipv4     2 gre      47 179 timeout=30, stream_timeout=180 src=1.2.3.4 dst=1.2.3.5 srckey=0x0 dstkey=0x0 \
          src=1.2.3.5 dst=1.2.3.4 srckey=0x0 dstkey=0x0 use=2",
            None,
            Some(179),
            (None, None),
        ),
        (
            "ipv4     2 tcp      6 src=1.2.3.4 dst=1.2.3.5 sport=1 dport=2 src=1.2.3.5 dst=1.2.3.4 sport=2 dport=1 \
          [HW_OFFLOAD] mark=0 use=2",
            None,
            None,
            (Some(1), Some(2)),
        ),
        (
            "ipv4     2 unknown  89 599 src=1.2.3.4 dst=224.0.0.5 [UNREPLIED] src=224.0.0.5 dst=1.2.3.4 use=2",
            None,
            Some(599),
            (None, None),
        ),
        (
            "ipv4     2 sctp     132 9 ESTABLISHED src=1.2.3.4 dst=1.2.3.5 sport=1 dport=2 src=1.2.3.5 dst=1.2.3.4 sport=2 \
          dport=1 [ASSURED] use=1",
            Some("ESTABLISHED"),
            Some(9),
            (Some(1), Some(2)),
        ),
    ] {
        let entry = nf_conntrack::parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        assert_eq!((entry.state, entry.timeout, (entry.sport, entry.dport)), (state, timeout, ports), "{line}");
    }
    for line in [
        "",
        "ipv4 2 tcp 6",
        "ipv4 2 tcp 6 1 A src=::1 dst=::1 src=::1 dst=::1",
        "ipx 4 x 1 src=1.2.3.4 dst=1.2.3.4",
        "ipv4 2 tcp 6 1 A src=1.2.3.4 dst=1.2.3.4 sport=1 dport=2",
    ] {
        assert!(nf_conntrack::parse(line.as_bytes()).is_none(), "{line}");
    }
}
