//! `tracer why` beside a listener whose accept queue is full: the cause, its words, its end.

use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::why::{Answer, Why, has, text};

/// A listener whose queue has been full since before the trace, and a client that tries in vain.
fn against_a_full_queue(port: u16, args: &[&str]) -> (Answer, Duration) {
    let (a, b) = Netns::pair();
    let (server, client) = (
        Actor::builder(&b).comm(&format!("lazy {port}")).start(),
        Actor::builder(&a).comm(&format!("keen {port}")).start(),
    );
    let at = format!("10.7.0.2:{port}");
    let _listener = Listener::open_with(&server, &b, at.as_str(), 1, 0, |_| ());
    let fds: Vec<i64> = (0..2).map(|_| client.socket(4)).collect();
    fds.iter().for_each(|fd| assert_eq!(client.connect(*fd, at.as_str()).errno(), None, "the queue has room"));
    let why = Why::start(args);
    let began = Instant::now();
    for _ in 0..4 {
        let fd = client.nonblocking_socket(4);
        assert_eq!(client.connect(fd, at.as_str()).errno(), Some("EINPROGRESS"));
    }
    let answer = why.end();
    (answer, began.elapsed())
}

fn is_the_full_queue(cause: &Value, port: u16) {
    let text = cause["text"].as_str().unwrap_or_default();
    assert!(text.contains(&format!("10.7.0.2:{port}")), "{cause:#}");
    assert!(has(cause, "culprits", &format!("lazy {port}")), "{cause:#}");
    assert!(has(cause, "sufferers", &format!("keen {port}")), "{cause:#}");
    assert_eq!((&cause["severity"], &cause["certain"]), (&"failure".into(), &true.into()), "{cause:#}");
    assert!(cause["where"]["netns_name"].as_str().is_some_and(|name| name.starts_with("tracer-test")), "{cause:#}");
}

#[test]
fn a_full_accept_queue_is_found_by_whoever_suffers_and_the_trace_ends_early() {
    let (answer, took) = against_a_full_queue(4811, &["keen 4811"]);
    is_the_full_queue(answer.first(), 4811);
    assert_eq!(answer.harmful().len(), 1, "one cause: {:#?}", answer.causes);
    assert!(took >= Duration::from_secs(4), "never before {took:?}");
    let traced = answer.summary["duration_ns"].as_u64().expect("a duration");
    assert!(traced < 10_000_000_000, "early: {traced}");
}

#[test]
fn a_full_accept_queue_is_found_by_its_address_in_all_of_the_time_that_is_asked_for() {
    let (answer, _) = against_a_full_queue(4812, &["--for", "7s", "10.7.0.2:4812"]);
    is_the_full_queue(answer.first(), 4812);
    let traced = answer.summary["duration_ns"].as_u64().expect("a duration");
    assert!(traced >= 7_000_000_000, "all of it: {traced}");
}

#[test]
fn others_causes_are_counted_but_not_told() {
    let ns = Netns::new();
    let client = Actor::builder(&ns).comm("bystander").start();
    let server = Actor::builder(&ns).comm("other server").start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:4813");
    let mut shown = String::new();
    std::thread::scope(|scope| {
        let text = scope.spawn(|| text(&["--for", "7s", "bystander"], || ()));
        let (answer, _) = against_a_full_queue(4814, &["--for", "6s", "keen 4814"]);
        is_the_full_queue(answer.first(), 4814);
        shown = text.join().expect("the text comes").replace('\n', " ");
    });
    drop((listener, client));
    assert!(shown.contains("nothing wrong with the network of bystander"), "{shown}");
    assert!(shown.contains("elsewhere on this host: "), "{shown}");
}
