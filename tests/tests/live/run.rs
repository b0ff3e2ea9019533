//! `tracer run -- CMD`: the connections of the command and its children, from their first instruction, and no others;
//! the command keeps its streams and status.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::{Value, json};
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::compare;
use tracer_tests::generator::{Actor, Fact, Listener, Process, traffic_program};
use tracer_tests::netns::{Netns, leave_scratch, scratch};
use tracer_tests::process::signal;
use tracer_tests::skip::{missing_tool, skip};
use tracer_tests::stream::Stream;
use tracer_tests::traffic::sys;

/// A file of this test's own for the events.
fn events_file(name: &str) -> PathBuf {
    scratch().join(format!("run-{name}"))
}

/// `tracer run --json -o FILE -- COMMAND`.
fn tracer_run(file: &Path, command: &[&str]) -> Command {
    let mut tracer = Command::new(tracer_program());
    tracer.args(["run", "--json", "-o"]).arg(file).arg("--").args(command);
    tracer
}

fn read(file: &Path) -> Stream {
    let stream = Stream::read(BufReader::new(std::fs::File::open(file).expect("the events open")));
    std::fs::remove_file(file).expect("the events are removed");
    leave_scratch();
    stream
}

/// Runs it to its end: status, stdout, stderr.
fn finish(command: &mut Command) -> (ExitStatus, String, String) {
    let out = command.stdin(Stdio::null()).output().expect("tracer starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status, text(&out.stdout), text(&out.stderr))
}

#[test]
fn status_is_the_commands() {
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        let file = events_file("status");
        let (ended, out, log) = finish(&mut tracer_run(&file, &["sh", "-c", script]));
        assert_eq!((ended.code(), out.as_str()), (Some(status), ""), "{script}: {log}");
        assert_eq!(read(&file).lost(), 0);
    }
}

#[test]
fn status_of_what_cannot_be_started() {
    let file = events_file("start");
    let (missing, _, log) = finish(&mut tracer_run(&file, &["/nonexistent/command"]));
    assert_eq!(missing.code(), Some(127), "{log}");
    assert!(log.contains("/nonexistent/command"), "{log}");
    let plain = scratch().join("not-executable");
    std::fs::write(&plain, "no program").expect("a file is written");
    let (forbidden, _, log) = finish(&mut tracer_run(&file, &[plain.to_str().expect("a path")]));
    std::fs::remove_file(&plain).expect("the file is removed");
    let _ = std::fs::remove_file(&file);
    leave_scratch();
    assert_eq!(forbidden.code(), Some(126), "{log}");
}

#[test]
fn status_when_tracer_fails() {
    let (status, out, log) = run_to_end(&["run", "--json", "-o", "/nonexistent/file", "--", "echo", "started"]);
    assert_eq!((status.code(), out.as_str()), (Some(125), ""), "{log}");
    assert!(log.contains("/nonexistent/file"), "{log}");
}

#[test]
fn streams_are_the_commands() {
    let file = events_file("streams");
    let mut tracer = tracer_run(&file, &["sh", "-c", "cat; echo error >&2"]);
    let mut child =
        tracer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tracer starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    std::io::Write::write_all(&mut input, b"through\n").expect("the command reads");
    drop(input);
    let out = child.wait_with_output().expect("tracer ends");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "through\n");
    assert!(String::from_utf8_lossy(&out.stderr).lines().any(|line| line == "error"));
    assert_eq!(out.status.code(), Some(0));
    let _ = read(&file);
}

#[test]
fn user_of_the_command() {
    let file = events_file("user");
    let mut tracer = Command::new(tracer_program());
    tracer.args(["run", "--user", "nobody", "--json", "-o"]).arg(&file).args(["--", "id", "-un"]);
    let (status, out, log) = finish(&mut tracer);
    assert_eq!((status.code(), out.as_str()), (Some(0), "nobody\n"), "{log}");
    let _ = read(&file);
}

/// Waits for a line of the command.
fn wait_for_line(child: &mut Child, line: &str) {
    let out = child.stdout.as_mut().expect("stdout is piped");
    let mut lines = BufReader::new(out).lines();
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some(line));
}

#[test]
fn signals_are_passed_on() {
    for (number, name) in
        [(libc::SIGTERM, "TERM"), (libc::SIGINT, "INT"), (libc::SIGHUP, "HUP"), (libc::SIGUSR1, "USR1")]
    {
        let file = events_file(name);
        // The shell waits for a child that the signal does not end, as a server would.
        let script = format!("trap 'kill $!; exit 42' {name}; sleep 600 & echo ready; wait");
        let mut tracer = tracer_run(&file, &["sh", "-c", &script]);
        let mut child =
            tracer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tracer starts");
        wait_for_line(&mut child, "ready");
        signal(&child, number);
        assert_eq!(child.wait().expect("tracer ends").code(), Some(42), "SIG{name}");
        let _ = read(&file);
    }
}

/// The client side of a `traffic once` that said `line`.
fn once_fact(ns: &Netns, line: &str) -> Fact {
    let did: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let address = |key: &str| did[key].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let mut fact = Fact::new("client", ns, &Process::from_json(&did["who"]), address("local"))
        .peer(address("peer").expect("a peer"))
        .label("of the command")
        .ends("closed_local", None);
    fact.tx = did["tx"].as_u64();
    fact
}

#[test]
fn command_and_descendants_only() {
    let ns = Netns::new();
    let (server, stranger) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let serving = server.begin(json!({ "op": "serve", "fd": listener.fd, "count": 5, "thread": "serve" }));
    let stranger_connects = || {
        let fd = stranger.socket(4);
        assert_eq!(stranger.connect(fd, listener.addr).errno(), None);
        stranger.on("close", fd);
    };
    stranger_connects();
    let file = events_file("only");
    let once = format!("{} once {} 9", traffic_program().display(), listener.addr);
    // A child, a grandchild that outlives its parent, and the command's own process by exec.
    let script = format!("{once}; ({once} & wait); echo ready; read line; exec {once}");
    let mut tracer = tracer_run(&file, &["ip", "netns", "exec", ns.name(), "sh", "-c", &script]);
    let mut child =
        tracer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tracer starts");
    let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("a line") > 0, "the command went away after {lines:?}");
        if line == "ready\n" {
            break;
        }
        lines.push(line);
    }
    stranger_connects();
    std::io::Write::write_all(child.stdin.as_mut().expect("stdin is piped"), b"\n").expect("the command reads");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the last line");
    lines.extend(rest.lines().map(str::to_owned));
    let ended = child.wait_with_output().expect("tracer ends");
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{log}");
    server.finish(serving);
    let facts: Vec<Fact> = lines.iter().map(|line| once_fact(&ns, line)).collect();
    assert_eq!(facts.len(), 3);
    let stream = read(&file);
    let wrong = compare::differences(&stream, &facts, &[ns.inode()]);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}{log}", stream.dump(&[ns.inode()]));
    // No events of other namespaces.
    let others: Vec<&Value> =
        stream.events.iter().filter(|e| e["netns"].is_u64() && e["netns"] != ns.inode()).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// nginx in the foreground with `workers` workers at port 8080, its files in `dir`.
fn nginx_arguments(dir: &Path) -> String {
    let dir = dir.display();
    let config = dir.to_string() + "/nginx.conf";
    let text = format!(
        "daemon off; master_process on; worker_processes 2; pid {dir}/pid; error_log {dir}/errors;
         events {{ worker_connections 64; accept_mutex off; }}
         http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
                 uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                 server {{ listen 127.0.0.1:8080 reuseport; location / {{ return 200 'hello world'; }} }} }}"
    );
    std::fs::write(&config, text).expect("the configuration is written");
    config
}

/// Waits until port 8080 of the namespace has a listener.
fn await_listener(ns: &Netns) {
    let listening = || {
        ns.within(|| {
            let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
            Ok(table.lines().any(|line| line.contains(":1F90 ") && line.contains(" 0A ")))
        })
    };
    assert_eq!(sys::until(listening), Ok(()), "nginx listens");
}

/// A directory for nginx, or the reason to skip.
fn nginx_directory(name: &str) -> Result<PathBuf, String> {
    if let Some(reason) = ["nginx", "curl"].into_iter().find_map(missing_tool) {
        return Err(reason);
    }
    let dir = scratch().join(name);
    std::fs::create_dir_all(&dir).expect("a directory is made");
    Ok(dir)
}

#[test]
fn curl_against_nginx() {
    let dir = match nginx_directory("nginx-server") {
        Ok(dir) => dir,
        Err(reason) => return skip(&reason),
    };
    let ns = Netns::new();
    let config = nginx_arguments(&dir);
    let mut nginx = ns.command("nginx").args(["-c", &config]).stdin(Stdio::null()).spawn().expect("nginx starts");
    await_listener(&ns);
    let file = events_file("curl");
    let command = ["ip", "netns", "exec", ns.name(), "curl", "-s", "http://127.0.0.1:8080/"];
    let (status, out, log) = finish(&mut tracer_run(&file, &command));
    signal(&nginx, libc::SIGTERM);
    nginx.wait().expect("nginx ends");
    std::fs::remove_dir_all(&dir).expect("nginx's directory is removed");
    assert_eq!((status.code(), out.as_str()), (Some(0), "hello world"), "{log}");

    let stream = read(&file);
    let dump = stream.dump(&[ns.inode()]);
    let conns = stream.conns(&[ns.inode()]);
    assert_eq!(conns.len(), 1, "one connection, and nothing of nginx: {dump}");
    // The kernel may drop the last FIN with the socket's queue: this test ignores drops.
    let events: Vec<_> =
        conns.values().next().expect("one connection").iter().filter(|e| e["event"] != "drop").collect();
    let kinds: Vec<_> = events.iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(kinds, ["connect", "established", "close"], "{dump}");
    let close = events[2];
    assert_eq!((&close["role"], &close["rport"]), (&json!("client"), &json!(8080)), "{dump}");
    assert_eq!((&close["owner"]["comm"], &close["verdict"]), (&json!("curl"), &json!("closed_local")), "{dump}");
    assert!(close["owner"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/curl")), "{dump}");
    assert!(close["tx_bytes"].as_u64() > Some(50) && close["rx_bytes"].as_u64() > Some(100), "{dump}");
}

#[test]
fn nginx_under_the_tracer() {
    let dir = match nginx_directory("nginx-traced") {
        Ok(dir) => dir,
        Err(reason) => return skip(&reason),
    };
    let ns = Netns::new();
    let config = nginx_arguments(&dir);
    let file = events_file("nginx");
    let mut tracer = tracer_run(&file, &["ip", "netns", "exec", ns.name(), "nginx", "-c", &config]);
    let child = tracer.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("tracer starts");
    await_listener(&ns);
    for _ in 0..8 {
        assert_eq!(ns.run(&["curl", "-s", "http://127.0.0.1:8080/"]), "hello world");
    }
    signal(&child, libc::SIGTERM);
    let ended = child.wait_with_output().expect("tracer ends");
    std::fs::remove_dir_all(&dir).expect("nginx's directory is removed");
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{log}");

    let stream = read(&file);
    let dump = stream.dump(&[ns.inode()]);
    let master = stream.kind("listen").find_map(|e| e["owner"]["pid"].as_u64()).unwrap_or_else(|| panic!("{dump}"));
    let served: Vec<&Value> = stream.kind("close").filter(|e| e["role"] == "server").collect();
    assert_eq!(served.len(), 8, "{dump}");
    for close in served {
        assert_eq!((&close["owner"]["comm"], &close["owner_source"]), (&json!("nginx"), &json!("accept")), "{dump}");
        assert_ne!(close["owner"]["pid"], master, "a worker accepts, not the master: {dump}");
        assert_eq!(close["verdict"], "closed_remote", "{dump}");
    }
    assert_eq!(stream.events.iter().filter(|e| e["role"] == "client").count(), 0, "nothing of curl: {dump}");
}
