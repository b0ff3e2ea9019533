//! Findings obey the filters, and what they rest on is traced also where it is not printed.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{address, attempt, wait};
use tracer_tests::netns::Netns;
use tracer_tests::reason;
use tracer_tests::skip::{lacks, skip};
use tracer_tests::stream::Stream;

/// A namespace with a port that a rule closes, and one that nobody listens at.
struct Stage {
    ns: Netns,
    ruled: SocketAddr,
    closed: SocketAddr,
}

impl Stage {
    fn set(ports: [u16; 2]) -> Self {
        let ns = Netns::new();
        let [ruled, closed] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        ns.nft_rule("output", &format!("tcp dport {} drop", ruled.port()));
        Self { ns, ruled, closed }
    }

    /// A connection to each of the two fails.
    fn play(&self) {
        attempt(&self.ns, self.ruled);
        assert!(self.ns.within(|| TcpStream::connect(self.closed)).is_err());
    }
}

/// The findings of the stream, and those of the summary, that speak of `end`.
fn about(stream: &Stream, end: SocketAddr) -> Vec<String> {
    let all = stream.kind("finding").chain(stream.summary()["findings"].as_array().into_iter().flatten());
    let of_end = all.filter(|finding| finding["text"].as_str().is_some_and(|text| text.contains(&end.to_string())));
    of_end.map(|finding| finding["name"].as_str().expect("a name").to_owned()).collect()
}

fn is_finding(event: &Value, end: SocketAddr) -> bool {
    event["event"] == "finding" && event["text"].as_str().is_some_and(|text| text.contains(&end.to_string()))
}

#[test]
fn findings_alone_have_their_sources() {
    let stage = Stage::set([4060, 4061]);
    let agent = Agent::live(&["--event", "finding"]);
    stage.play();
    // That the attempt had no answer may be said first.
    for (name, end) in [("syn_dropped_by_policy", stage.ruled), ("nobody_listens", stage.closed)] {
        wait(&agent, name, |event| is_finding(event, end) && event["name"] == name);
    }
    let ended = agent.stop();
    let others = ended
        .stream
        .events
        .iter()
        .filter(|e| !["finding", "lost", "summary"].contains(&e["event"].as_str().unwrap_or("")));
    assert_eq!(others.count(), 0, "what they rest on is not printed");
}

#[test]
fn findings_obey_reason() {
    if !reason::any() {
        return skip(&lacks("drop reasons", "--reason is refused"));
    }
    let stage = Stage::set([4062, 4063]);
    let agent = Agent::live(&["--reason", "NETFILTER_DROP", "--event", "drop,finding"]);
    if !reason::exists("NETFILTER_DROP") {
        return skip(&lacks("NETFILTER_DROP", "rules have no reason of their own"));
    }
    stage.play();
    // The rule's comes last.
    attempt(&stage.ns, stage.ruled);
    wait(&agent, "finding of the rule", |event| is_finding(event, stage.ruled));
    let ended = agent.stop();
    assert_eq!(about(&ended.stream, stage.closed), [""; 0], "NO_SOCKET was not asked for");
    assert!(!about(&ended.stream, stage.ruled).is_empty());
}

#[test]
fn findings_obey_verdict() {
    let stage = Stage::set([4064, 4065]);
    let agent = Agent::live(&["--verdict", "refused"]);
    stage.play();
    wait(&agent, "refused", |event| event["event"] == "close" && event["rport"] == stage.closed.port());
    let ended = agent.stop();
    assert_eq!(about(&ended.stream, stage.ruled), [""; 0], "that one was not refused");
    assert!(!about(&ended.stream, stage.closed).is_empty());
}

#[test]
fn findings_obey_netns_and_ports() {
    let (here, elsewhere) = (Stage::set([4066, 4067]), Stage::set([4068, 4069]));
    let of_netns = Agent::live(&["--netns", here.ns.name()]);
    let of_port = Agent::live(&["--rport", "4067,4068"]);
    elsewhere.play();
    here.play();
    wait(&of_netns, "finding of the namespace", |event| is_finding(event, here.closed));
    wait(&of_port, "finding of the port", |event| is_finding(event, here.closed));
    let (of_netns, of_port) = (of_netns.stop().stream, of_port.stop().stream);
    for end in [elsewhere.ruled, elsewhere.closed] {
        assert_eq!(about(&of_netns, end), [""; 0], "of another namespace");
    }
    assert!(!about(&of_netns, here.ruled).is_empty());
    for end in [elsewhere.closed, here.ruled] {
        assert_eq!(about(&of_port, end), [""; 0], "of another port");
    }
    assert!(!about(&of_port, elsewhere.ruled).is_empty());
}

/// What findings are drawn from may be many, and is one process's.
#[test]
fn findings_obey_pid() {
    let stage = Stage::set([4070, 4071]);
    let to = address("127.0.0.1:4071");
    let agent = Agent::live(&["-p", &std::process::id().to_string()]);
    let mut other =
        stage.ns.command("bash").args(["-c", "exec 3<>/dev/tcp/127.0.0.1/4070"]).spawn().expect("bash starts");
    let mut another =
        stage.ns.command("bash").args(["-c", "exec 3<>/dev/tcp/127.0.0.1/4072"]).spawn().expect("bash starts");
    assert!(another.wait().is_ok_and(|status| !status.success()), "nobody listens there");
    assert!(stage.ns.within(|| TcpStream::connect(to)).is_err());
    wait(&agent, "finding of this process", |event| is_finding(event, to));
    let ended = agent.stop();
    let _ = other.kill();
    let _ = other.wait();
    for end in [stage.ruled, address("127.0.0.1:4072")] {
        assert_eq!(about(&ended.stream, end), [""; 0], "of another process");
    }
}
