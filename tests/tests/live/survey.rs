//! What `tracer why` reads of the host beside its events: queues, processes, namespaces.

use std::net::TcpListener;

use serde_json::Value;
use tracer_tests::alone::alone;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::skip::skip;
use tracer_tests::stuck::Stuck;
use tracer_tests::traffic::sys;
use tracer_tests::why::{Answer, Why};

/// Connects until the listener's queue is full and one more SYN waits.
fn fill(client: &Actor, listener: &Listener<'_>, count: usize) {
    for _ in 0..count {
        let fd = client.nonblocking_socket(4);
        client.connect(fd, listener.addr);
    }
}

fn full_queue(answer: &Answer) -> &Value {
    let named = |cause: &&Value| cause["name"].as_str().is_some_and(|name| name.contains("accept"));
    answer.causes.iter().find(named).unwrap_or_else(|| panic!("{:#?}", answer.causes))
}

#[test]
fn a_process_that_does_not_accept_is_described() {
    let (near, far) = Netns::pair();
    let server = Actor::builder(&far).comm("never accepts").start();
    let client = Actor::builder(&near).comm("survey client").start();
    let listener = Listener::open_with(&server, &far, "10.7.0.2:4820", 1, 0, |_| ());
    fill(&client, &listener, 4);
    let why = Why::start(&["--for", "4s", ":4820"]);
    let answer = why.end();
    let cause = full_queue(&answer);
    let server = &server.process;
    assert_eq!(cause["culprits"][0]["pid"], server.pid, "{cause:#}");
    assert_eq!(cause["where"]["netns"], far.inode(), "{cause:#}");
    assert_eq!(cause["where"]["netns_name"], far.name(), "{cause:#}");
    // More wait than may.
    assert!(cause["text"].as_str().is_some_and(|text| text.contains("2 of 1")), "{cause:#}");
    // It sleeps where an actor waits for its next order.
    let text = cause["evidence"].to_string();
    assert!(text.contains("sleeps in "), "{cause:#}");
}

#[test]
fn a_process_that_is_stopped_is_seen_so() {
    let (near, far) = Netns::pair();
    let server = Actor::builder(&far).comm("stopped").start();
    let client = Actor::builder(&near).comm("survey client").start();
    let listener = Listener::open_with(&server, &far, "10.7.0.2:4821", 1, 0, |_| ());
    fill(&client, &listener, 4);
    let pid = server.process.pid;
    // SAFETY: no pointers.
    let signal = |signal| assert_eq!(unsafe { libc::kill(pid.try_into().expect("a pid"), signal) }, 0);
    signal(libc::SIGSTOP);
    let is_stopped =
        || Ok(std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T ")));
    sys::until(is_stopped).expect("it stops");
    let answer = Why::start(&["--for", "4s", ":4821"]).end();
    signal(libc::SIGCONT);
    let cause = full_queue(&answer);
    assert_eq!(cause["culprits"][0]["pid"], pid, "{cause:#}");
    let said = cause.to_string();
    assert!(said.contains("stopped") || said.contains("state T"), "{cause:#}");
}

/// A process whose memory map is locked holds no survey up.
#[test]
fn a_process_that_hangs_holds_no_survey_up() {
    alone();
    let (near, far) = Netns::pair();
    let held = far.within(|| TcpListener::bind("127.0.0.1:4822").expect("it listens"));
    let mut stuck = match Stuck::start(&far, held.local_addr().expect("an address")) {
        Ok(stuck) => stuck,
        Err(reason) => return skip(&reason),
    };
    stuck.connect();
    let accepted = held.accept().expect("it connects");
    stuck.stick();
    let server = Actor::builder(&far).comm("never accepts").start();
    let client = Actor::builder(&near).comm("survey client").start();
    let listener = Listener::open_with(&server, &far, "10.7.0.2:4823", 1, 0, |_| ());
    fill(&client, &listener, 4);
    let answer = Why::start(&["--for", "4s", ":4823"]).end();
    assert_eq!(full_queue(&answer)["culprits"][0]["pid"], server.process.pid);
    drop((accepted, stuck));
}
