//! A flood of drops that the filter leaves out takes no room from the others, and one CPU may use the limit of all
//! CPUs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::audit;
use tracer_tests::churn::said;
use tracer_tests::drops::{TOLD_AT_MOST, address, datagram, peers};
use tracer_tests::generator::traffic;
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::reason;
use tracer_tests::scale;
use tracer_tests::segment::{ACK, RST, RawIp, Segment};
use tracer_tests::skip::{lacks, skip};
use tracer_tests::storm::Storm;
use tracer_tests::stream::parse;

/// A term of the audit's account of drops.
fn audited(summary: &Value, key: &str) -> u64 {
    let hooks = summary["audit"].as_array().expect("an audit");
    let drops = hooks.iter().find(|hook| hook["hook"] == "kfree_skb").expect("drops are audited");
    drops[key].as_u64().expect("a number")
}

#[test]
fn a_flood_of_other_reasons_takes_nothing_from_the_one_that_is_asked_for() {
    alone();
    if !reason::exists("NETFILTER_DROP") {
        return skip(&lacks("NETFILTER_DROP", "there are no two reasons to tell apart"));
    }
    let netns = Netns::new();
    netns.nft_rule("output", "udp dport 4090 drop");
    let inode = netns.inode().to_string();
    for (asked, port) in [("NETFILTER_DROP", 4090), ("!NO_SOCKET", 4090)] {
        let agent = Agent::live(&["--event", "drop", "--netns", &inode, "--reason", asked, "--audit"]);
        let flood = Storm { seconds: "2", threads: 2, flows: 20_000 }.start(&netns);
        // Each has a socket of its own: none is folded.
        let wanted = scale::load(300, 100);
        for _ in 0..wanted {
            datagram(&netns, address(&format!("127.0.0.1:{port}")), None);
        }
        let offered = said(flood)["offered"].as_u64().expect("a number");
        let ended = agent.stop();
        let summary = ended.stream.summary();
        audit::must_be_exact(summary);
        assert_eq!(ended.stream.lost(), 0, "{summary}");
        let told: Vec<&Value> = ended.stream.kind("drop").filter(|drop| drop["dport"] == port).collect();
        let packets: u64 = told.iter().map(|drop| drop["count"].as_u64().unwrap_or(1)).sum();
        assert_eq!(packets, wanted as u64, "{asked}: each has an event, with its flow");
        assert!(ended.stream.kind("drop").all(|drop| drop["reason"] != "NO_SOCKET" && drop["mixed"].is_null()));
        assert!(audited(summary, "filtered") >= offered, "the kernel side left {offered} out: {summary}");
    }
}

/// Late segments of closed connections have no event and are of no use for a finding: the kernel side leaves them out.
/// A connection that is refused meanwhile has its finding.
#[test]
fn remains_of_connections_take_nothing_from_what_is_refused() {
    alone();
    if !reason::any() {
        return skip(&lacks("drop reasons", "the kernel side cannot tell them apart"));
    }
    let (a, b) = Netns::pair();
    let agent = Agent::live(&["--event", "finding", "--netns", b.name(), "--audit"]);
    let (from, to) = peers(false, 4092);
    let raw = RawIp::open(&a, false);
    let remains = scale::load(4000, 500) as u16;
    for port in 20_000..20_000 + remains {
        let flags = if port % 2 == 0 { ACK } else { RST };
        raw.send(&Segment { flags, seq: 7, ack: 8, ..Segment::between(SocketAddr::new(from, port), to) });
    }
    assert!(a.within(|| TcpStream::connect(to)).is_err());
    agent.wait_for("finding of the closed port", |event| {
        event["event"] == "finding" && event["text"].as_str().is_some_and(|text| text.contains("10.7.0.2:4092"))
    });
    let ended = agent.stop();
    let summary = ended.stream.summary();
    audit::must_be_exact(summary);
    assert!(audited(summary, "filtered") >= u64::from(remains), "{summary}");
    assert!(audited(summary, "delivered") < u64::from(remains), "{summary}");
    assert_eq!(ended.stream.lost(), 0, "{summary}");
}

/// All drops happen on one CPU, which may send as many events as all CPUs together.
#[test]
fn one_cpu_may_tell_as_many_as_all() {
    alone();
    let netns = Netns::new();
    let path = scratch().join("one-cpu-stream");
    let file = File::create(&path).expect("the stream's file is made");
    // No filter: with one, mixed drops have no events.
    let agent = Agent::live_into(file, &["--event", "drop"]);
    let mut command = traffic(&netns);
    command.args(["storm", "--to", "127.0.0.1:9000", "--seconds", "3", "--threads", "1", "--flows", "20000"]);
    // SAFETY: one system call with a valid structure.
    unsafe {
        command.pre_exec(|| {
            let mut cpus: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(libc::sched_getcpu() as usize, &mut cpus);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cpus);
            Ok(())
        });
    }
    let offered = said(command.stdout(Stdio::piped()).spawn().expect("the generator starts"));
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    // Drops with events of their own, by the tenth of a second.
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    let mut mixed = 0;
    for line in BufReader::new(File::open(&path).expect("the stream opens")).lines() {
        let event = parse(&line.expect("the stream is UTF-8"));
        match event["mixed"].as_bool() {
            Some(true) => mixed += event["count"].as_u64().unwrap_or(1),
            _ if event["event"] == "drop" && event["count"].is_null() => {
                *told.entry(event["boot_ns"].as_u64().expect("a time") / 100_000_000).or_default() += 1;
            }
            _ => {}
        }
    }
    std::fs::remove_file(&path).expect("the file is removed");
    let fullest = told.values().copied().max().unwrap_or_default();
    assert!(fullest > 0, "drops have events: {offered}");
    println!("{offered}; the fullest tenth of a second has {fullest}; {mixed} mixed");
    // Two CPUs may draw at the same moment.
    assert!(fullest <= TOLD_AT_MOST / 10 * 12 / 10, "{told:?}");
    // A machine that is too slow to reach the limit shows nothing.
    if mixed > 0 && std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) {
        assert!(fullest > TOLD_AT_MOST / 10 * 3 / 4, "{told:?}");
    }
}
