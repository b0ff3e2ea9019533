//! Above a number of connections a BPF program reads the kernel's table: it shows the same as sock_diag, also while
//! connections come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use tracer_tests::agent::Agent;
use tracer_tests::churn::Endless;
use tracer_tests::many::{Many, PAIRS, WAY, lines};
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::skip::{lacks, skip};
use tracer_tests::stream::Stream;

#[test]
fn many_connections_are_what_sock_diag_tells() {
    let many = Many::open();
    let (theirs, _) = many.lines("netlink");
    assert_eq!(theirs.len(), 2 * PAIRS + 2);
    for via in ["auto", "bpf"] {
        let (ours, by_table) = many.lines(via);
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (ours.iter().collect(), theirs.iter().collect());
        let differences: Vec<_> = ours.symmetric_difference(&theirs).take(10).collect();
        assert!(differences.is_empty(), "{via}: {differences:#?}");
        if !by_table {
            return skip(&lacks("connections by BPF", "sock_diag was asked"));
        }
    }
    assert_eq!(many.lines("auto").0, theirs, "in the same order");
}

/// Most namespaces share one table, which the tracer reads once for all of them.
#[test]
fn each_namespace_has_its_own_of_them() {
    let many = Many::open();
    let (few, none) = (Netns::new(), Netns::new());
    // From 6.1 on a namespace may have a table of its own, if it is made in a namespace with this setting.
    let own_table = Path::new("/proc/sys/net/ipv4/tcp_child_ehash_entries").exists();
    if own_table {
        many.ns.sysctl("net/ipv4/tcp_child_ehash_entries", "1024");
    }
    let alone = many.ns.within(Netns::new);
    if own_table {
        let entries = alone.within(|| std::fs::read_to_string("/proc/sys/net/ipv4/tcp_ehash_entries"));
        assert_eq!(entries.unwrap().trim(), "1024");
    }
    let _pairs: Vec<_> = [&few, &alone].map(|ns| (0..20).map(|_| Three::open(ns)).collect::<Vec<_>>()).into();
    let mut by_table = 0;
    for (ns, sockets) in [(&many.ns, 2 * PAIRS + 2), (&few, 60), (&none, 0), (&alone, 60)] {
        let (theirs, _) = lines(None, ns, "netlink");
        assert_eq!(theirs.len(), sockets);
        // The order in which the tracer reads the tables differs.
        for from in [None, Some(&many.ns), Some(&few), Some(&alone)] {
            let (ours, by_program) = lines(from, ns, "auto");
            assert_eq!(ours, theirs, "{} from {from:?}", ns.name());
            by_table += usize::from(by_program);
        }
    }
    if by_table == 0 {
        skip(&lacks("connections by BPF", "sock_diag was asked"));
    }
}

/// A listener, a connection to it and its other end.
struct Three {
    _ends: (TcpListener, TcpStream, TcpStream),
}

impl Three {
    fn open(ns: &Netns) -> Self {
        ns.within(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            Self { _ends: (listener, client, server) }
        })
    }
}

#[test]
fn what_comes_and_goes_hides_none_of_many() {
    let many = Many::open();
    let stay: BTreeSet<String> = many.lines("netlink").0.into_iter().collect();
    let churn = Endless::start(&many.ns, 2, &[], None);
    let (mut met, mut by_table) = (0, 0);
    for _ in 0..10 {
        let (lines, by_program) = many.lines("auto");
        by_table += usize::from(by_program);
        let mut counts = BTreeMap::<&String, usize>::new();
        lines.iter().for_each(|line| *counts.entry(line).or_default() += 1);
        let missing: Vec<&String> = stay.iter().filter(|line| counts.get(line) != Some(&1)).take(10).collect();
        assert!(missing.is_empty(), "not there once: {missing:#?}");
        met += lines.len() - stay.len();
        let ends: Vec<String> = lines.iter().map(|line| ends_of(line)).collect();
        let unique: BTreeSet<&String> = ends.iter().collect();
        assert_eq!(unique.len(), ends.len(), "a connection is there twice");
    }
    assert!(churn.end()["connections"].as_u64().unwrap() > 0);
    assert!(met > 0, "some connections came and went");
    if by_table == 0 {
        skip(&lacks("connections by BPF", "sock_diag was asked"));
    }
}

/// The addresses and ports of a line; the whole line of a listener.
fn ends_of(line: &str) -> String {
    if line.contains("LISTEN") {
        return line.to_owned();
    }
    line.split_whitespace().filter(|word| word.contains(':')).take(2).collect::<Vec<_>>().join(" ")
}

/// `live` begins with the same sockets.
#[test]
fn a_trace_begins_with_all_of_them() {
    let many = Many::open();
    let path = scratch().join("many");
    // The numbers below prove more than `--strict` does, which other tests' traffic can break.
    let agent = Agent::live_into(File::create(&path).unwrap(), &["-v"]);
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let stream = Stream::read(BufReader::new(File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let of_ours = |kind| stream.kind(kind).filter(|event| event["netns"] == many.ns.inode()).count();
    assert_eq!(of_ours("open"), 2 * PAIRS + 2);
    let pid = u64::from(std::process::id());
    let is_known =
        stream.kind("open").filter(|event| event["netns"] == many.ns.inode()).all(|e| e["owner"]["pid"] == pid);
    assert!(is_known, "this process owns each");
    if !ended.log.contains(WAY) {
        skip(&lacks("connections by BPF", "sock_diag was asked"));
    }
}
