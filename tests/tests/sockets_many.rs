//! Where there are many connections the kernel's table of them is read by a program: the same as by sock_diag, also
//! while others come and go.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use tracer_tests::agent::Agent;
use tracer_tests::busy::tracer;
use tracer_tests::generator::traffic_program;
use tracer_tests::machine;
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::skip::{lacks, skip};
use tracer_tests::stream::Stream;

/// Connections of which this process has both ends: more sockets than it takes.
const PAIRS: usize = 3_300;
/// The way by which they are read, as `-v` says it.
const WAY: &str = "connections by BPF";

/// Connections in a namespace of their own.
struct Many {
    ns: Netns,
    _listeners: [TcpListener; 2],
    _ends: Vec<TcpStream>,
}

impl Many {
    /// Of both families; some with bytes that nobody has read, some half closed.
    fn open() -> Self {
        machine::raise_files(2 * PAIRS as u64 + 200);
        let ns = Netns::new();
        let (listeners, ends) = ns.within(|| {
            let listeners = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
            let addresses: [SocketAddr; 2] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
            let mut ends = Vec::new();
            for i in 0..PAIRS {
                let mut client = TcpStream::connect(addresses[i % 2]).unwrap();
                let (mut server, _) = listeners[i % 2].accept().unwrap();
                match i % 10 {
                    3 => client.write_all(b"unread").unwrap(),
                    4 => server.write_all(b"neither").unwrap(),
                    5 => client.shutdown(Shutdown::Write).unwrap(),
                    _ => {}
                }
                ends.extend([client, server]);
            }
            (listeners, ends)
        });
        Self { ns, _listeners: listeners, _ends: ends }
    }

    /// The lines about them, and whether their table was read by a program.
    fn lines(&self, via: &str) -> (Vec<String>, bool) {
        let netns = self.ns.inode().to_string();
        let out = tracer(&["-v", "-t", "--netns", &netns, "--via", via]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        let text = String::from_utf8_lossy(&out.stdout);
        let lines = text.lines().filter(|line| line.starts_with("tcp ")).map(ToOwned::to_owned).collect();
        (lines, said.contains(WAY))
    }
}

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

#[test]
fn what_comes_and_goes_hides_none_of_many() {
    let many = Many::open();
    let stay: BTreeSet<String> = many.lines("netlink").0.into_iter().collect();
    let mut churn = Command::new("ip")
        .args(["netns", "exec", many.ns.name()])
        .arg(traffic_program())
        .args(["churn", "--threads", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
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
    drop(churn.stdin.take());
    assert!(churn.wait().unwrap().success());
    assert!(met > 0, "there was something that came and went");
    if by_table == 0 {
        skip(&lacks("connections by BPF", "sock_diag was asked"));
    }
}

/// The addresses and ports of a line, of a listener the line.
fn ends_of(line: &str) -> String {
    if line.contains("LISTEN") {
        return line.to_owned();
    }
    line.split_whitespace().filter(|word| word.contains(':')).take(2).collect::<Vec<_>>().join(" ")
}

/// `live` begins with the same picture.
#[test]
fn a_trace_begins_with_all_of_them() {
    let many = Many::open();
    let path = scratch().join("many");
    let agent = Agent::live_into(File::create(&path).unwrap(), &["--strict"]);
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let stream = Stream::read(BufReader::new(File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let of_ours = |kind| stream.kind(kind).filter(|event| event["netns"] == many.ns.inode()).count();
    assert_eq!(of_ours("open"), 2 * PAIRS + 2);
    let pid = u64::from(std::process::id());
    let is_known =
        stream.kind("open").filter(|event| event["netns"] == many.ns.inode()).all(|e| e["owner"]["pid"] == pid);
    assert!(is_known, "each is of this process");
}
