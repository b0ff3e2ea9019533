//! Owners of dropped packets, while many connections of several processes lose some.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::churn::{said, start};
use tracer_tests::netns::Netns;
use tracer_tests::scale;
use tracer_tests::segment::{RawIp, SYN, Segment};

/// A port without a listener.
const NOBODY: u16 = 7;

/// Client and server of one churn. The client's process has opened the listener, too.
struct Pids {
    client: u64,
    server: u64,
}

/// The owner that this drop must have, from the generator's reports.
fn expected(event: &Value, by_port: &HashMap<u64, Pids>) -> Option<u64> {
    // All packets were dropped on their way in.
    if let Some(pids) = by_port.get(&event["sport"].as_u64()?) {
        return Some(pids.client);
    }
    let pids = by_port.get(&event["dport"].as_u64()?)?;
    // Before it is accepted, a connection is the listener's.
    Some(if event["owner_source"] == "accept" { pids.server } else { pids.client })
}

#[test]
fn every_drop_of_a_known_connection_has_its_owner() {
    alone();
    const PROCESSES: usize = 3;
    let connections = scale::load(1000, 100);
    let netns = Netns::new();
    // A reset is sent once: without it the other side would wait for ever.
    let lossy = "tcp flags & rst == 0 numgen random mod 128 < 3 drop";
    netns.nft_rule("input", &format!("tcp dport {NOBODY} drop\n{lossy}"));
    let agent = Agent::live(&["--event", "drop,accept,close"]);
    let churns: Vec<Child> = (0..PROCESSES).map(|_| start(&netns, connections, 16, None)).collect();
    let raw = RawIp::open(&netns, false);
    let stranger = |port| SocketAddr::from(([127, 0, 0, 9], port));
    for port in 0..500 {
        let to = SocketAddr::from(([127, 0, 0, 1], NOBODY));
        raw.send(&Segment { flags: SYN, ..Segment::between(stranger(20_000 + port), to) });
    }
    let mut by_port = HashMap::new();
    for churn in churns {
        let did = said(churn);
        let number = |value: &Value| value.as_u64().expect("a number");
        let pids = Pids { client: number(&did["client"]["pid"]), server: number(&did["server"]["pid"]) };
        by_port.insert(number(&did["port"]), pids);
    }
    let stream = agent.stop().stream;
    assert_eq!(stream.lost(), 0, "{}", stream.summary());
    let (mut known, mut strange, mut wrong) = (0_u64, 0_u64, Vec::new());
    let mut sources: HashMap<&str, u64> = HashMap::new();
    for event in stream.kind("drop").filter(|event| event["netns"] == netns.inode()) {
        let count = event["count"].as_u64().unwrap_or(1);
        if event["dport"] == u64::from(NOBODY) {
            strange += count;
            if !(event["owner"].is_null() && event["conn"].is_null() && event["owner_source"] == "unknown") {
                wrong.push(event);
            }
        } else if event["protocol"] == "tcp" {
            known += count;
            *sources.entry(event["owner_source"].as_str().unwrap_or("?")).or_default() += count;
            let right = expected(event, &by_port).is_some_and(|pid| event["owner"]["pid"] == pid);
            if !(right && event["conn"].is_string()) {
                wrong.push(event);
            }
        }
    }
    println!("{known} drops of known connections, {strange} of nobody's; owners by {sources:?}");
    assert!(wrong.is_empty(), "{} wrong, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(3)]);
    assert_eq!(strange, 500);
    assert!(known as usize > connections / 10, "{known} drops");
    for source in ["connect", "accept", "listen"] {
        assert!(sources.contains_key(source), "{sources:?}");
    }
}

/// One search finds the owners of all sockets, not only of the one for which it began.
#[test]
fn sockets_that_overflow_in_the_same_second_have_their_owners() {
    const FIRST: u16 = 4120;
    const SOCKETS: u16 = 20;
    let netns = Netns::new();
    let bound = |port| netns.within(|| UdpSocket::bind(("127.0.0.1", port)).expect("it is bound"));
    let mut sockets: Vec<UdpSocket> = (FIRST..FIRST + SOCKETS).map(bound).collect();
    // Another process holds the last one.
    let last = OwnedFd::from(sockets.pop().expect("a socket"));
    let mut other = Command::new("sleep").arg("1000").stdin(last).spawn().expect("it sleeps");
    let others = other.id();
    let owner = |port| if port == FIRST + SOCKETS - 1 { others } else { std::process::id() };
    let agent = Agent::live(&["--event", "drop", "--netns", netns.name()]);
    // More than the default buffer takes.
    let fill = |port| {
        netns.within(|| {
            let sender = UdpSocket::bind("127.0.0.1:0").expect("it is bound");
            for _ in 0..400 {
                sender.send_to(&[0; 500], ("127.0.0.1", port)).expect("loopback takes all");
            }
        });
    };
    let of = |port: u16| move |event: &Value| event["event"] == "drop" && event["dport"] == port;
    fill(FIRST);
    agent.wait_for("the first owner", |event| {
        of(FIRST)(event) && event["owner"]["pid"] == owner(FIRST) || {
            fill(FIRST);
            false
        }
    });
    for port in FIRST + 1..FIRST + SOCKETS {
        fill(port);
    }
    for port in FIRST + 1..FIRST + SOCKETS {
        agent.wait_for("a drop of each", of(port));
    }
    let stream = agent.stop().stream;
    other.kill().expect("it ends");
    other.wait().expect("it has ended");
    let (mut nobodys, mut wrong) = (0, Vec::new());
    for port in FIRST + 1..FIRST + SOCKETS {
        let drops = || stream.events.iter().filter(|event| of(port)(event));
        nobodys += u16::from(drops().any(|event| event["owner"].is_null()));
        wrong.extend(drops().filter(|event| !event["owner"].is_null() && event["owner"]["pid"] != owner(port)));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    // A search beside other work may take longer than a drop waits.
    assert!(nobodys <= SOCKETS / 2, "{nobodys} of {SOCKETS} without an owner");
}
