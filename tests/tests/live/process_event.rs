//! `process`: the facts about a process, once, before its first event; their cost is bounded.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::cgroup::Cgroup;
use tracer_tests::churn::said;
use tracer_tests::generator::{Actor, Listener, Pair, traffic_program};
use tracer_tests::netns::Netns;
use tracer_tests::process::memory;
use tracer_tests::scale;
use tracer_tests::skip::skip;
use tracer_tests::stream::Stream;
use tracer_tests::trace::Trace;

/// The kernel takes arguments of up to 128 KiB.
const LARGE: usize = 100_000;

fn of_pid(stream: &Stream, pid: u32) -> Vec<&Value> {
    stream.kind("process").filter(|event| event["pid"] == pid).collect()
}

/// Whether the first event of `pid` in the stream is that of its process.
fn is_introduced(stream: &Stream, pid: u32) -> bool {
    let first = stream.events.iter().find(|event| event["pid"] == pid || event["owner"]["pid"] == pid);
    first.is_some_and(|event| event["event"] == "process")
}

#[test]
fn a_process_is_told_once_before_its_first_event() {
    let ns = Netns::new();
    let (older, server) = (Actor::builder(&ns).comm("older").start(), Actor::start(&ns));
    let trace = Trace::start();
    let younger = Actor::start(&ns);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Vec::new();
    for client in [&older, &younger, &older, &younger] {
        facts.extend(Pair::open(client, &ns, &listener).client_closes_first());
    }
    facts.push(listener.close());
    let stream = trace.expect(&[&ns], &facts);
    for actor in [&older, &younger, &server] {
        let told = of_pid(&stream, actor.process.pid);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(is_introduced(&stream, actor.process.pid));
        assert_eq!(told[0]["cmdline"][1], "actor", "{}", told[0]);
        assert_eq!((&told[0]["exe"], &told[0]["comm"]), (&json!(actor.process.exe), &json!(actor.process.name)));
        assert_eq!((&told[0]["uid"], &told[0]["euid"]), (&json!(0), &json!(0)));
    }
    let owners = stream.events.iter().filter(|event| event["owner"].is_object());
    assert!(owners.clone().count() > 0 && owners.clone().all(|event| event["owner"].get("cmdline").is_none()));
    let processes = stream.kind("process").count() as u64;
    assert_eq!(stream.summary()["events"]["process"], processes);
}

#[test]
fn a_process_that_executes_another_program_is_told_again() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    // An open connection stays the first program's; its close comes after the second program's events.
    let kept = Pair::open(&client, &ns, &listener);
    let (fd, accepted) = (kept.client_fd, kept.server_fd);
    let mut ends = kept.facts();
    ends[0].end("closed_local", None);
    ends[1].end("closed_remote", None);
    let before = client.process.clone();
    let client = client.exec("another");
    facts.extend(Pair::open(&client, &ns, &listener).client_closes_first());
    client.on("close", fd);
    server.on("recv_end", accepted);
    server.on("close", accepted);
    facts.extend(ends);
    facts.push(listener.close());
    let stream = trace.expect(&[&ns], &facts);
    let told: Vec<&Value> = of_pid(&stream, before.pid).iter().map(|event| &event["exe"]).collect();
    assert_eq!(told, [&json!(before.exe), &json!(client.process.exe)]);
}

#[test]
fn processes_are_told_only_if_the_filters_want_them() {
    let ns = Netns::new();
    let inode = ns.inode().to_string();
    let of = |event: &str| Agent::live(&["--netns", &inode, "--event", event]);
    let (closes, both, only) = (of("close"), of("close,process"), of("process"));
    let others = Agent::live(&["--netns", &inode, "--comm", "nobody"]);
    let trace = Trace::start();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
    let kinds = |agent: Agent| {
        let mut stream = agent.stop().stream;
        stream.events.pop();
        stream
    };
    let closes = kinds(closes);
    assert_eq!(closes.events.len(), 3);
    assert_eq!(closes.kind("close").count(), 3);
    let both = kinds(both);
    assert_eq!((both.kind("process").count(), both.kind("close").count(), both.events.len()), (2, 3, 5));
    let only = kinds(only);
    assert_eq!((only.kind("process").count(), only.events.len()), (2, 2));
    assert_eq!(kinds(others).events.len(), 0);
}

#[test]
fn large_arguments_are_told_once_and_cut_and_take_no_memory() {
    let ns = Netns::new();
    let connections = scale::load(4000, 400);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(tracer_program());
    command.args(["live", "--json", "--netns", &ns.inode().to_string()]);
    // The test reads the stream once all has happened.
    let agent = Agent::start(&mut command, Some(File::from(OwnedFd::from(writer))));
    drop(command);
    agent.await_ready();
    let mut churn = Command::new(traffic_program());
    churn.arg0("\u{1b}".repeat(LARGE)).args(["churn", "--connections", &connections.to_string(), "--threads", "2"]);
    let churn = ns.within(|| churn.stdout(Stdio::piped()).spawn()).expect("the churn starts");
    let pid = churn.id();
    let _ = said(churn);
    let peak = memory(agent.pid(), "VmHWM");
    // Rings, tables, and the 64 MiB that may wait.
    assert!(peak < 160 << 20, "{} KiB", peak >> 10);
    let reading = std::thread::spawn(move || Stream::read(BufReader::new(reader)));
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let stream = reading.join().expect("it reads");
    let closes = stream.kind("close").filter(|event| event["owner"]["pid"] == pid).count();
    assert!(closes >= connections, "{closes} ends: {}", stream.summary());
    let told = of_pid(&stream, pid);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(is_introduced(&stream, pid));
    assert_eq!(told[0]["cmdline_cut"], true, "{}", told[0]);
    assert_eq!(told[0]["cmdline"], json!(["\u{1b}".repeat(4096)]));
    let longest = stream.events.iter().filter(|event| event["owner"].is_object()).map(|event| event.to_string().len());
    assert!(longest.max().is_some_and(|length| length < 4096));
}

/// A control group with the name of a container's, in a place where no runtime puts one.
#[test]
fn a_container_that_anybody_can_have_made_is_claimed() {
    const ID: &str = "3f5c8a2be7d1904c6ab8f0e2d4c6b8a0918273645afbecd0123456789abcdef0";
    let group = match Cgroup::new(&format!("docker-{ID}.scope")) {
        Ok(group) => group,
        Err(why) => return skip(&why),
    };
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    group.take(client.process.pid);
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
    facts.push(listener.close());
    let stream = trace.expect(&[&ns], &facts);
    for event in of_pid(&stream, client.process.pid).into_iter().chain(stream.of_owner(client.process.pid)) {
        let said = if event["event"] == "process" { event } else { &event["owner"] };
        assert_eq!((&said["container"], &said["container_claimed"]), (&json!(ID), &json!(true)), "{event}");
    }
    assert_eq!(of_pid(&stream, server.process.pid)[0].get("container_claimed"), None);
    drop(client);
}

/// A runtime makes a process first and moves it then: a connection has the control group of its time.
#[test]
fn a_process_that_is_moved_has_the_control_group_of_each_connection() {
    let group = match Cgroup::new("moved") {
        Ok(group) => group,
        Err(why) => return skip(&why),
    };
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let agent = Agent::live(&["--netns", ns.name(), "--event", "close"]);
    let before = Pair::open(&client, &ns, &listener).client_closes_first();
    // The tracer reads /proc a moment after each.
    agent.wait_for("the first one's close", |e| e["owner"]["pid"] == client.process.pid);
    group.take(client.process.pid);
    let after = Pair::open(&client, &ns, &listener).client_closes_first();
    drop((before, after));
    let closes = |events: &[Value]| {
        let is = |e: &&Value| e["event"] == "close" && e["owner"]["pid"] == client.process.pid;
        events.iter().filter(is).map(|e| e["owner"]["cgroup"].clone()).collect::<Vec<_>>()
    };
    assert!(agent.settles(|events| closes(events).len() == 2), "both have a close");
    let groups = closes(&agent.stop().stream.events);
    assert_ne!(groups[0], group.path(), "the first one was opened before");
    assert_eq!(groups[1], group.path());
    drop(client);
}
