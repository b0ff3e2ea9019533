//! A tracer in a pid namespace of its own: processes have the numbers of /proc there, and those outside have none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::netns::Netns;
use tracer_tests::pid_ns::PidNs;
use tracer_tests::stream::Stream;

/// A process that prints its number, connects when a line comes, and ends.
const CLIENT: &str = "import os, socket, sys\n\
    print(os.readlink('/proc/self'), os.getpid(), flush=True)\n\
    sys.stdin.readline()\n\
    socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()\n";

/// A [`CLIENT`] that waits, the number that /proc has for it, and its own.
struct Client(Child, u64, u64);

impl Client {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it speaks");
        let mut numbers = line.split_whitespace().map(|number| number.parse().expect("a number"));
        let (pid, own) = (numbers.next().expect("a number"), numbers.next().expect("two numbers"));
        Self(child, pid, own)
    }

    fn go(mut self) {
        self.0.stdin.take().expect("a pipe").write_all(b"go\n").expect("it hears");
        assert!(self.0.wait().expect("it ends").success());
    }
}

/// A listener in `ns`, of this process, and its port.
fn listener(ns: &Netns) -> (TcpListener, String) {
    let listener = ns.within(|| TcpListener::bind("127.0.0.1:0").expect("it listens"));
    let port = listener.local_addr().expect("it has an address").port().to_string();
    (listener, port)
}

/// `tracer live --json ARGS` in there, once it is ready.
fn live(pids: &PidNs, args: &[&str]) -> Agent {
    let mut command = pids.command(tracer_program());
    command.args(["live", "--json"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let agent = Agent::of(pids.within(|| command.spawn().expect("tracer starts")));
    agent.await_ready();
    agent
}

fn degraded(stream: &Stream) -> bool {
    let degraded = stream.summary()["degraded"].as_array().cloned().unwrap_or_default();
    degraded.iter().any(|degradation| degradation["name"] == "pid_namespace")
}

/// The owners of the client's and the server's events in `netns`.
fn owners<'a>(stream: &'a Stream, netns: u64, role: &str) -> Vec<&'a Value> {
    let of_role = stream.of_netns(netns).filter(|event| event["role"] == role && event["event"] != "drop");
    of_role.map(|event| &event["owner"]).collect()
}

#[test]
fn owners_have_the_numbers_of_this_namespace_and_those_outside_have_none() {
    let (ns, pids) = (Netns::new(), PidNs::new());
    let agent = live(&pids, &["--netns", &ns.inode().to_string()]);
    let (listener, port) = listener(&ns);
    let client = ns.within(|| pids.within(|| Client::start(pids.command("python3").args(["-c", CLIENT, &port]))));
    let number = client.1;
    client.go();
    drop(listener.accept().expect("it accepts"));
    // This process is of the outer namespace.
    let outside = ns.within(|| TcpStream::connect(listener.local_addr().expect("an address")).expect("it connects"));
    let port = outside.local_addr().expect("an address").port();
    drop(outside);
    drop(listener.accept().expect("it accepts"));
    let mut closed = 0;
    agent.wait_for("all ends", |event| {
        closed += usize::from(event["event"] == "close");
        closed == 4
    });
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let stream = &ended.stream;
    assert!(degraded(stream), "{}", stream.summary());
    assert!(ended.log.contains("pid_namespace: "), "{}", ended.log);
    let clients = owners(stream, ns.inode(), "client");
    assert!(clients.iter().any(|owner| owner["pid"] == number && owner["comm"] == "python3"), "{clients:?}");
    let of_port = |event: &&Value| event["role"] == "client" && event["lport"] == port;
    let conn = stream.kind("close").find(of_port).map(|close| &close["conn"]).expect("its close");
    for event in stream.of_netns(ns.inode()).filter(|event| event["role"] == "client" && event["event"] != "drop") {
        let own = event["conn"] == *conn;
        assert_eq!(event["owner"].is_null(), own, "{event}");
        let source = if own { "unknown" } else { "connect" };
        assert_eq!(event["owner_source"], source, "{event}");
    }
    // The process that listens and accepts is outside, too.
    for role in ["server", "listener"] {
        let owners = owners(stream, ns.inode(), role);
        assert!(!owners.is_empty() && owners.iter().all(|owner| owner.is_null()), "{role}: {owners:?}");
    }
}

#[test]
fn run_shows_its_command() {
    let (ns, pids) = (Netns::new(), PidNs::new());
    let (listener, port) = listener(&ns);
    let accepts = std::thread::spawn(move || listener.accept().map(drop));
    let command = format!("{CLIENT}\nsys.exit(7)");
    let mut run = pids.command(tracer_program());
    run.args(["run", "--json", "--", "python3", "-c", &command, &port]).stdin(Stdio::null());
    let out = ns.within(|| pids.within(|| run.output().expect("tracer starts")));
    assert_eq!(out.status.code(), Some(7), "{out:?}");
    accepts.join().expect("it accepts").expect("it accepts");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let number: u64 = said.split_whitespace().next().and_then(|number| number.parse().ok()).expect("its number");
    let events = String::from_utf8_lossy(&out.stderr).into_owned();
    let events: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for kind in ["connect", "established", "close"] {
        let event = events.iter().find(|event| event["event"] == kind);
        let event = event.unwrap_or_else(|| panic!("no {kind}: {events:?}"));
        assert_eq!(event["owner"]["pid"], number, "{event}");
    }
}

/// /proc is that of the outer namespace: events have its numbers.
#[test]
fn run_shows_its_command_where_proc_is_of_the_namespace_above() {
    let ns = Netns::new();
    let (listener, port) = listener(&ns);
    let accepts = std::thread::spawn(move || listener.accept().map(drop));
    let mut run = Command::new("unshare");
    run.args(["--pid", "--fork"]).arg(tracer_program()).args(["run", "--json", "--", "python3", "-c", CLIENT, &port]);
    let out = ns.within(|| run.stdin(Stdio::null()).output().expect("tracer starts"));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    accepts.join().expect("it accepts").expect("it accepts");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let numbers: Vec<u64> = said.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    assert!(numbers[0] > numbers[1], "{numbers:?}");
    let events = String::from_utf8_lossy(&out.stderr).into_owned();
    let events: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let close = events.iter().find(|event| event["event"] == "close").unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(close["owner"]["pid"], numbers[0], "{close}");
}

#[test]
fn a_process_is_not_taken_for_the_one_that_has_its_number_outside() {
    let (ns, pids) = (Netns::new(), PidNs::new());
    let (listener, port) = listener(&ns);
    // Gives a process inside the number of this process, which is outside and connects, too.
    let own = std::process::id();
    let same = format!("echo {} > /proc/sys/kernel/ns_last_pid; python3 -c \"$0\" {port}; true", own - 1);
    let client = ns.within(|| pids.within(|| Client::start(pids.command("sh").args(["-c", &same, CLIENT]))));
    assert_eq!(client.1, u64::from(own), "it has this number");
    let agent = live(&pids, &["-p", &own.to_string(), "--netns", &ns.inode().to_string()]);
    let outside = ns.within(|| TcpStream::connect(listener.local_addr().expect("an address")).expect("it connects"));
    drop(listener.accept().expect("it accepts"));
    drop(outside);
    client.go();
    drop(listener.accept().expect("it accepts"));
    agent.wait_for("its end", |event| event["event"] == "close");
    let ended = agent.stop();
    let closes: Vec<_> = ended.stream.kind("close").collect();
    assert_eq!(closes.len(), 1, "{closes:?}");
    assert_eq!((&closes[0]["owner"]["comm"], &closes[0]["owner"]["pid"]), (&"python3".into(), &own.into()));
}

#[test]
fn a_process_of_a_namespace_below_has_its_number_in_this_one() {
    let (ns, pids) = (Netns::new(), PidNs::new());
    let (listener, port) = listener(&ns);
    let agent = live(&pids, &["--netns", &ns.inode().to_string()]);
    let client = ns.within(|| {
        let mut command = pids.command("unshare");
        pids.within(|| Client::start(command.args(["--pid", "--fork", "python3", "-c", CLIENT, &port])))
    });
    let (number, own) = (client.1, client.2);
    assert!(own == 1 && number != 1, "{number} {own}");
    client.go();
    drop(listener.accept().expect("it accepts"));
    agent.wait_for("its end", |event| event["event"] == "close" && event["role"] == "client");
    let ended = agent.stop();
    let clients = owners(&ended.stream, ns.inode(), "client");
    assert!(clients.iter().all(|owner| owner["pid"] == number && owner["comm"] == "python3"), "{clients:?}");
}

/// Without types the tracer cannot know the numbers of this namespace: no event has one, and filters on them are
/// refused.
#[test]
fn without_type_information_nobody_is_named() {
    let (ns, pids) = (Netns::new(), PidNs::new());
    let (listener, port) = listener(&ns);
    let agent = live(&pids, &["--btf", "none", "--port", &port]);
    let client = ns.within(|| pids.within(|| Client::start(pids.command("python3").args(["-c", CLIENT, &port]))));
    client.go();
    drop(listener.accept().expect("it accepts"));
    agent.wait_for("its end", |event| event["event"] == "close" && event["role"] == "client");
    let ended = agent.stop();
    assert!(degraded(&ended.stream), "{}", ended.stream.summary());
    let named = ended.stream.events.iter().find(|event| event.get("owner").is_some_and(|owner| !owner.is_null()));
    assert_eq!(named, None);
    for args in [&["live", "--btf", "none", "-p", "1"][..], &["live", "--btf", "none", "-p", "!1"]] {
        let out = pids.within(|| pids.command(tracer_program()).args(args).output().expect("tracer starts"));
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains("no process can be named here") && said.contains("--pid=host"), "{said}");
    }
}

#[test]
fn doctor_says_so() {
    let pids = PidNs::new();
    let mut doctor = pids.command(tracer_program());
    let out = pids.within(|| doctor.args(["doctor", "--json"]).output().expect("tracer starts"));
    let lines = String::from_utf8_lossy(&out.stdout).into_owned();
    let found = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found = found.into_iter().find(|finding| finding["name"] == "pid_namespace").expect("it is looked at");
    assert_eq!(found["ok"], false, "{found}");
    assert!(found["cost"].as_str().is_some_and(|cost| cost.contains("--pid=host")), "{found}");
}
