#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::counters::{Measure, RULES};
use super::*;
use crate::net::change::{Change, Changes, DeviceChange, Presence};
use crate::net::collect::empty;
use crate::net::sockets::{Destination, Owned, Owner, STATES};
use crate::net::{Conntrack, Interface};
use crate::proc::net::percpu::Table;
use crate::proc::net::snmp::Counter;
use crate::proc::net::sockstat::Entry;
use crate::proc::net::softnet_stat::Cpu;
use crate::sockets::diag::listen::Listener;
use tracer_stream::TcpState;
use tracer_tables::netlink::{link::Link, neigh::Neighbour};

fn counters(picture: &mut Picture, counters: &[(&str, u64)]) {
    picture.counters =
        counters.iter().map(|(name, value)| Counter { name: (*name).to_owned(), value: (*value).into() }).collect();
}

/// Returns severity, section and what of each finding.
fn found(picture: &Picture, changes: Option<&Changes>) -> Vec<(Severity, &'static str, String)> {
    assess(picture, changes).into_iter().map(|finding| (finding.severity, finding.section, finding.what)).collect()
}

#[test]
fn nothing_is_calm() {
    assert_eq!(found(&empty(1), None), []);
}

#[test]
fn counters_by_count_and_by_share() {
    let mut picture = empty(1);
    for (list, expected) in [
        (&[("TcpExtTCPAbortOnMemory", 1)][..], Some(Severity::Sick)),
        (&[("TcpExtTCPBacklogDrop", 1)], Some(Severity::Watch)),
        (&[("TcpRetransSegs", 99), ("TcpOutSegs", 10_000)], None),
        (&[("TcpRetransSegs", 102), ("TcpOutSegs", 10_000)], Some(Severity::Watch)),
        (&[("TcpRetransSegs", 600), ("TcpOutSegs", 10_000)], Some(Severity::Sick)),
        (&[("TcpRetransSegs", 9), ("TcpOutSegs", 10)], None),
        (&[("TcpExtListenOverflows", 1), ("TcpPassiveOpens", 1_000_000)], Some(Severity::Watch)),
        (&[("TcpExtListenOverflows", 10), ("TcpPassiveOpens", 100)], Some(Severity::Sick)),
        (&[("TcpExtListenOverflows", 10)], Some(Severity::Sick)),
        (&[("TcpInSegs", 1_000_000), ("TcpOutRsts", 1_000_000)], None),
    ] {
        counters(&mut picture, list);
        let findings = assess(&picture, None);
        assert_eq!(findings.first().map(|finding| finding.severity), expected, "{list:?}");
        assert!(findings.iter().all(|finding| finding.explain == Some(list[0].0)), "{list:?}");
    }
}

#[test]
fn every_rule_can_be_broken_and_is_explained() {
    for (at, rule) in RULES.iter().enumerate() {
        assert!(RULES[..at].iter().all(|other| other.name != rule.name), "{} twice", rule.name);
        let mut picture = empty(1);
        counters(&mut picture, &[(rule.name, 1000)]);
        let findings = assess(&picture, None);
        assert_eq!(findings.len(), 1, "{}", rule.name);
        assert!(tracer_explain::counter(rule.name).is_some());
        assert!(findings[0].percent.is_none_or(|percent| percent <= 100.0), "{}", rule.name);
        if let Measure::Share { watch, sick, .. } = rule.measure {
            assert!(watch < sick, "{}", rule.name);
        }
    }
    assert_eq!(tracer_explain::counter("TcpNonsense"), None);
}

#[test]
fn with_changes_only_what_moved_counts() {
    let mut picture = empty(1);
    counters(&mut picture, &[("TcpExtListenOverflows", 1000), ("TcpPassiveOpens", 1000)]);
    let mut changes = Changes { seconds: 1.0, ..Changes::default() };
    assert_eq!(found(&picture, Some(&changes)), []);
    changes.counters = vec![("TcpExtListenOverflows".to_owned(), Change::By(3))];
    assert_eq!(found(&picture, Some(&changes)).len(), 1);
    changes.counters = vec![("TcpExtListenOverflows".to_owned(), Change::Reset)];
    assert_eq!(found(&picture, Some(&changes)), []);
}

#[test]
fn listen_queues_by_their_limit() {
    let mut picture = empty(1);
    for (waiting, limit, expected) in [
        (0, 128, None),
        (63, 128, None),
        (64, 128, Some(Severity::Watch)),
        (116, 128, Some(Severity::Sick)),
        (129, 128, Some(Severity::Sick)),
        (0, 0, None),
        (1, 0, Some(Severity::Sick)),
    ] {
        let address = "::1".parse().unwrap();
        picture.listeners = Some(vec![Listener { address, port: 80, waiting, limit, inode: 1 }]);
        let findings = found(&picture, None);
        assert_eq!(findings.first().map(|finding| finding.0), expected, "{waiting} of {limit}");
        assert!(findings.iter().all(|finding| finding.2 == "[::1]:80"));
    }
    picture.listeners = None;
    picture.sockets.waiting = vec![(1, "127.0.0.1".parse().unwrap(), 80, 5), (2, "::".parse().unwrap(), 81, 0)];
    assert_eq!(found(&picture, None), [(Severity::Watch, "listen_queues", "127.0.0.1:80".to_owned())]);
}

#[test]
fn conntrack_by_its_limit_and_its_losses() {
    let mut picture = empty(1);
    for (count, max, expected) in
        [(79, 100, None), (80, 100, Some(Severity::Watch)), (95, 100, Some(Severity::Sick)), (5, 0, None)]
    {
        picture.conntrack = Some(Conntrack { count: Some(count), max: Some(max), states: None });
        assert_eq!(found(&picture, None).first().map(|finding| finding.0), expected, "{count} of {max}");
    }
    picture.conntrack = None;
    let table = Table { names: vec!["drop".into(), "early_drop".into()], cpus: vec![vec![1, 0], vec![0, 2]] };
    picture.percpu.insert("nf_conntrack", table);
    let expected =
        [(Severity::Sick, "conntrack", "nf_conntrack drop"), (Severity::Watch, "conntrack", "nf_conntrack early_drop")];
    assert_eq!(found(&picture, None), expected.map(|(severity, section, what)| (severity, section, what.to_owned())));
    let changes = Changes { percpu: vec![("nf_conntrack", "early_drop".to_owned(), 1)], ..Changes::default() };
    assert_eq!(found(&picture, Some(&changes)).len(), 1);
}

#[test]
fn memory_by_its_pressure() {
    let mut picture = empty(1);
    picture.limits.tcp_mem = Some([50, 100, 200]);
    picture.limits.tcp_max_orphans = Some(10);
    for (pages, orphans, expected) in [
        (79, 0, None),
        (80, 0, Some(Severity::Watch)),
        (100, 0, Some(Severity::Sick)),
        (0, 8, Some(Severity::Watch)),
        (0, 10, Some(Severity::Sick)),
    ] {
        let entry = |key: &str, value| Entry { group: "TCP".to_owned(), key: key.to_owned(), value };
        picture.sockstat = vec![entry("mem", pages), entry("orphan", orphans)];
        assert_eq!(found(&picture, None).first().map(|finding| finding.0), expected, "{pages} {orphans}");
    }
    picture.limits = crate::net::Limits::default();
    assert_eq!(found(&picture, None), [], "no limit is known");
}

#[test]
fn ports_by_destination() {
    let mut picture = empty(1);
    picture.limits.port_range = Some((1, 100));
    let to = |ports| Destination {
        laddr: "10.0.0.1".parse().unwrap(),
        raddr: "10.0.0.2".parse().unwrap(),
        rport: 443,
        ports,
    };
    picture.sockets.destinations = vec![to(90), to(70), to(69)];
    assert_eq!(
        found(&picture, None).iter().map(|finding| finding.0).collect::<Vec<_>>(),
        [Severity::Sick, Severity::Watch]
    );
}

fn interface(rx_packets: u64, rx_errors: u64, rx_dropped: u64) -> Interface {
    let mut counters = [0; 16];
    (counters[1], counters[2], counters[3]) = (rx_packets, rx_errors, rx_dropped);
    let link = Link {
        ifindex: 2,
        name: "eth0".into(),
        up: true,
        running: true,
        loopback: false,
        mtu: None,
        operstate: Some("up"),
        rx_dropped: None,
        xdp: None,
    };
    Interface { name: "eth0".to_owned(), counters, link: Some(link), addresses: vec![("10.0.0.1".parse().unwrap(), 8)] }
}

#[test]
fn devices_by_errors_drops_and_carrier() {
    let mut picture = empty(1);
    for (packets, errors, drops, expected) in [
        (1_000_000, 0, 50, None),
        (1_000_000, 1, 0, Some(Severity::Watch)),
        (1_000_000, 0, 200, Some(Severity::Watch)),
        (1_000_000, 2_000, 0, Some(Severity::Sick)),
        (1_000, 0, 20, Some(Severity::Sick)),
        (1, 0, 3, None),
        (1, 1, 0, Some(Severity::Watch)),
    ] {
        picture.interfaces = vec![interface(packets, errors, drops)];
        assert_eq!(found(&picture, None).first().map(|finding| finding.0), expected, "{packets} {errors} {drops}");
    }
    let mut device = interface(0, 0, 0);
    device.link.as_mut().unwrap().running = false;
    picture.interfaces = vec![device.clone()];
    assert_eq!(found(&picture, None), [(Severity::Watch, "interfaces", "eth0".to_owned())]);
    device.addresses = vec![("fe80::1".parse().unwrap(), 64)];
    picture.interfaces = vec![device];
    assert_eq!(found(&picture, None), [], "it has no address of its own");

    picture.interfaces = vec![interface(1_000_000, 2_000, 0)];
    let mut counters = [Change::By(0); 16];
    let of = |presence, counters| Changes {
        devices: vec![DeviceChange { name: "eth0".to_owned(), presence, counters }],
        ..Changes::default()
    };
    assert_eq!(found(&picture, Some(&of(Presence::Stayed, counters))), [], "they are old");
    counters[2] = Change::By(1);
    assert_eq!(found(&picture, Some(&of(Presence::Stayed, counters))).len(), 1);
    assert_eq!(found(&picture, Some(&of(Presence::Appeared, counters))), [], "from when these are is not known");
}

#[test]
fn processors_that_drop() {
    let mut picture = empty(1);
    picture.softnet =
        vec![Cpu { cpu: Some(0), columns: vec![1000, 0, 0] }, Cpu { cpu: Some(1), columns: vec![1000, 1, 3] }];
    let expected = [(Severity::Sick, "softnet", "softnet drops"), (Severity::Watch, "softnet", "softnet time_squeeze")];
    assert_eq!(found(&picture, None), expected.map(|(severity, section, what)| (severity, section, what.to_owned())));
    assert_eq!(softnet_totals(&picture, None), [2000, 1, 3]);
    assert_eq!(found(&picture, Some(&Changes::default())), []);
}

#[test]
fn neighbours_that_do_not_answer() {
    let mut picture = empty(1);
    let neighbour = |host: u8, state| Neighbour { ifindex: 2, address: [10, 0, 0, host].into(), lladdr: vec![], state };
    picture.neighbours = Some(vec![neighbour(1, 0x02), neighbour(2, 0x20), neighbour(3, 0x01), neighbour(4, 0x80)]);
    let whats: Vec<String> = found(&picture, None).into_iter().map(|finding| finding.2).collect();
    assert_eq!(whats, ["10.0.0.2", "10.0.0.3"]);
    picture.neighbours = None;
    picture.limits.neighbours = [Some(1024), None];
    let names = vec!["entries".to_owned(), "table_fulls".to_owned()];
    picture.percpu.insert("arp_cache", Table { names, cpus: vec![vec![1000, 0], vec![1000, 2]] });
    let expected =
        [(Severity::Sick, "neighbours", "arp_cache"), (Severity::Sick, "neighbours", "arp_cache table_fulls")];
    assert_eq!(found(&picture, None), expected.map(|(severity, section, what)| (severity, section, what.to_owned())));
}

#[test]
fn processes_that_do_not_close() {
    let mut picture = empty(1);
    let owned = |state: TcpState, count| {
        let mut states = [0; STATES];
        states[state as usize] = count;
        Owned { owner: Owner::Process { pid: 7, comm: "app".to_owned() }, states }
    };
    picture.sockets.owners =
        vec![owned(TcpState::CloseWait, 1000), owned(TcpState::SynSent, 20), owned(TcpState::CloseWait, 99)];
    let expected = [(Severity::Sick, "sockets", "app[7]"), (Severity::Watch, "sockets", "app[7]")];
    assert_eq!(found(&picture, None), expected.map(|(severity, section, what)| (severity, section, what.to_owned())));
}
