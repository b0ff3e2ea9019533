use super::compare;
use crate::net::tests::{full, interface};
use crate::net::{Options, View, write_text};
use tracer_host::net::change::changes;
use tracer_host::net::collect::empty;
use tracer_host::net::{Picture, health};
use tracer_host::proc::net::snmp::Counter;

/// 2024-02-29 12:34:56 UTC.
const WALL_NS: i64 = 1_709_210_096_000_000_000;

fn page(picture: &Picture, before: Option<&Picture>, options: Options) -> String {
    let moved = before.map(|before| changes(before, picture));
    let findings = health::assess(picture, moved.as_ref());
    write_text(&View { picture, changes: moved.as_ref(), findings: &findings }, options, WALL_NS)
}

fn quiet() -> Picture {
    let mut picture = empty(7);
    picture.current = true;
    picture.boot_ns = 3_723_000_000_000;
    let mut lo = interface("lo", 1);
    lo.counters = [0; 16];
    (lo.counters[0], lo.counters[1]) = (1_234_567, 8_901);
    picture.interfaces = vec![lo];
    picture.counters = [("TcpActiveOpens", 12), ("TcpOutSegs", 1000), ("TcpRetransSegs", 5)]
        .map(|(name, value)| Counter { name: name.to_owned(), value })
        .into();
    picture.listeners = Some(vec![]);
    picture
}

#[test]
fn a_quiet_namespace() {
    compare("net_quiet", |columns| page(&quiet(), None, Options { columns, ..Options::default() }));
}

#[test]
fn a_sick_one_with_hostile_names() {
    compare("net_sick", |columns| page(&full(), None, Options { columns, ..Options::default() }));
}

#[test]
fn every_table() {
    compare("net_all", |columns| page(&full(), None, Options { columns, all: true, ..Options::default() }));
}

#[test]
fn what_moved() {
    let (before, mut now) = (quiet(), quiet());
    now.boot_ns += 2_000_000_000;
    now.interfaces[0].counters[0] += 4_000_000;
    now.interfaces.push(interface("eth0", 6));
    now.counters[1].value += 400;
    now.counters[2].value = 1;
    compare("net_watch", |columns| page(&now, Some(&before), Options { columns, utc: true, ..Options::default() }));
}
