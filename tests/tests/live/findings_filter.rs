//! Findings obey the filters; their evidence is traced even where it is not printed.

use std::net::{SocketAddr, TcpStream};

use tracer_tests::agent::Agent;
use tracer_tests::drops::{address, attempt};
use tracer_tests::netns::Netns;
use tracer_tests::reason;
use tracer_tests::skip::{lacks, skip};
use tracer_tests::stream::Stream;

/// A namespace with a port that a rule closes, and a port without a listener.
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

/// The findings in the stream and in the summary that name `end`.
fn about(stream: &Stream, end: SocketAddr) -> Vec<String> {
    let all = stream.kind("finding").chain(stream.summary()["findings"].as_array().into_iter().flatten());
    let of_end = all.filter(|finding| finding["text"].as_str().is_some_and(|text| text.contains(&end.to_string())));
    of_end.map(|finding| finding["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn findings_alone_have_their_sources() {
    let stage = Stage::set([4060, 4061]);
    let agent = Agent::live(&["--event", "finding"]);
    stage.play();
    // The finding that the attempt had no answer may come first.
    for (name, end) in [("syn_dropped_by_policy", stage.ruled), ("nobody_listens", stage.closed)] {
        agent.finding(name, &end.to_string());
    }
    let ended = agent.stop();
    let others = ended
        .stream
        .events
        .iter()
        .filter(|e| !["finding", "lost", "summary"].contains(&e["event"].as_str().unwrap_or("")));
    assert_eq!(others.count(), 0, "the evidence is not printed");
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
    // A second drop by the rule comes last.
    attempt(&stage.ns, stage.ruled);
    agent.finding("", &stage.ruled.to_string());
    let ended = agent.stop();
    assert_eq!(about(&ended.stream, stage.closed), [""; 0], "NO_SOCKET was not asked for");
    assert!(!about(&ended.stream, stage.ruled).is_empty());
}

#[test]
fn findings_obey_verdict() {
    let stage = Stage::set([4064, 4065]);
    let agent = Agent::live(&["--verdict", "refused"]);
    stage.play();
    agent.wait_for("refused", |event| event["event"] == "close" && event["rport"] == stage.closed.port());
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
    of_netns.finding("", &here.closed.to_string());
    of_port.finding("", &here.closed.to_string());
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

/// Other processes have failed connections meanwhile: they are left out.
#[test]
fn findings_obey_pid() {
    let stage = Stage::set([4070, 4071]);
    let to = address("127.0.0.1:4071");
    let agent = Agent::live(&["-p", &std::process::id().to_string()]);
    let mut other =
        stage.ns.command("bash").args(["-c", "exec 3<>/dev/tcp/127.0.0.1/4070"]).spawn().expect("bash starts");
    let mut another =
        stage.ns.command("bash").args(["-c", "exec 3<>/dev/tcp/127.0.0.1/4072"]).spawn().expect("bash starts");
    assert!(another.wait().is_ok_and(|status| !status.success()), "there is no listener");
    assert!(stage.ns.within(|| TcpStream::connect(to)).is_err());
    agent.finding("", &to.to_string());
    let ended = agent.stop();
    let _ = other.kill();
    let _ = other.wait();
    for end in [stage.ruled, address("127.0.0.1:4072")] {
        assert_eq!(about(&ended.stream, end), [""; 0], "of another process");
    }
}
