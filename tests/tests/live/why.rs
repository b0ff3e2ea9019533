//! `tracer why`: its lines, its words, its end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::capability;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::schema;
use tracer_tests::why::{Why, text};

/// Number of the user `nobody`.
const NOBODY: u32 = 65_534;

/// Makes connections that are accepted and closed by both.
fn serve(client: &Actor, listener: &Listener<'_>, count: usize) {
    for _ in 0..count {
        let fd = client.socket(4);
        assert_eq!(client.connect(fd, listener.addr).errno(), None);
        let (accepted, _) = listener.accept();
        client.on("close", fd);
        listener.actor.on("close", accepted);
    }
}

#[test]
fn nothing_is_wrong_where_all_connections_are_answered() {
    let ns = Netns::new();
    let (server, client) =
        (Actor::builder(&ns).comm("calm server").start(), Actor::builder(&ns).comm("calm client").start());
    let listener = Listener::open(&server, &ns, "127.0.0.1:4810");
    let why = Why::start(&["--for", "2s", "calm client"]);
    serve(&client, &listener, 20);
    let answer = why.end();
    assert!(answer.harmful().is_empty(), "{:#?}", answer.causes);
    let shown = text(&["--for", "2s", "calm client"], || serve(&client, &listener, 20));
    let shown = shown.replace('\n', " ");
    let calm = "nothing wrong with the network of calm client: 20 connections, all answered within ";
    assert!(shown.contains(calm), "{shown}");
    // The other side of the same connections.
    let shown = text(&["--for", "2s", "calm server"], || serve(&client, &listener, 3)).replace('\n', " ");
    assert!(shown.contains("nothing wrong with the network of calm server: 3 connections accepted"), "{shown}");
    // The whole destination.
    let shown = text(&["--for", "2s", ":4810"], || serve(&client, &listener, 3)).replace('\n', " ");
    assert!(shown.contains("nothing wrong with the network of :4810: 3 connections, all answered"), "{shown}");
}

#[test]
fn words_that_name_nothing_are_said() {
    let (status, out, log) = run_to_end(&["why", "--for", "200ms", "no-such-thing", "192.0.2.77:9"]);
    let out = out.replace('\n', " ");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(out.contains("no process, container, namespace or unit is called no-such-thing"), "{out}");
    assert!(out.contains("no namespace of this host has the address 192.0.2.77:9"), "{out}");
    assert!(out.contains("nothing wrong with the network of no-such-thing, 192.0.2.77:9: no connection was seen"));
    // With --json on stderr.
    let (_, out, log) = run_to_end(&["why", "--json", "--for", "200ms", "no-such-thing"]);
    assert!(log.contains("is called no-such-thing") && !out.contains("is called"), "{out}{log}");
    for (word, part) in [(":0", "ports go from 1 to 65535"), ("", "names nothing")] {
        let (status, _, log) = run_to_end(&["why", word]);
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains(part), "{log}");
    }
}

#[test]
fn a_service_is_its_port() {
    let (_, out, log) = run_to_end(&["why", "--for", "200ms", "10.7.7.7:postgresql"]);
    assert!(log.contains("postgresql is the service at port 5432"), "{out}{log}");
}

#[test]
fn a_signal_ends_it_with_the_answer_so_far() {
    let began = Instant::now();
    let answer = Why::start(&["--for", "10m"]).stop();
    assert!(answer.summary["duration_ns"].as_u64().is_some_and(|ns| ns > 0));
    assert!(began.elapsed() < Duration::from_mins(1));
}

/// What a user without privileges gets: status, stdout, stderr.
fn as_nobody(args: &[&str]) -> (Option<i32>, String, String) {
    let (mut command, program) = capability::command(&tracer_program(), NOBODY, &[]).expect("the tracer is opened");
    command.arg("why").args(args).stdin(Stdio::null());
    let out = command.output().expect("tracer starts");
    drop(program);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn without_privileges_it_says_less_and_why() {
    let (status, out, log) = as_nobody(&["--for", "1s"]);
    let out = out.replace('\n', " ");
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("tracing needs root, or CAP_PERFMON and CAP_BPF: run it with sudo"), "{log}");
    assert!(out.contains("without a trace: failures, retransmissions and drops are not seen"), "{out}");
    assert!(!out.contains("nothing wrong with the network"), "that cannot be known: {out}");
    let (status, out, log) = as_nobody(&["--json", "-q"]);
    assert_eq!((status, log.as_str()), (Some(0), ""), "{out}");
    let summary: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("the last line is JSON");
    schema::check(&summary);
    assert_eq!(summary["degraded"][0]["name"], "untraced", "{summary}");
}

#[test]
fn a_process_without_sockets_is_known() {
    let ns = Netns::new();
    let actor = Actor::builder(&ns).comm("no sockets").start();
    for word in ["no sockets", &actor.process.pid.to_string()] {
        let shown = text(&["--for", "200ms", word], || ()).replace('\n', " ");
        assert!(!shown.contains("is called"), "{shown}");
        assert!(
            shown.contains(&format!("nothing wrong with the network of {word}: no connection was seen")),
            "{shown}"
        );
    }
}
