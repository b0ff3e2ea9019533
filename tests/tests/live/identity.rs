//! The identity of a process: its number may be used again, its control group names its container.

use serde_json::Value;
use tracer_tests::alone::alone;
use tracer_tests::cgroup::Cgroup;
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::skip::skip;
use tracer_tests::trace::Trace;

/// Clock ticks since boot at which a process started: field 22 of its `stat`. The name before it may hold any
/// character.
fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let rest = stat.rsplit_once(')').expect("its name ends").1;
    rest.split_whitespace().nth(19).and_then(|text| text.parse().ok()).expect("a start")
}

/// Starts a process with the free number `pid`.
fn start_as(pid: u32, ns: &Netns) -> Actor {
    for _ in 0..200 {
        let actor = Actor::builder(ns).copy("second").number(pid).start();
        if actor.process.pid == pid {
            return actor;
        }
    }
    panic!("other processes take number {pid} each time");
}

#[test]
fn a_number_that_is_used_again() {
    alone();
    let ns = Netns::new();
    let server = Actor::start(&ns);
    let trace = Trace::start();
    let first = Actor::builder(&ns).copy("first").start();
    let who = first.process.clone();
    let first_ticks = start_ticks(who.pid);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut facts = Vec::new();
    let pair = Pair::open(&first, &ns, &listener);
    let (client_fd, server_fd) = (pair.client_fd, pair.server_fd);
    let [mut client_fact, mut server_fact] = pair.facts();
    client_fact.end("closed_local", None);
    server_fact.end("closed_remote", None);
    let lport = client_fact.lport.expect("a port");
    facts.extend([client_fact, server_fact]);
    // A child keeps the connection, its opener goes.
    let heir = first.fork();
    first.exit();
    let gone = tracer_tests::traffic::sys::until(|| Ok(!std::path::Path::new(&format!("/proc/{}", who.pid)).exists()));
    assert_eq!(gone, Ok(()));
    let second = start_as(who.pid, &ns);
    assert_ne!(second.process.exe, who.exe);
    let second_ticks = start_ticks(who.pid);
    assert_ne!(first_ticks, second_ticks, "they started at different times");
    let later = Pair::open(&second, &ns, &listener);
    let later_lport = later.client_fact.lport.expect("a port");
    facts.extend(later.client_closes_first());
    // The first one's connection ends while the second one lives.
    heir.on("close", client_fd);
    server.on("recv_end", server_fd);
    server.on("close", server_fd);
    facts.push(listener.close());
    let stream = trace.expect(&[&ns], &facts);
    // The comparison has checked pid and exe of every event; the start distinguishes the two processes.
    for (port, ticks) in [(lport, first_ticks), (later_lport, second_ticks)] {
        let of: Vec<&Value> =
            stream.of_netns(ns.inode()).filter(|e| e["lport"] == port && e["role"] == "client").collect();
        assert!(!of.is_empty());
        for event in of {
            let start_ns = event["owner"]["start_ns"].as_u64().expect("a start");
            assert_eq!(start_ns / 10_000_000, ticks, "{event}");
        }
    }
}

const ID: &str = "3f5c8a2be7d1904c6ab8f0e2d4c6b8a0918273645afbecd0123456789abcdef0";

/// Traces a client in the control group `below`, which is that of container [`ID`] of `runtime`. It moves there before
/// the trace begins, and after.
fn in_container(below: &str, runtime: &str) {
    let group = match Cgroup::new(below) {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    for moved_first in [true, false] {
        let ns = Netns::new();
        let server = Actor::start(&ns);
        let client = Actor::start(&ns);
        if moved_first {
            group.take(client.process.pid);
        }
        let trace = Trace::start();
        let client = if moved_first {
            client
        } else {
            // The trace has never seen this program outside the group.
            let late = Actor::builder(&ns).copy("late").start();
            group.take(late.process.pid);
            late.exec("later")
        };
        let listener = Listener::open(&server, &ns, "127.0.0.1:0");
        let mut facts = Pair::open(&client, &ns, &listener).client_closes_first().to_vec();
        facts.push(listener.close());
        let stream = trace.expect(&[&ns], &facts);
        for event in stream.of_netns(ns.inode()) {
            let owner = &event["owner"];
            if owner["pid"] == client.process.pid {
                assert_eq!(
                    (&owner["container"], &owner["container_runtime"]),
                    (&ID.into(), &runtime.into()),
                    "{event}"
                );
                assert_eq!(owner["cgroup"], group.path(), "{event}");
            } else {
                assert!(owner["container"].is_null(), "{event}");
            }
        }
        let of_socket = |event: &&Value| ["connect", "established", "close"].iter().any(|kind| event["event"] == *kind);
        assert_eq!(stream.of_owner(client.process.pid).filter(of_socket).count(), 3);
    }
}

#[test]
fn container_of_docker() {
    in_container(&format!("system.slice/docker-{ID}.scope"), "docker");
}

#[test]
fn container_of_a_pod() {
    let pod =
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a1b2c3d_0000_4000_8000_000000000000.slice";
    in_container(&format!("{pod}/cri-containerd-{ID}.scope"), "containerd");
}

#[test]
fn container_is_a_filter() {
    let group = match Cgroup::new(&format!("system.slice/docker-{ID}.scope")) {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    let ns = Netns::new();
    let (client, other, server) = (Actor::start(&ns), Actor::start(&ns), Actor::start(&ns));
    group.take(client.process.pid);
    let trace = Trace::with(&["--container", &ID[..12]]);
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    Pair::open(&other, &ns, &listener).client_closes_first();
    let [wanted, _] = Pair::open(&client, &ns, &listener).client_closes_first();
    trace.expect_filtered(&[&ns], &[wanted]);
    drop(listener);
}
