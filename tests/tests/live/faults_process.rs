//! Many processes, process numbers that come back, tracers that are killed, and many tracers.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::alone::alone;
use tracer_tests::bpf::{all_objects, objects_of};
use tracer_tests::churn::churn;
use tracer_tests::generator::{Pair, traffic};
use tracer_tests::machine;
use tracer_tests::netns::Netns;
use tracer_tests::process::memory;
use tracer_tests::scale;
use tracer_tests::scene::Scene;
use tracer_tests::skip::skip;
use tracer_tests::stream::Stream;
use tracer_tests::traffic::sys::until;

/// A process of the swarm that has connected.
struct Connected {
    pid: u64,
    port: u64,
    start_ticks: u64,
}

/// Starts `processes` processes in `ns`; one in `every` connects to a listener of this process.
fn swarm(ns: &Netns, processes: usize, every: usize) -> Vec<Connected> {
    let listener = ns.within(|| TcpListener::bind("127.0.0.1:0").expect("it listens"));
    let to = listener.local_addr().expect("it has an address").to_string();
    let mut swarm = traffic(ns);
    swarm.args(["swarm", &processes.to_string(), &to, &every.to_string()]).stdout(Stdio::piped());
    let made = swarm.spawn().expect("the swarm starts");
    listener.set_nonblocking(true).expect("it need not wait");
    for accepted in 0..processes.div_ceil(every) {
        // Bounded, in case one does not come.
        let come = until(|| Ok(listener.accept().is_ok()));
        assert_eq!(come, Ok(()), "one of the swarm connects after {accepted}");
    }
    let out = made.wait_with_output().expect("the swarm ends");
    assert!(out.status.success(), "each that should has connected");
    let line = |line: &str| {
        let mut numbers = line.split(' ').map(|number| number.parse().expect("the facts are numbers"));
        let mut next = || numbers.next().expect("a fact has three numbers");
        Connected { pid: next(), port: next(), start_ticks: next() }
    };
    String::from_utf8_lossy(&out.stdout).lines().map(line).collect()
}

/// Checks that every client has a close with the process that connected, by number and start. A call that was `missed`
/// may cost one of them its close or its owner; none gets a wrong owner.
fn check_owners(stream: &Stream, ns: &Netns, made: &[Connected], missed: u64) {
    let closes = stream.kind("close").filter(|e| e["netns"] == ns.inode() && e["role"] == "client");
    let (known, unknown): (Vec<&Value>, Vec<&Value>) = closes.partition(|close| !close["owner"].is_null());
    let mut left: Vec<&Connected> = made.iter().collect();
    for close in known {
        let is = |one: &&Connected| close["lport"] == one.port && close["owner"]["pid"] == one.pid;
        let at = left.iter().position(is).unwrap_or_else(|| panic!("no such process has made it: {close}"));
        let one = left.swap_remove(at);
        let start_ns = close["owner"]["start_ns"].as_u64().expect("a start");
        assert_eq!(start_ns / 10_000_000, one.start_ticks, "{close}");
        assert_eq!(close["owner"]["comm"], "traffic", "{close}");
    }
    let of_nobody = unknown.len() as u64;
    assert!(of_nobody <= missed, "{missed} missed: {unknown:?}");
    let first = left.first().map(|one| (one.pid, one.port));
    assert!((left.len() as u64) <= missed, "{missed} missed, {} of {}: {first:?}", left.len(), made.len());
}

#[test]
fn ten_thousand_short_processes() {
    alone();
    let ns = Netns::new();
    let agent = Agent::live(&["--netns", &ns.inode().to_string()]);
    // On a slow machine the tracer lags behind for a while, and grows meanwhile.
    let told = |connections: usize| {
        let mut left = connections;
        agent.wait_for("close of each", |event| {
            left -= usize::from(event["event"] == "close" && event["role"] == "client");
            left == 0
        });
    };
    // The memory that a first swarm needs stays allocated.
    let first = swarm(&ns, 500, 5).len();
    told(first);
    let before = memory(agent.pid(), "VmRSS");
    let made = swarm(&ns, scale::load(10_000, 1000), 20);
    told(first + made.len());
    let after = memory(agent.pid(), "VmRSS");
    println!("{} KiB, then {} KiB", before >> 10, after >> 10);
    assert!(after < before + (8 << 20), "{} KiB became {} KiB", before >> 10, after >> 10);
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.stream.lost(), 0, "{}", ended.stream.summary());
    let is_of = |event: &Value, one: &Connected| event["lport"] == one.port && event["owner"]["pid"] == one.pid;
    let all = &ended.stream.events;
    let events: Vec<Value> = all.iter().filter(|event| made.iter().any(|one| is_of(event, one))).cloned().collect();
    // The events of each port whose close is missing or has no owner.
    for one in made.iter().filter(|one| !events.iter().any(|event| event["event"] == "close" && is_of(event, one))) {
        let of_port = |event: &&Value| event["lport"] == one.port || event["rport"] == one.port;
        println!("{} at {}: {:#?}", one.pid, one.port, all.iter().filter(of_port).collect::<Vec<_>>());
    }
    check_owners(&Stream { events }, &ns, &made, 0);
}

/// The kernel's limit, put back when dropped.
struct PidMax(String);

impl PidMax {
    const PATH: &str = "/proc/sys/kernel/pid_max";

    fn set(most: u32) -> Self {
        let before = Self(std::fs::read_to_string(Self::PATH).expect("the limit is read"));
        std::fs::write(Self::PATH, most.to_string()).expect("the limit is set");
        before
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::PATH, &self.0);
    }
}

/// Records have the numbers of the initial namespace: a limit of another pid namespace would not bring them back.
#[test]
fn numbers_that_come_back_again_and_again() {
    if let Err(reason) = machine::own() {
        return skip(&reason);
    }
    let ns = Netns::new();
    let agent = Agent::live(&[]);
    let limit = PidMax::set(700);
    let made = swarm(&ns, 1800, 1);
    drop(limit);
    let numbers: BTreeSet<u64> = made.iter().map(|one| one.pid).collect();
    assert!(numbers.len() < 700 && made.len() == 1800, "{} numbers of {} processes", numbers.len(), made.len());
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    check_owners(&ended.stream, &ns, &made, ended.stream.missed());
}

/// Killed and waited for when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    alone();
    let ns = Netns::new();
    let before = all_objects();
    let left = || -> Vec<_> { all_objects().difference(&before).copied().collect() };
    // Each round kills the tracer when it holds some more objects; the last rounds kill it after it is ready.
    let whole = {
        let agent = Agent::live(&[]);
        objects_of(agent.pid()).len()
    };
    println!("{whole} objects");
    let rounds = scale::load(20, 8);
    for round in 0..rounds {
        let mut command = Command::new(tracer_program());
        command.args(["live", "--json"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tracer = Killed(command.spawn().expect("tracer starts"));
        let wanted = whole * round * 5 / (rounds * 4);
        let come = until(|| Ok(objects_of(tracer.0.id()).len() >= wanted.min(whole)));
        assert_eq!(come, Ok(()), "it has {wanted} objects of {whole}");
        if wanted > whole {
            churn(&ns, 50 * round);
        }
        tracer.0.kill().expect("it is killed");
        let status = tracer.0.wait().expect("it is waited for");
        assert_eq!(status.signal(), Some(libc::SIGKILL), "it had not ended by itself");
        // The kernel frees programs after a grace period.
        assert_eq!(until(|| Ok(left().is_empty())), Ok(()), "after {wanted} of {whole} objects: {:?}", left());
    }
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = scene.pair(&listener).client_closes_first().to_vec();
    facts.push(listener.close());
    scene.expect(&facts);
}

/// The events of a namespace in one stream, without the tracer's own numbers of connections.
fn told(stream: &Stream, ns: &Netns) -> Vec<String> {
    const KEYS: [&str; 11] =
        ["event", "role", "laddr", "lport", "raddr", "rport", "owner", "verdict", "errno", "tx_bytes", "rx_bytes"];
    let line = |event: &Value| {
        // Before accept() a connection has the listener's owner, another process here; accept() may overtake the event.
        let is_early = event["event"] == "established" && event["role"] == "server";
        // Another program than the one of the transitions reports a reset, at the same moment as some of them: before
        // the accept its owner is the listener's, before the port is known it has none.
        let is_reset = event["event"] == "reset";
        let differs = |key: &str| (is_early || is_reset) && key == "owner" || is_reset && key == "role";
        let keys = KEYS.iter().filter(|key| !differs(key));
        keys.map(|key| format!("{key}={} ", event[*key])).collect()
    };
    let mut lines: Vec<String> = stream.of_netns(ns.inode()).map(line).collect();
    lines.sort_unstable();
    lines
}

/// Checks owners of resets. They depend on the order in which a tracer reads the records, but are always of an end or
/// of the listener.
fn check_owners_of_resets(stream: &Stream, ns: &Netns) {
    let ports = |event: &Value| [event["lport"].as_u64(), event["rport"].as_u64()];
    let known = |event: &&Value| event["event"] != "reset" && event["owner"]["pid"].is_u64();
    let others: Vec<&Value> = stream.of_netns(ns.inode()).filter(known).collect();
    for reset in stream.of_netns(ns.inode()).filter(|event| event["event"] == "reset") {
        let Some(owner) = reset["owner"]["pid"].as_u64() else { continue };
        let [lport, rport] = ports(reset);
        let concerns = |event: &Value| match event["event"].as_str() {
            Some("listen") => [lport, rport].contains(&event["lport"].as_u64()),
            _ => ports(event) == [lport, rport] || ports(event) == [rport, lport],
        };
        let is_one = others.iter().any(|event| concerns(event) && event["owner"]["pid"] == owner);
        assert!(is_one, "{reset} is of a process that has nothing to do with it");
    }
}

fn at_once(tracers: usize) {
    let ns = Netns::new();
    let scene = Scene::loopback();
    let mut others: Vec<Agent> = Vec::new();
    // Two start at a time: more would keep an emulated machine busy for longer than the patience of the tests.
    while others.len() + 1 < tracers {
        let new = others.len()..(others.len() + 2).min(tracers - 1);
        others.extend(new.clone().map(|_| Agent::start(Command::new(tracer_program()).args(["live", "--json"]), None)));
        others[new].iter().for_each(Agent::await_ready);
    }
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = Vec::new();
    for n in 1..6 {
        let mut pair: Pair<'_> = scene.pair(&listener);
        pair.client_sends(n);
        pair.server_sends(n * 100);
        facts.extend(match n % 3 {
            0 => pair.client_closes_first(),
            1 => pair.server_closes_first(),
            _ => pair.client_resets(),
        });
    }
    facts.push(listener.close());
    churn(&ns, scale::load(600, 100));
    scene.trace.fence();
    // All events that the first tracer has printed have happened.
    for other in &others {
        let due = 2 * scale::load(600, 100) + 1;
        let closes = |events: &[Value]| {
            events.iter().filter(|e| e["event"] == "close" && e["netns"] == ns.inode()).count() >= due
        };
        assert!(other.settles(closes), "every tracer prints every close");
    }
    others.iter().for_each(|other| other.signal(libc::SIGINT));
    let streams: Vec<Stream> = others
        .into_iter()
        .map(|other| {
            let ended = other.end();
            assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
            assert_eq!(ended.stream.lost(), 0, "{}", ended.stream.summary());
            ended.stream
        })
        .collect();
    let stream = scene.expect(&facts);
    let first = told(&stream, &ns);
    check_owners_of_resets(&stream, &ns);
    assert!(!first.is_empty(), "of {}", ns.inode());
    for (number, other) in streams.iter().enumerate() {
        let same = told(other, &ns);
        check_owners_of_resets(other, &ns);
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|line| !those.contains(line)).take(5).cloned().collect()
        };
        let (here, there) = (only(&first, &same), only(&same, &first));
        assert!(
            first == same,
            "tracer {number} has {} of {}; only here {here:#?}, only there {there:#?}",
            same.len(),
            first.len()
        );
    }
}

#[test]
fn two_tracers_say_the_same() {
    at_once(2);
}

#[test]
fn ten_tracers_say_the_same() {
    alone();
    at_once(10);
}

/// One ends while the other traces: neither takes anything from the other.
#[test]
fn one_that_ends_leaves_the_other_alone() {
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = Vec::new();
    for stopped in [false, true] {
        let other = Agent::live(&["--duration", "1h"]);
        facts.extend(scene.pair(&listener).client_closes_first());
        if stopped {
            assert_eq!(other.stop().status.code(), Some(0));
        } else {
            other.signal(libc::SIGKILL);
            assert_eq!(other.end().status.signal(), Some(libc::SIGKILL));
        }
        facts.extend(scene.pair(&listener).client_resets());
    }
    facts.push(listener.close());
    scene.expect(&facts);
}
