//! `tracer why` beside the usual incidents, each made small in namespaces of its own: the first cause about those who
//! suffer names the culprit, the place and the reason.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracer_tests::drops::Row;
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::traffic::sys;
use tracer_tests::why::{Answer, Why, has};

/// How long a client waits for an answer before it gives up: long enough for a second SYN.
const GIVE_UP: Duration = Duration::from_millis(1500);

/// A client that opens connections, and gives those up that have no answer.
struct Caller {
    actor: Actor,
    to: String,
    tries: VecDeque<(i64, Instant)>,
    /// Between two calls.
    pause: Duration,
    /// How long a connection is kept, answered or not.
    kept: Duration,
}

impl Caller {
    fn new(ns: &Netns, comm: &str, to: &str) -> Self {
        let actor = Actor::builder(ns).comm(comm).start();
        Self { actor, to: to.to_owned(), tries: VecDeque::new(), pause: Duration::from_millis(100), kept: GIVE_UP }
    }

    /// Opens one more.
    fn call(&mut self) {
        let fd = self.actor.nonblocking_socket(4);
        let _ = self.actor.connect(fd, self.to.as_str());
        self.tries.push_back((fd, Instant::now()));
        while self.tries.front().is_some_and(|(_, began)| began.elapsed() > self.kept) {
            if let Some((fd, _)) = self.tries.pop_front() {
                self.actor.on("close", fd);
            }
        }
        sys::pause(self.pause);
    }
}

/// The first cause; the message of a failed check has all of them.
fn first(answer: &Answer) -> &Value {
    let cause = answer.first();
    println!("{}\n{}", answer.brief(), answer.log);
    cause
}

fn string<'a>(cause: &'a Value, key: &str) -> &'a str {
    cause["where"][key].as_str().unwrap_or_default()
}

/// The pids of the culprits.
fn culprits(cause: &Value) -> Vec<u64> {
    cause["culprits"].as_array().into_iter().flatten().filter_map(|party| party["pid"].as_u64()).collect()
}

/// A process with a listener of its own at a port of several.
fn reusing(ns: &Netns, comm: &str, at: &str, backlog: u32) -> (Actor, i64) {
    let actor = Actor::builder(ns).comm(comm).start();
    let fd = actor.socket(4);
    actor.socket_option(fd, libc::SO_REUSEPORT, 1);
    actor.bind(fd, at);
    actor.must(json!({ "op": "listen", "fd": fd, "backlog": backlog }));
    (actor, fd)
}

#[test]
fn one_of_the_listeners_of_a_port_does_not_accept() {
    let (a, b) = Netns::pair();
    let at = "10.7.0.2:4820";
    let workers: Vec<(Actor, i64)> = [2, 64, 64].map(|backlog| reusing(&b, "press", at, backlog)).into();
    for (worker, fd) in workers.iter().skip(1) {
        // Blocks in a thread of its own.
        let _ = worker.begin(json!({ "op": "serve", "fd": fd, "count": 100_000, "thread": "server" }));
    }
    let stuck = u64::from(workers[0].0.process.pid);
    // A worker serves one connection after the other: short and few ones leave its queue empty.
    let (pause, kept) = (Duration::from_millis(150), Duration::from_millis(100));
    let mut caller = Caller { pause, kept, ..Caller::new(&a, "buyer", at) };
    // Its queue is full when the trace begins.
    fill_a_queue(&b, 4820, &mut caller);
    let why = Why::start(&["buyer"]);
    let answer = why.during(|| caller.call());
    let cause = first(&answer);
    assert_eq!(culprits(cause), [stuck], "the one that does not accept: {cause:#}");
    assert!(has(cause, "sufferers", "buyer"), "{cause:#}");
    assert_eq!((string(cause, "listener"), string(cause, "netns_name")), (at, b.name()), "{cause:#}");
    assert_eq!(cause["severity"], "failure", "{cause:#}");
}

/// Calls until a queue of the port is full.
fn fill_a_queue(ns: &Netns, port: u16, caller: &mut Caller) {
    let full = || {
        let text = ns.run(&["ss", "-Hltn", &format!("sport = :{port}")]);
        text.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip(1).map(|word| word.parse::<u32>().unwrap_or(0));
            words.next() > words.next()
        })
    };
    let end = Instant::now() + sys::patience();
    while !full() {
        assert!(Instant::now() < end, "a queue gets full");
        caller.call();
    }
}

#[test]
fn a_rule_rejects_connections() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "tcp dport 4822 ct state new reject with icmpx admin-prohibited");
    // The kernel answers by one ICMP message a second, and by six at first.
    let pause = Duration::from_millis(1100);
    let mut caller = Caller { pause, ..Caller::new(&a, "payer", "10.7.0.2:4822") };
    let answer = Why::start(&["payer"]).during(|| caller.call());
    let cause = first(&answer);
    assert!(has(cause, "sufferers", "payer"), "{cause:#}");
    assert_eq!(string(cause, "netns_name"), b.name(), "{cause:#}");
    assert!(string(cause, "rule").contains("tcp dport 4822 ct state new reject"), "{cause:#}");
    assert_eq!((&cause["severity"], &cause["peer"]), (&"failure".into(), &"10.7.0.2:4822".into()), "{cause:#}");
}

/// Sends again and again, and never waits for a reader for long.
fn bulk(client: &Actor, server: &Actor, listener: &Listener<'_>, bytes: u64) {
    let fd = client.socket(4);
    assert_eq!(client.connect(fd, listener.addr).errno(), None);
    let (accepted, _) = listener.accept();
    let reading = server.begin(json!({ "op": "recv_end", "fd": accepted, "thread": "reader" }));
    client.send(fd, bytes);
    client.on("close", fd);
    let _ = server.finish(reading);
    server.on("close", accepted);
}

#[test]
fn a_policer_on_a_router_slows_a_transfer() {
    let row = Row::new();
    row.middle.nft(
        "table netdev police {\nchain arrival {\ntype filter hook ingress device wire1 priority 0; policy accept;\n\
         meta length > 1000 limit rate over 500 kbytes/second burst 32 kbytes drop\n}\n}\n",
    );
    let server = Actor::builder(&row.right).comm("vault").start();
    let client = Actor::builder(&row.left).comm("nightly copy").start();
    let listener = Listener::open(&server, &row.right, "10.8.2.1:4824");
    let why = Why::start(&["--for", "6s", "nightly copy"]);
    let answer = why.during(|| bulk(&client, &server, &listener, 400_000));
    let cause = first(&answer);
    assert!(has(cause, "sufferers", "nightly copy"), "{cause:#}");
    assert_eq!((string(cause, "netns_name"), string(cause, "iface")), (row.middle.name(), "wire1"), "{cause:#}");
    assert!(string(cause, "rule").contains("limit rate over 500 kbytes/second"), "{cause:#}");
}

#[test]
fn a_queueing_discipline_on_a_router_drops() {
    let row = Row::new();
    row.middle.run(&[
        "tc", "qdisc", "add", "dev", "wire2", "root", "handle", "7:", "tbf", "rate", "4mbit", "burst", "16k", "limit",
        "12k",
    ]);
    let server = Actor::builder(&row.right).comm("vault").start();
    let client = Actor::builder(&row.left).comm("uploader").start();
    let listener = Listener::open(&server, &row.right, "10.8.2.1:4825");
    let why = Why::start(&["--for", "6s", "uploader"]);
    let answer = why.during(|| bulk(&client, &server, &listener, 400_000));
    let cause = first(&answer);
    assert_eq!((string(cause, "netns_name"), string(cause, "iface")), (row.middle.name(), "wire2"), "{cause:#}");
    assert!(string(cause, "qdisc").contains("tbf"), "{cause:#}");
    assert!(has(cause, "sufferers", "uploader") || has(cause, "culprits", "uploader"), "{cause:#}");
}
#[test]
fn an_orphan_holds_the_port_and_does_not_accept() {
    let (a, b) = Netns::pair();
    let at = "10.7.0.2:4821";
    let parent = Actor::builder(&b).comm("gate").start();
    let listener = Listener::open_with(&parent, &b, at, 2, 0, |_| ()).addr;
    let orphan = parent.fork();
    orphan.must(json!({ "op": "set_comm", "comm": "resizer" }));
    let pid = u64::from(orphan.must(json!({ "op": "who" })).who.pid);
    parent.kill();
    let next = Actor::builder(&b).comm("gate").start();
    let mut caller = Caller::new(&a, "visitor", at);
    fill_a_queue(&b, listener.port(), &mut caller);
    let why = Why::start(&["visitor"]);
    let mut calls = 0;
    let answer = why.during(|| {
        caller.call();
        calls += 1;
        if calls % 5 == 0 {
            let fd = next.socket(4);
            assert_eq!(next.try_bind(fd, at).as_deref(), Some("EADDRINUSE"));
            next.on("close", fd);
        }
    });
    let cause = first(&answer);
    assert_eq!(culprits(cause), [pid], "{cause:#}");
    assert!(has(cause, "culprits", "resizer") && has(cause, "sufferers", "visitor"), "{cause:#}");
    assert_eq!(string(cause, "listener"), at, "{cause:#}");
    let all = cause.to_string();
    assert!(all.contains("EADDRINUSE") && all.contains("gate"), "that the service cannot come back: {cause:#}");
}

#[test]
fn a_router_forgets_idle_connections_and_drops_what_comes_later() {
    let row = Row::new();
    row.middle.nft(
        "table inet fw {\nchain forward {\ntype filter hook forward priority 0; policy accept;\n\
         ct state invalid drop\n}\n}\n",
    );
    row.middle.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
    row.middle.sysctl("net/netfilter/nf_conntrack_tcp_timeout_established", "2");
    let server = Actor::builder(&row.right).comm("ledger").start();
    let client = Actor::builder(&row.left).comm("clerk").start();
    let listener = Listener::open(&server, &row.right, "10.8.2.1:4823");
    let why = Why::start(&["clerk"]);
    let open = || {
        let fd = client.socket(4);
        assert_eq!(client.connect(fd, listener.addr).errno(), None);
        let (accepted, _) = listener.accept();
        client.send(fd, 100);
        server.recv(accepted, 100);
        server.send(accepted, 200);
        client.recv(fd, 200);
        fd
    };
    let idle = open();
    let opened = Instant::now();
    let mut asked = false;
    let answer = why.during(|| {
        if !asked && opened.elapsed() > Duration::from_millis(4000) {
            asked = true;
            client.send(idle, 100);
            // A new one passes.
            open();
        }
        sys::pause(Duration::from_millis(50));
    });
    let cause = first(&answer);
    assert!(has(cause, "sufferers", "clerk"), "{cause:#}");
    assert_eq!(string(cause, "netns_name"), row.middle.name(), "{cause:#}");
    assert!(string(cause, "rule").contains("ct state invalid drop"), "{cause:#}");
    assert_eq!(cause["severity"], "failure", "{cause:#}");
}

#[test]
fn a_process_keeps_what_others_have_closed_until_it_has_no_descriptors() {
    let (a, b) = Netns::pair();
    let hoarder = Actor::builder(&b).comm("hoarder").start();
    let upstream = Actor::builder(&a).comm("upstream").start();
    let back = Listener::open(&upstream, &a, "10.7.0.1:4826");
    let front = Listener::open(&hoarder, &b, "10.7.0.2:4827");
    let limit = libc::rlimit { rlim_cur: 48, rlim_max: 48 };
    // SAFETY: the limit lives through the call, and no old one is asked for.
    let set = unsafe {
        libc::prlimit(hoarder.process.pid as i32, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "the limit is set");
    // The others close; it never does.
    loop {
        let made = hoarder.call(json!({ "op": "socket", "family": 4 }));
        if made.error.is_some() {
            break;
        }
        let fd = made.fd();
        assert_eq!(hoarder.connect(fd, back.addr).errno(), None);
        let (accepted, _) = back.accept();
        upstream.on("close", accepted);
        hoarder.await_state(fd, "CLOSE_WAIT");
    }
    let mut caller = Caller::new(&a, "guest", "10.7.0.2:4827");
    let why = Why::start(&["hoarder"]);
    let answer = why.during(|| {
        caller.call();
        assert!(hoarder.call(json!({ "op": "accept", "fd": front.fd })).error.is_some(), "it has no descriptor left");
    });
    let cause = first(&answer);
    assert_eq!(culprits(cause), [u64::from(hoarder.process.pid)], "{cause:#}");
    let all = format!("{} {}", cause["text"], cause["evidence"]);
    assert!(all.contains("10.7.0.1:4826") && all.contains("48"), "what it holds, and its limit: {cause:#}");
    assert_eq!(cause["severity"], "failure", "{cause:#}");
}

#[test]
fn a_stopped_name_server_answers_nothing() {
    let (a, b) = Netns::pair();
    let server = Actor::builder(&b).comm("names").start();
    let fd = server.datagram_socket(4);
    server.bind(fd, "10.7.0.2:53");
    // SAFETY: the process is this test's own.
    unsafe { libc::kill(server.process.pid as i32, libc::SIGSTOP) };
    let to: SocketAddr = "10.7.0.2:53".parse().expect("an address");
    let socket = a.within(|| UdpSocket::bind("10.7.0.1:0").expect("it binds"));
    socket.connect(to).expect("it connects");
    // A query for the address of `a.example`.
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1];
    query.extend_from_slice(b"a\x07example\0\0\x01\0\x01");
    let why = Why::start(&["names"]);
    let answer = why.during(|| {
        let _ = socket.send(&query);
        sys::pause(Duration::from_millis(200));
    });
    let cause = first(&answer);
    // SAFETY: the process is this test's own.
    unsafe { libc::kill(server.process.pid as i32, libc::SIGCONT) };
    assert_eq!(culprits(cause), [u64::from(server.process.pid)], "{cause:#}");
    assert!(cause.to_string().contains("10.7.0.2:53"), "{cause:#}");
    assert_eq!(string(cause, "netns_name"), b.name(), "{cause:#}");
}
