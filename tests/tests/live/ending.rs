//! Connections that end in the last moments of a trace are complete.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::{Agent, Ended};
use tracer_tests::alone::alone;
use tracer_tests::churn::Endless;
use tracer_tests::netns::Netns;
use tracer_tests::traffic::sys;

/// The last moments, ns.
const LAST_NS: u64 = 300_000_000;

/// Traces connections of two kinds that go on until the trace is over: those of another process, which are served and
/// closed, and those of this process, which a rule keeps from their server and which are given up at once.
fn traced_to_the_end(args: &[&str]) -> (Netns, u64, Ended) {
    let ns = Netns::new();
    ns.nft_rule("input", "tcp dport 4680 drop");
    let stop = AtomicBool::new(false);
    let churn = Endless::start(&ns, 1, &["--rate", "400"], None);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let to: SocketAddr = "127.0.0.1:4680".parse().expect("an address");
            ns.within(|| {
                while !stop.load(Ordering::Relaxed) {
                    let fd = sys::socket(4, 0, true).expect("a socket");
                    assert_eq!(sys::connect(fd, &to, None), Err(libc::EINPROGRESS));
                    sys::close(fd).expect("it is open");
                    sys::pause(Duration::from_millis(2));
                }
            });
        });
        let agent = Agent::live(&[&["--netns", ns.name(), "--event", "close"], args].concat());
        let mut given_up = 0;
        let mut served = 0;
        let all = agent.hears(|event| {
            given_up += usize::from(event["event"] == "close" && event["rport"] == 4680);
            served += usize::from(event["event"] == "close" && event["role"] == "client" && event["rport"] != 4680);
            given_up >= 100 && served >= 100
        });
        let ended = agent.stop();
        stop.store(true, Ordering::Relaxed);
        assert!(all.is_some(), "connections of both kinds come: {given_up}, {served}");
        ended
    });
    let pid = u64::from(churn.pid());
    let _ = churn.end();
    (ns, pid, ended)
}

/// Checks that every close of the last moments has a verdict and an owner with all facts, or says that it is open.
fn nothing_is_unknown((ns, churn, ended): (Netns, u64, Ended)) {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let summary = ended.stream.summary().clone();
    assert_eq!(ended.stream.lost(), 0, "{summary}");
    // The summary comes some time later: detaching programs may take long.
    let told = |e: &&Value| e["netns"] == ns.inode() && e["verdict"] != "open_at_end";
    let end_ns = ended.stream.kind("close").filter(told).filter_map(|e| e["boot_ns"].as_u64()).max().expect("a close");
    let is_late = |e: &&Value| e["boot_ns"].as_u64().is_some_and(|at| at + LAST_NS > end_ns);
    let closes: Vec<&Value> = ended.stream.kind("close").filter(|e| e["netns"] == ns.inode()).filter(is_late).collect();
    for (kind, of) in [("given up", u64::from(std::process::id())), ("served", churn)] {
        let is = |e: &&&Value| (e["rport"] == 4680) == (kind == "given up") && e["role"] == "client";
        let (ended, open): (Vec<&Value>, Vec<&Value>) =
            closes.iter().filter(is).partition(|e| e["verdict"] != "open_at_end");
        assert!(!ended.is_empty(), "some are {kind} at the end; {} are open: {summary}", open.len());
        for close in ended {
            assert_ne!(close["verdict"], "unknown", "{close}");
            let owner = &close["owner"];
            // Connections of the churn belong to its process or a child of it.
            assert!(owner["pid"] == of || kind == "served" && owner["comm"] == "traffic", "{kind}, {of}: {close}");
            assert!(owner["exe"].is_string() && owner.get("facts").is_none(), "the owner is complete: {close}");
        }
    }
}

#[test]
fn what_ends_in_the_last_moments_of_an_audited_trace_is_known() {
    alone();
    let (ns, churn, ended) = traced_to_the_end(&["--audit"]);
    let audit = ended.stream.summary()["audit"].as_array().expect("an audit").clone();
    let exact = |hook: &Value| hook["exact"] == true;
    assert!(audit.iter().filter(|hook| hook["hook"] != "sys_exit_connect").all(exact), "{audit:?}");
    nothing_is_unknown((ns, churn, ended));
}

#[test]
fn what_ends_in_the_last_moments_is_known() {
    alone();
    nothing_is_unknown(traced_to_the_end(&[]));
}
