//! The tracer as a process: its end, its remains, and several tracers at once.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tracer_tests::agent::{Agent, READY, run_to_end, tracer_program};
use tracer_tests::bpf;
use tracer_tests::capability::Public;
use tracer_tests::compare;
use tracer_tests::generator::{Actor, Fact, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::scale;
use tracer_tests::skip::{missing_tool, skip};
use tracer_tests::trace::Trace;
use tracer_tests::traffic::sys;

/// Three connections in `ns`, and the listener.
fn some_connections(ns: &Netns) -> Vec<Fact> {
    let (client, server) = (Actor::start(ns), Actor::start(ns));
    let listener = Listener::open(&server, ns, "127.0.0.1:0");
    let mut facts = Vec::new();
    for _ in 0..3 {
        let mut pair = Pair::open(&client, ns, &listener);
        pair.client_sends(10);
        facts.extend(pair.client_closes_first());
    }
    facts.push(listener.close());
    facts
}

#[test]
fn sigkill_leaves_nothing_attached() {
    let agent = Agent::live(&[]);
    let objects = bpf::objects_of(agent.pid());
    assert!(objects.len() > 3, "the tracer holds programs and maps: {objects:?}");
    assert!(objects.iter().all(|object| object.exists()));
    agent.signal(libc::SIGKILL);
    let ended = agent.end();
    assert_eq!(ended.status.code(), None);
    // The kernel frees them some time later.
    let gone = sys::until(|| Ok(!objects.iter().any(|object| object.exists())));
    let left: Vec<_> = objects.iter().filter(|object| object.exists()).collect();
    assert_eq!(gone, Ok(()), "{left:?}");
}

#[test]
fn two_at_once_say_the_same() {
    let ns = Netns::new();
    let (one, two) = (Trace::start(), Trace::start());
    let facts = some_connections(&ns);
    one.fence();
    two.fence();
    let first = one.expect(&[&ns], &facts);
    let second = two.expect(&[&ns], &facts);
    assert_eq!(first.of_netns(ns.inode()).count(), second.of_netns(ns.inode()).count());
}

#[test]
fn one_ends_the_other_goes_on() {
    let ns = Netns::new();
    let (one, two) = (Trace::start(), Trace::start());
    let mut facts = some_connections(&ns);
    one.expect(&[&ns], &facts);
    facts.extend(some_connections(&ns));
    two.expect(&[&ns], &facts);
}

#[test]
fn signals_end_it_with_a_summary() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let ns = Netns::new();
        let agent = Agent::live(&[]);
        let facts = some_connections(&ns);
        // Events that happened before the signal come after it.
        agent.signal(signal);
        let ended = agent.end();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.stream.lost(), 0);
        let wrong = compare::differences(&ended.stream, &facts, &[ns.inode()]);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", ended.stream.dump(&[ns.inode()]));
    }
}

#[test]
fn summary_counts_what_was_printed() {
    let ns = Netns::new();
    let trace = Trace::with(&["--netns", &ns.inode().to_string()]);
    let facts = some_connections(&ns);
    let stream = trace.expect_filtered(&[&ns], &facts);
    let summary = stream.summary();
    for kind in ["listen", "connect", "established", "accept", "close"] {
        assert_eq!(summary["events"][kind], stream.kind(kind).count(), "{kind}: {summary}");
    }
    let closes = |verdict: &str| stream.kind("close").filter(|e| e["verdict"] == verdict).count();
    assert_eq!(summary["connections"], 6, "{summary}");
    assert_eq!(summary["verdicts"]["closed_remote"], closes("closed_remote"), "{summary}");
    assert!(summary["backends"].is_object() && summary["cost"].is_object(), "{summary}");
}

#[test]
fn closed_pipe_ends_it() {
    let ns = Netns::new();
    let mut child = Command::new(tracer_program())
        .args(["live", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tracer starts");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let mut log = String::new();
    while !log.contains(READY) {
        let mut bytes = [0; 4096];
        let n = stderr.read(&mut bytes).expect("stderr is read");
        assert!(n > 0, "tracer gets ready: {log}");
        log.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    let objects = bpf::objects_of(child.id());
    drop(child.stdout.take());
    let _ = some_connections(&ns);
    let ended = sys::until(|| Ok(matches!(child.try_wait(), Ok(Some(_)))));
    if ended.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().expect("tracer ends");
    stderr.read_to_string(&mut log).expect("stderr is read");
    assert_eq!(ended, Ok(()), "tracer notices that its reader is gone:\n{log}");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(sys::until(|| Ok(!objects.iter().any(|object| object.exists()))), Ok(()));
}

#[test]
fn duration_ends_it() {
    let ns = Netns::new();
    let asked = scale::time(Duration::from_millis(1500));
    let agent = Agent::live(&["--duration", &format!("{}ms", asked.as_millis())]);
    let facts = some_connections(&ns);
    let ended = agent.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let wrong = compare::differences(&ended.stream, &facts, &[ns.inode()]);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let took = Duration::from_nanos(ended.stream.summary()["duration_ns"].as_u64().unwrap_or_default());
    let (least, most) = (asked - Duration::from_millis(100), asked * 3);
    assert!((least..most).contains(&took), "{}", ended.stream.summary());
}

#[test]
fn count_ends_it() {
    let ns = Netns::new();
    let agent = Agent::live(&["--count", "5", "--netns", &ns.inode().to_string()]);
    let _ = some_connections(&ns);
    let ended = agent.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.stream.summary()["event"], "summary");
    // Five events, and the summary.
    assert_eq!(ended.stream.events.len(), 6, "{:?}", ended.stream.events);
}

#[test]
fn wrong_usage_never_starts() {
    for args in [
        &["live", "--no-such-option"][..],
        &["live", "--port", "99999999"],
        &["live", "--addr", "not-an-address"],
        &["live", "--role", "bystander"],
        &["live", "--duration", "soon"],
        &["live", "--verdict", "guilty"],
        &["run"],
        &["nonsense"],
        &["live", "--netns", "no-such-namespace"],
        &["live", "-p", "4000000000"],
    ] {
        let (status, out, log) = run_to_end(args);
        assert_eq!((status.code(), out.as_str()), (Some(2), ""), "{args:?}: {log}");
        assert!(!log.is_empty() && !log.contains(READY), "{args:?}: {log}");
    }
}

#[test]
fn unwritable_output_is_said() {
    let (status, out, log) = run_to_end(&["live", "--json", "-o", "/nonexistent/file"]);
    assert_eq!((status.code(), out.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("/nonexistent/file") && !log.contains(READY), "{log}");
}

#[test]
fn quiet_says_nothing() {
    let silent = Netns::new();
    let (status, out, log) = run_to_end(&["live", "--json", "-q", "--duration", "100ms", "--netns", silent.name()]);
    assert_eq!((status.code(), log.as_str()), (Some(0), ""));
    assert_eq!(out.lines().count(), 1, "the summary is part of the stream: {out}");
}

#[test]
fn not_root_is_said() {
    if let Some(reason) = missing_tool("setpriv") {
        return skip(&reason);
    }
    let copy = Public::new();
    let out = Command::new("setpriv")
        .args(["--reuid", "12345", "--regid", "12345", "--clear-groups"])
        .arg(copy.path())
        .args(["live", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("setpriv runs");
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(1), 0), "{log}");
    assert!(log.contains("root") && !log.contains("panicked"), "{log}");
}
