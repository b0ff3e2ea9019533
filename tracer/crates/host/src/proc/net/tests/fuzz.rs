//! Garbage: no parser panics, and its rows and malformed lines add up to the lines of the file.

use std::path::Path;

use super::super::{
    Malformed, arp, dev, fib_trie, if_inet6, igmp, igmp6, ipv6_route, nf_conntrack, percpu, ptype, read_sockets, route,
    snmp, snmp6, sockstat, softnet_stat, tcp, wireless,
};
use super::fixtures;
use tracer_fuzz::{MOST, fuzz};

/// Cuts the files `names` of all kernels into pieces of a few whole lines.
fn seeds(names: &[&str]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for name in names {
        for (_, text) in fixtures::each(name) {
            let lines: Vec<&[u8]> = text.split_inclusive(|c| *c == b'\n').collect();
            seeds.extend(lines.chunks(4).take(12).map(<[_]>::concat));
            seeds.push(text.get(..text.len().min(MOST)).unwrap().to_vec());
        }
    }
    assert!(!seeds.is_empty(), "{names:?}");
    seeds
}

/// Checks that every line is a row, part of one, a heading, or malformed.
fn table<T>(
    seeds: &[Vec<u8>],
    rows_for_a_line: usize,
    read: impl Fn(&[u8], &Path, &mut Malformed) -> std::io::Result<T>,
    rows: impl Fn(&T) -> usize,
) {
    fuzz(seeds, |input| {
        let mut malformed = Malformed::default();
        let table = read(input, Path::new("f"), &mut malformed).unwrap();
        let lines = input.split_inclusive(|c| *c == b'\n').count();
        let bad = usize::try_from(malformed.count).unwrap();
        assert!(bad <= lines, "{input:?}");
        assert!(rows(&table) <= (lines - bad) * rows_for_a_line, "{input:?}");
        assert!(malformed.places.iter().all(|(_, line)| (1..=lines as u64).contains(line)), "{input:?}");
    });
}

#[test]
fn arp() {
    table(&seeds(&["arp"]), 1, |t, p, m| arp::read(t, p, m), Vec::len);
}

#[test]
fn dev() {
    table(&seeds(&["dev"]), 1, |t, p, m| dev::read(t, p, m), Vec::len);
}

#[test]
fn wireless() {
    let seed = b" wlan0: 0000   54.  -56.  -256        0      0      0      2    135        0\n".to_vec();
    table(&[seed], 1, |t, p, m| wireless::read(t, p, m), Vec::len);
}

#[test]
fn if_inet6() {
    table(&seeds(&["if_inet6"]), 1, |t, p, m| if_inet6::read(t, p, m), Vec::len);
}

#[test]
fn igmp() {
    table(&seeds(&["igmp"]), 1, |t, p, m| igmp::read(t, p, m), Vec::len);
}

#[test]
fn igmp6() {
    table(&seeds(&["igmp6"]), 1, |t, p, m| igmp6::read(t, p, m), Vec::len);
}

#[test]
fn ptype() {
    table(&seeds(&["ptype"]), 1, |t, p, m| ptype::read(t, p, m), Vec::len);
}

#[test]
fn route() {
    table(&seeds(&["route"]), 1, |t, p, m| route::read(t, p, m), Vec::len);
}

#[test]
fn fib_trie() {
    table(&seeds(&["fib_trie"]), 1, |t, p, m| fib_trie::read(t, p, m), Vec::len);
}

#[test]
fn ipv6_route() {
    table(&seeds(&["ipv6_route"]), 1, |t, p, m| ipv6_route::read(t, p, m), Vec::len);
}

#[test]
fn snmp() {
    table(&seeds(&["snmp", "netstat"]), MOST, |t, p, m| snmp::read(t, p, m), Vec::len);
}

#[test]
fn snmp6() {
    table(&seeds(&["snmp6"]), 1, |t, p, m| snmp6::read(t, p, m), Vec::len);
}

#[test]
fn sockstat() {
    table(&seeds(&["sockstat", "sockstat6"]), MOST, |t, p, m| sockstat::read(t, p, m), Vec::len);
}

#[test]
fn softnet_stat() {
    table(&seeds(&["softnet_stat"]), 1, |t, p, m| softnet_stat::read(t, p, m), Vec::len);
}

#[test]
fn percpu() {
    table(
        &seeds(&["stat/nf_conntrack", "stat/arp_cache"]),
        1,
        |t, p, m| percpu::read(t, p, m),
        |table| {
            assert!(table.cpus.iter().all(|cpu| cpu.len() == table.names.len()));
            table.cpus.len()
        },
    );
}

#[test]
fn nf_conntrack() {
    let read = |text: &[u8], path: &Path, malformed: &mut Malformed| {
        let mut rows = 0;
        nf_conntrack::read(text, path, malformed, |_| rows += 1).map(|()| rows)
    };
    table(&seeds(&["nf_conntrack"]), 1, read, |rows| *rows);
}

#[test]
fn tcp() {
    let read =
        |text: &[u8], path: &Path, malformed: &mut Malformed| read_sockets(text, path, malformed, |_: tcp::Row| ());
    table(&seeds(&["tcp", "tcp6"]), 1, read, |rows| usize::try_from(*rows).unwrap());
}
