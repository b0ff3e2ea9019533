//! Packets that the kernel discards without a tracepoint: known from its counters, and from its account of each socket.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use serde_json::Value;
use tracer_tests::agent::{Agent, run_to_end};
use tracer_tests::alone::alone;
use tracer_tests::netns::Netns;
use tracer_tests::segment::{RST, RawIp, SYN, Segment};
use tracer_tests::stream::Stream;
use tracer_tests::traffic::sys::{self, until};

/// A listener with a full queue of two connections.
fn full(netns: &Netns, at: &str) -> (TcpListener, Vec<TcpStream>) {
    netns.within(|| {
        let listener = TcpListener::bind(at).expect("it listens");
        sys::listen(listener.as_raw_fd(), 1).expect("a shorter queue");
        let to = listener.local_addr().expect("its address");
        let waiting = (0..2).map(|_| TcpStream::connect(to).expect("there is room for two")).collect();
        (listener, waiting)
    })
}

/// Tries `count` connections, which get no answer.
fn in_vain(netns: &Netns, to: &str, count: usize) {
    let to: SocketAddr = to.parse().expect("an address");
    netns.within(|| {
        for _ in 0..count {
            assert!(TcpStream::connect_timeout(&to, Duration::from_millis(50)).is_err(), "the queue is full");
        }
    });
}

/// The counter `name` of a group of /proc/net/netstat or snmp in the namespace.
fn counted(netns: &Netns, file: &str, group: &str, name: &str) -> u64 {
    let path = format!("/proc/thread-self/net/{file}");
    let text = netns.within(|| std::fs::read_to_string(path)).expect("the kernel counts");
    let mut lines = text.lines().filter(|line| line.split(':').next() == Some(group));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let at = names.split_whitespace().position(|word| word == name).expect("the counter");
    values.split_whitespace().nth(at).and_then(|value| value.parse().ok()).expect("a number")
}

fn overflows(netns: &Netns) -> u64 {
    counted(netns, "netstat", "TcpExt", "ListenOverflows")
}

fn discards<'a>(events: &'a [Value], netns: &Netns, counter: &'a str) -> impl Iterator<Item = &'a Value> {
    let inode = netns.inode();
    events
        .iter()
        .filter(move |event| event["event"] == "discard" && event["netns"] == inode && event["counter"] == counter)
}

fn sum<'a>(events: impl Iterator<Item = &'a Value>) -> u64 {
    events.map(|event| event["count"].as_u64().expect("a count")).sum()
}

/// Waits for as many discards as the kernel has counted; returns whether they come.
fn all_told(agent: &Agent, netns: &Netns, counter: &str, count: u64) -> bool {
    agent.settles(|events| sum(discards(events, netns, counter)) >= count)
}

fn finding<'a>(stream: &'a Stream, name: &str, part: &str) -> &'a str {
    let found = stream.summary()["findings"].as_array().expect("a list").iter().find_map(|finding| {
        let text = finding["text"].as_str().expect("a sentence");
        (finding["name"] == name && text.contains(part)).then_some(text)
    });
    found.unwrap_or_else(|| panic!("no finding {name} with {part}: {}", stream.summary()["findings"]))
}

const OVERFLOWS: &str = "TcpExtListenOverflows";

#[test]
fn syns_to_a_full_accept_queue_are_told_on_the_server_with_the_listener() {
    let (client, server) = Netns::pair();
    let (_listener, _waiting) = full(&server, "10.7.0.2:4501");
    let agent = Agent::live(&["--netns", server.name()]);
    in_vain(&client, "10.7.0.2:4501", 6);
    let counted = overflows(&server);
    assert!(counted >= 6);
    assert!(all_told(&agent, &server, OVERFLOWS, counted), "the counter says {counted}");
    let stream = agent.stop().stream;
    assert_eq!(sum(discards(&stream.events, &server, OVERFLOWS)), counted, "each once");
    for discard in discards(&stream.events, &server, OVERFLOWS) {
        assert_eq!((&discard["laddr"], &discard["lport"]), (&"10.7.0.2".into(), &4501.into()), "{discard}");
        assert_eq!((&discard["owner"]["pid"], &discard["role"]), (&std::process::id().into(), &"listener".into()));
        assert_eq!((&discard["queue"], &discard["backlog"]), (&2.into(), &1.into()), "{discard}");
        assert!(discard["meaning"].as_str().is_some_and(|text| text.contains("accept queue")), "{discard}");
    }
    let text = finding(&stream, "accept_queue_overflow", "10.7.0.2:4501");
    assert!(text.contains(&format!("{counted} SYN")), "{text}");
    assert!(text.contains(&format!("[{}]: accept queue 2 of 1", std::process::id())), "{text}");
    assert_eq!(stream.summary()["discards"][OVERFLOWS], counted);
    assert_eq!(discards(&stream.events, &server, "TcpExtListenDrops").count(), 0, "these are the same");
}

#[test]
fn of_two_listeners_the_one_that_is_full_is_named() {
    let netns = Netns::new();
    let (_full, _waiting) = full(&netns, "127.0.0.1:4502");
    let idle = netns.within(|| TcpListener::bind("127.0.0.1:4503").expect("it listens"));
    let agent = Agent::live(&["--event", "discard"]);
    in_vain(&netns, "127.0.0.1:4502", 3);
    let one = netns.within(|| TcpStream::connect("127.0.0.1:4503")).expect("the other has room");
    assert!(all_told(&agent, &netns, OVERFLOWS, 3));
    let stream = agent.stop().stream;
    assert!(discards(&stream.events, &netns, OVERFLOWS).all(|discard| discard["lport"] == 4502));
    drop((idle, one));
}

#[test]
fn syns_are_those_of_the_clients_of_this_host() {
    // In the namespaces of other tests there is the same address, too: then the clients could mean their hosts.
    alone();
    let (client, server) = Netns::pair();
    let (_listener, _waiting) = full(&server, "10.7.0.2:4504");
    let agent = Agent::live(&[]);
    in_vain(&client, "10.7.0.2:4504", 3);
    assert!(all_told(&agent, &server, OVERFLOWS, 3));
    let stream = agent.stop().stream;
    let text = finding(&stream, "accept_queue_overflow", "10.7.0.2:4504");
    assert!(text.contains(&format!("[{}] to 10.7.0.2:4504", std::process::id())), "{text}");
    let told: Vec<_> = discards(&stream.events, &server, OVERFLOWS).collect();
    assert!(told.iter().any(|event| event["clients"][0]["pid"] == std::process::id()), "{told:?}");
}

fn small_buffer(socket: &UdpSocket) {
    sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096).expect("a small buffer");
}

/// A socket that reads nothing, and the number of datagrams that its buffer had no room for: most of 300.
fn flood(netns: &Netns, at: &str) -> (UdpSocket, u64) {
    let socket = netns.within(|| UdpSocket::bind(at).expect("it is bound"));
    small_buffer(&socket);
    let lost = overflow(netns, &socket);
    assert!(lost > 200, "{lost}");
    (socket, lost)
}

/// Sends 300 datagrams to `socket`; returns the number of all that its buffer had no room for so far.
fn overflow(netns: &Netns, socket: &UdpSocket) -> u64 {
    netns.within(|| {
        let sender = UdpSocket::bind("127.0.0.1:0").expect("it is bound");
        for _ in 0..300 {
            sender.send_to(&[0; 500], socket.local_addr().expect("its address")).expect("loopback takes all");
        }
    });
    counted(netns, "snmp", "Udp", "RcvbufErrors")
}

#[test]
fn datagrams_for_which_a_buffer_has_no_room_are_told_where_no_drop_is() {
    let netns = Netns::new();
    // Drops are not traced: only the counter reports them.
    let agent = Agent::live(&["--event", "discard"]);
    let (socket, first) = flood(&netns, "127.0.0.1:4505");
    let mut lost = first;
    let is_ours = |discard: &Value| discard["owner"]["pid"] == std::process::id();
    // The search for the owner has a deadline, which may pass on a busy host: later discards begin another search.
    let owned = until(|| {
        assert!(all_told(&agent, &netns, "UdpRcvbufErrors", lost));
        let found = agent.settles_now(|events| discards(events, &netns, "UdpRcvbufErrors").any(is_ours));
        if !found {
            lost = overflow(&netns, &socket);
        }
        Ok(found)
    });
    assert_eq!(owned, Ok(()), "a discard has its owner");
    let stream = agent.stop().stream;
    assert_eq!(sum(discards(&stream.events, &netns, "UdpRcvbufErrors")), lost);
    for discard in discards(&stream.events, &netns, "UdpRcvbufErrors") {
        assert_eq!((&discard["proto"], &discard["lport"]), (&"udp".into(), &4505.into()), "{discard}");
        assert!(is_ours(discard) || discard["owner"].is_null(), "{discard}");
    }
    let text = finding(&stream, "receive_buffer_full", "127.0.0.1:4505");
    assert!(lost > first || text.starts_with(&format!("{lost} datagrams to 127.0.0.1:4505 of")), "{text}");
}

#[test]
fn what_a_drop_tells_of_is_not_told_by_the_counter_too() {
    let netns = Netns::new();
    let agent = Agent::live(&["--event", "drop,discard", "--netns", netns.name()]);
    let (_socket, lost) = flood(&netns, "127.0.0.1:4506");
    let drops = |events: &[Value]| {
        let ours = events.iter().filter(|event| event["event"] == "drop" && event["dport"] == 4506);
        ours.map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    assert!(agent.settles(|events| drops(events) >= lost), "each drop has an event");
    let stream = agent.stop().stream;
    assert_eq!(drops(&stream.events), lost);
    let twice: Vec<_> = discards(&stream.events, &netns, "UdpRcvbufErrors").collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn datagrams_of_both_families_to_one_socket_are_told_once() {
    let netns = Netns::new();
    let agent = Agent::live(&["--event", "drop,discard", "--netns", netns.name()]);
    let socket = netns.within(|| {
        let socket = UdpSocket::bind("[::]:4513").expect("it is bound");
        small_buffer(&socket);
        for (from, to) in [("127.0.0.1:0", "127.0.0.1:4513"), ("[::1]:0", "[::1]:4513")] {
            let sender = UdpSocket::bind(from).expect("it is bound");
            for _ in 0..60 {
                sender.send_to(&[0; 500], to).expect("loopback takes all");
            }
        }
        // Each socket has an account of its own.
        let other = UdpSocket::bind("127.0.0.1:4514").expect("it is bound");
        small_buffer(&other);
        for _ in 0..60 {
            other.send_to(&[0; 500], "127.0.0.1:4514").expect("loopback takes all");
        }
        (socket, other)
    });
    let v4 = counted(&netns, "snmp", "Udp", "RcvbufErrors");
    let snmp6 = netns.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp6")).expect("the kernel counts");
    let v6 = snmp6.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")).expect("the counter");
    let v6: u64 = v6.trim().parse().expect("a number");
    assert!(v4 > 60 && v6 > 40, "{v4} {v6}");
    let drops = |events: &[Value]| {
        let ours = events.iter().filter(|event| event["event"] == "drop" && event["reason"] == "SOCKET_RCVBUFF");
        ours.map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    let discarded = |events: &[Value]| {
        sum(discards(events, &netns, "UdpRcvbufErrors")) + sum(discards(events, &netns, "Udp6RcvbufErrors"))
    };
    agent.settles(|events| drops(events) + discarded(events) >= v4 + v6);
    let stream = agent.stop().stream;
    assert_eq!(drops(&stream.events) + discarded(&stream.events), v4 + v6, "each once");
    drop(socket);
}

#[test]
fn datagrams_that_a_queueing_discipline_drops_are_told_once() {
    let (client, server) = Netns::pair();
    client.run(&[
        "tc", "qdisc", "add", "dev", "wire", "root", "tbf", "rate", "200kbit", "burst", "3000", "limit", "3000",
    ]);
    let agent = Agent::live(&["--event", "drop,discard", "--netns", client.name()]);
    client.within(|| {
        let sender = UdpSocket::bind("0.0.0.0:0").expect("it is bound");
        for _ in 0..40 {
            // The kernel reports the error only to senders that ask for errors.
            let _ = sender.send_to(&[0; 1000], "10.7.0.2:4515");
        }
    });
    let failed = counted(&client, "snmp", "Udp", "SndbufErrors");
    assert!(failed > 10, "{failed}");
    let drops = |events: &[Value]| {
        let ours = events.iter().filter(|event| event["event"] == "drop" && event["dport"] == 4515);
        ours.filter(|event| event["netns"] == client.inode()).map(|e| e["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    assert!(agent.settles(|events| drops(events) >= failed), "each has a drop event");
    let stream = agent.stop().stream;
    assert_eq!(discards(&stream.events, &client, "UdpSndbufErrors").count(), 0, "and by nothing else");
    drop(server);
}

#[test]
fn the_worker_that_hangs_is_not_hidden_by_another_that_accepts() {
    let netns = Netns::new();
    let agent = Agent::live(&["--netns", netns.name()]);
    let (_hung, _waiting) = full(&netns, "127.0.0.2:4516");
    let worker = netns.within(|| TcpListener::bind("127.0.0.3:4516").expect("it listens"));
    in_vain(&netns, "127.0.0.2:4516", 2);
    netns.within(|| {
        let _end = TcpStream::connect("127.0.0.3:4516").expect("it has room");
        worker.accept().expect("a connection waits");
    });
    // The hung listener has had no accept() since it began to listen.
    agent.wait_for("the accept", |event| event["event"] == "accept" && event["lport"] == 4516);
    in_vain(&netns, "127.0.0.2:4516", 2);
    assert!(all_told(&agent, &netns, OVERFLOWS, overflows(&netns)));
    let stream = agent.stop().stream;
    let accepted = stream.kind("accept").find(|event| event["lport"] == 4516).expect("it is told");
    let accepted = accepted["boot_ns"].as_u64().expect("a time");
    for discard in discards(&stream.events, &netns, OVERFLOWS) {
        let idle = discard["no_accept_us"].as_u64().expect("it is known");
        let at = discard["boot_ns"].as_u64().expect("a time");
        assert!(at - idle * 1000 < accepted, "{discard}: that accept() was the other's, at {accepted}");
    }
}

#[test]
fn counters_that_stand_still_say_nothing() {
    let (quiet, busy) = (Netns::new(), Netns::new());
    let (_full, _waiting) = full(&quiet, "127.0.0.1:4507");
    in_vain(&quiet, "127.0.0.1:4507", 2);
    assert_eq!(overflows(&quiet), 2, "that was before");
    let (_other, _wait) = full(&busy, "127.0.0.1:4508");
    let agent = Agent::live(&["--event", "discard"]);
    let listener = quiet.within(|| TcpListener::bind("127.0.0.1:4509").expect("it listens"));
    let _ends = quiet.within(|| TcpStream::connect(listener.local_addr().expect("its address"))).expect("it has room");
    // A later discard elsewhere has an event: the tracer has read the counters meanwhile.
    in_vain(&busy, "127.0.0.1:4508", 1);
    assert!(all_told(&agent, &busy, OVERFLOWS, 1));
    let stream = agent.stop().stream;
    let told = stream.of_netns(quiet.inode()).count();
    assert_eq!(told, 0, "{:?}", stream.events);
}

#[test]
fn a_namespace_made_while_the_trace_goes_on_is_watched() {
    let agent = Agent::live(&["--event", "listen,discard"]);
    let netns = Netns::new();
    let (_full, _waiting) = full(&netns, "127.0.0.1:4510");
    // The tracer finds it within a second or two: discards go on until one has an event.
    let told = || agent.settles_now(|events| discards(events, &netns, OVERFLOWS).next().is_some());
    let found = until(|| {
        in_vain(&netns, "127.0.0.1:4510", 4);
        Ok(told())
    });
    assert_eq!(found, Ok(()), "a new namespace is found");
    let _ = agent.stop();
}

#[test]
fn what_stopped_counting_is_history_to_net() {
    let netns = Netns::new();
    let (_full, waiting) = full(&netns, "127.0.0.1:4512");
    // They time out at once: no SYN is sent again while the tracer reads.
    in_vain(&netns, "127.0.0.1:4512", 12);
    let judged = |args: &[&str]| {
        let (status, out, log) = run_to_end(&[&["net", "--json", "--netns", netns.name()], args].concat());
        assert!(status.success(), "{log}");
        let net: Value = serde_json::from_str(out.lines().next().expect("an object")).expect("JSON");
        let findings = net["findings"].as_array().expect("a list").clone();
        let of = |what: &str| findings.iter().find(|finding| finding["what"] == what).cloned();
        (of(OVERFLOWS).expect("it is found"), of("127.0.0.1:4512"))
    };
    for args in [&[][..], &["--once"]] {
        let (overflows, queue) = judged(args);
        assert_eq!(
            (&overflows["severity"], &overflows["when"]),
            (&"watch".into(), &"since_boot".into()),
            "{overflows}"
        );
        // The queue is still full.
        let queue = queue.expect("it is found");
        assert_eq!((&queue["severity"], &queue["when"]), (&"sick".into(), &"now".into()), "{queue}");
    }
    drop(waiting);
}

/// A counter of conntrack in the namespace, of all CPUs.
fn conntrack_counted(netns: &Netns, name: &str) -> u64 {
    let text = netns.within(|| std::fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack"));
    let text = text.expect("conntrack counts");
    let at = text.split_whitespace().position(|word| word == name).expect("the counter");
    let values = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(at));
    values.map(|value| u64::from_str_radix(value, 16).expect("a number")).sum()
}

/// Only a host's first namespace may have a smaller table: `conntrack_full` tests a full one.
#[test]
fn what_conntrack_drops_is_told_with_how_full_its_table_is_and_what_it_lets_pass_is_not() {
    let (netns, server) = Netns::pair();
    netns.nft_rule("input", "ct state invalid counter accept");
    // All connections get one source port: the second finds it taken when conntrack enters it.
    netns.nft(
        "table ip one {\nchain out {\ntype nat hook postrouting priority 100;\n\
         tcp dport 4517 snat to 10.7.0.1:5000\n}\n}\n",
    );
    let listener = server.within(|| TcpListener::bind("10.7.0.2:4517").expect("it listens"));
    let agent = Agent::live(&["--event", "discard", "--netns", netns.name()]);
    let raw = RawIp::open(&netns, false);
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    // No valid segment has both flags.
    for port in 0..5 {
        raw.send(&Segment { flags: SYN | RST, ..Segment::between(at(5000 + port), at(4513)) });
    }
    let _first = netns.within(|| TcpStream::connect("10.7.0.2:4517")).expect("the port is free");
    in_vain(&netns, "10.7.0.2:4517", 2);
    let failed = conntrack_counted(&netns, "insert_failed");
    assert!(failed >= 2, "{failed}");
    assert!(all_told(&agent, &netns, "conntrack_insert_failed", failed));
    assert!(conntrack_counted(&netns, "invalid") >= 5, "it has seen them");
    let limit = netns.run(&["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]);
    let limit: u64 = limit.trim().parse().expect("a number");
    let stream = agent.stop().stream;
    assert_eq!(discards(&stream.events, &netns, "conntrack_invalid").count(), 0, "nothing dropped them");
    for discard in discards(&stream.events, &netns, "conntrack_insert_failed") {
        assert_eq!(discard["conntrack_max"], limit, "{discard}");
        assert!(discard["conntrack_count"].as_u64().is_some_and(|count| count < limit), "{discard}");
    }
    drop(listener);
}

#[test]
fn no_counters_are_watched_on_request() {
    let netns = Netns::new();
    let (_full, _waiting) = full(&netns, "127.0.0.1:4511");
    let agent = Agent::live(&["--no-counters"]);
    in_vain(&netns, "127.0.0.1:4511", 2);
    agent.wait_for("a SYN is sent again or its connection ends", |event| event["rport"] == 4511);
    let stream = agent.stop().stream;
    assert_eq!(stream.kind("discard").count(), 0);
}
