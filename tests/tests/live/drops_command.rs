//! `tracer drops`: dropped packets, added up.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::alone::alone;
use tracer_tests::drops::{ATTEMPT, count, expect, is_of_a_rule, rows, start};
use tracer_tests::netns::Netns;
use tracer_tests::process::signal;
use tracer_tests::skip::{lacks, skip};
use tracer_tests::terminal::terminal;
use tracer_tests::traffic::sys::until;

/// The reason to skip where the kernel gives no reasons for drops.
fn no_reasons() -> Option<String> {
    // The tracer mounts tracefs where it is missing.
    let (status, ..) = run_to_end(&["doctor"]);
    assert!(status.success());
    let format = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|dir| std::fs::read_to_string(format!("{dir}/events/skb/kfree_skb/format")).ok())
        .expect("the tracepoint has a format");
    (!format.contains("reason")).then(|| lacks("drop reasons", "kfree_skb has none"))
}

/// Sends `count` equal datagrams; returns their source port.
fn datagrams(from: &Netns, to: &str, count: u64) -> u16 {
    from.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("it binds");
        for _ in 0..count {
            socket.send_to(b"0123456789", to).expect("it is sent");
        }
        socket.local_addr().expect("it has an address").port()
    })
}

/// Waits until the rules of `netns` have counted `packets` packets.
fn await_counted(netns: &Netns, packets: u64) {
    let mut count = 0;
    let come = until(|| {
        count = counted(netns);
        Ok(count >= packets)
    });
    assert_eq!((count, come), (packets, Ok(())), "as many packets come, and no others");
}

/// The sum of the counters in the rules of `netns`.
fn counted(netns: &Netns) -> u64 {
    let rules = netns.run(&["nft", "list", "ruleset"]);
    let words: Vec<&str> = rules.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "packets").filter_map(|pair| pair[1].parse::<u64>().ok()).sum()
}

#[test]
fn every_packet_is_counted_in_its_row() {
    if let Some(reason) = no_reasons() {
        return skip(&reason);
    }
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4020-4021 counter drop");
    let netns = b.inode().to_string();
    let agent = start(&["--netns", &netns, "--proto", "udp"]);
    // More than have events of their own: the kernel side folds the rest.
    let many = datagrams(&a, "10.7.0.2:4020", 500);
    let few = datagrams(&a, "10.7.0.2:4021", 3);
    await_counted(&b, 503);
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let rows = rows(&ended);
    assert_eq!(rows.len(), 2, "{rows:?}");
    for (row, packets, sport, dport) in [(rows[0], 500, many, 4020), (rows[1], 3, few, 4021)] {
        assert_eq!(count(row), packets, "{row}");
        expect(
            row,
            &[
                ("reason", "NETFILTER_DROP".into()),
                ("class", "policy".into()),
                ("direction", "in".into()),
                ("iface", "wire".into()),
                ("protocol", "udp".into()),
                ("saddr", "10.7.0.1".into()),
                ("sport", sport.into()),
                ("daddr", "10.7.0.2".into()),
                ("dport", dport.into()),
                ("netns", b.inode().into()),
                ("owner", Value::Null),
            ],
        );
        assert!(is_of_a_rule(&row["symbol"]), "{row}");
        assert!(row["first"].as_str() <= row["last"].as_str() && row["last"] == row["time"], "{row}");
        assert!(row["first_boot_ns"].as_u64() <= row["boot_ns"].as_u64(), "{row}");
        assert_eq!(row.get("stack"), None, "without --stack there is none");
    }
    assert_eq!(ended.stream.summary()["drops"]["NETFILTER_DROP"], 503);
    assert_eq!(ended.stream.lost(), 0, "{}", ended.stream.summary());
}

#[test]
fn rows_are_told_apart_by_what_is_asked_for() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "tcp dport 4022 counter drop");
    let to: SocketAddr = "10.7.0.2:4022".parse().expect("an address");
    let listener = b.within(|| TcpListener::bind(to).expect("it listens"));
    let netns = b.inode().to_string();
    for (by, expected) in [("reason,location,owner,flow", 3), ("owner", 1), ("reason,owner", 1), ("flow", 3)] {
        let before = counted(&b);
        let agent = start(&["--netns", &netns, "--proto", "tcp", "--by", by]);
        for _ in 0..3 {
            // The second SYN would come after a second.
            let _ = a.within(|| TcpStream::connect_timeout(&to, ATTEMPT));
        }
        await_counted(&b, before + 3);
        let ended = agent.stop();
        let rows = rows(&ended);
        assert_eq!(
            (rows.len(), rows.iter().map(|row| count(row)).sum::<u64>()),
            (expected, 3),
            "{by}: {rows:?} {}",
            ended.stream.summary()
        );
        for row in rows {
            assert_eq!(row["role"], "listener", "{row}");
            if by.contains("owner") {
                assert_eq!(row["owner"]["pid"], std::process::id(), "{row}");
            }
            for (key, part) in [("reason", "reason"), ("symbol", "location"), ("owner", "owner"), ("sport", "flow")] {
                assert_eq!(row.get(key).is_some(), by.contains(part), "{key} by {by}: {row}");
            }
        }
    }
    drop(listener);
}

#[test]
fn a_process_sees_its_own() {
    let (a, b) = Netns::pair();
    a.nft_rule("output", "tcp dport 4023 counter drop");
    b.nft_rule("input", "udp dport 4023 counter drop");
    // The kernel side cannot filter drops by process: a flood elsewhere would take their room.
    let (here, there) = (a.inode().to_string(), b.inode().to_string());
    let own = std::process::id().to_string();
    let agent = start(&["-p", &own, "--rport", "4023", "--netns", &here, "--netns", &there]);
    let _ = a.within(|| TcpStream::connect_timeout(&"10.7.0.2:4023".parse().expect("an address"), ATTEMPT));
    datagrams(&a, "10.7.0.2:4023", 2);
    await_counted(&a, 1);
    await_counted(&b, 2);
    let ended = agent.stop();
    let rows = rows(&ended);
    assert_eq!(rows.len(), 1, "an incoming packet has no owner: {rows:?}");
    expect(rows[0], &[("count", 1.into()), ("direction", "out".into()), ("tcp_flags", "S".into())]);
    expect(rows[0], &[("role", "client".into()), ("owner_source", "connect".into()), ("netns", a.inode().into())]);
    assert!(rows[0]["conn"].is_string(), "{}", rows[0]);
}

#[test]
fn it_stops_when_it_is_told_to() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4026 counter drop");
    let netns = b.inode().to_string();
    let agent = start(&["--netns", &netns, "--proto", "udp", "--count", "5"]);
    datagrams(&a, "10.7.0.2:4026", 5);
    let ended = agent.end();
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(rows(&ended).into_iter().map(count).sum::<u64>(), 5);

    let begin = Instant::now();
    let (status, out, log) = run_to_end(&["drops", "--netns", &netns, "--duration", "300ms", "--strict"]);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(out.starts_with("0 packets dropped in ") && out.lines().count() == 1, "{out}");
    assert!(log.contains("\ntracer: ready\n"), "{log}");

    let (status, out, log) = run_to_end(&["drops", "--event", "close"]);
    assert_eq!((status.code(), &*out), (Some(2), ""), "{log}");
}

#[test]
fn elsewhere_than_on_a_terminal_there_is_one_table() {
    if let Some(reason) = no_reasons() {
        return skip(&reason);
    }
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4027 counter drop");
    let netns = b.inode().to_string();
    let mut child = Command::new(tracer_program())
        .args(["drops", "--netns", &netns, "--proto", "udp"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tracer starts");
    let mut log = std::io::BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while line.trim_end() != tracer_tests::agent::READY {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut log, &mut line).expect("it says something"), 0, "it is ready");
    }
    datagrams(&a, "10.7.0.2:4027", 20);
    await_counted(&b, 20);
    signal(&child, libc::SIGINT);
    let (mut rest, mut out) = (String::new(), String::new());
    log.read_to_string(&mut rest).expect("stderr is UTF-8");
    child.stdout.take().expect("stdout is piped").read_to_string(&mut out).expect("stdout is UTF-8");
    assert!(child.wait().expect("tracer is waited for").success(), "{rest}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].starts_with("20 packets dropped in ") && lines[0].contains(" in 1 row; nothing lost"), "{out}");
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["PACKETS", "/S", "REASON", "LOCATION", "OWNER", "FLOW"]
    );
    let row: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!((row[0], row[2], row[4], row[5]), ("20", "NETFILTER_DROP", "-", "udp"), "{out}");
    assert!(["nft_do_chain", "nf_hook_slow"].iter().any(|function| row[3].starts_with(function)), "{out}");
    assert!(lines[2].ends_with("→ 10.7.0.2:4027") && lines.iter().all(|line| line.chars().count() <= 100), "{out}");
    assert!(!out.contains('\x1b'), "{out:?}");
}

#[test]
fn on_a_terminal_the_table_is_drawn_in_its_place() {
    if let Some(reason) = no_reasons() {
        return skip(&reason);
    }
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4028 counter drop");
    let (mut ours, theirs) = terminal(90);
    let netns = b.inode().to_string();
    let mut child = Command::new(tracer_program())
        .args(["drops", "-q", "--netns", &netns, "--proto", "udp", "--interval", "50ms"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::null())
        .spawn()
        .expect("tracer starts");
    let seen = Arc::new(Mutex::new(String::new()));
    let reader = std::thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            let mut bytes = [0; 4096];
            // EIO when the other side is closed.
            while let Ok(count @ 1..) = ours.read(&mut bytes) {
                seen.lock().expect("nobody panics").push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }
    });
    let await_seen = |what: &str| {
        let come = until(|| Ok(seen.lock().expect("no thread panics").contains(what)));
        assert_eq!(come, Ok(()), "no {what}: {:?}", seen.lock());
    };
    await_seen("0 packets dropped; nothing lost");
    datagrams(&a, "10.7.0.2:4028", 40);
    await_seen("  40 packets dropped, ");
    datagrams(&a, "10.7.0.2:4028", 2);
    await_seen("  42 packets dropped, ");
    // Totals, names and two rows.
    await_seen("\x1b[4F\x1b[J");
    signal(&child, libc::SIGINT);
    assert!(child.wait().expect("tracer is waited for").success());
    reader.join().expect("the reader ends");
    let seen = seen.lock().expect("nobody panics").clone();
    let last = seen.rsplit("\x1b[J").next().unwrap_or_default();
    assert!(last.starts_with("42 packets dropped in ") && last.lines().count() == 4, "{last:?}");
    assert!(last.contains("\x1b[33mNETFILTER_DROP\x1b[0m"), "{last:?}");
}

/// Sends datagrams of ten thousand flows for a second; a rule in `chain` drops them.
fn flood(netns: &Netns, chain: &str) {
    netns.nft_rule(chain, "udp dport 10000-19999 counter drop");
    netns.within(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("it binds");
        let begin = Instant::now();
        let mut port = 0_u32;
        while begin.elapsed() < Duration::from_secs(1) {
            let _ = socket.send_to(b"x", ("127.0.0.1", 10_000 + (port % 10_000) as u16));
            port += 1;
        }
    });
}

/// Sends three datagrams to `127.0.0.5`, `port`, in `own` while `flooded` (which may be `own`) has a flood. The flood
/// takes no room in the ring, and none of the events that a second may have.
fn beside_a_flood(filter: &[&str], port: u16, own: &Netns, flooded: &Netns) {
    let agent = start(&[&["--strict"], filter].concat());
    // It reads nothing of the ring meanwhile.
    agent.signal(libc::SIGSTOP);
    flood(flooded, "input");
    let happened = counted(flooded);
    own.nft_rule("input", &format!("udp dport {port} counter drop"));
    let before = counted(own);
    datagrams(own, &format!("127.0.0.5:{port}"), 3);
    agent.signal(libc::SIGCONT);
    let ended = agent.stop();
    let summary = ended.stream.summary();
    let rows = rows(&ended);
    let told: u64 = rows.iter().map(|row| count(row)).sum();
    assert_eq!((told, counted(own) - before), (3, 3), "{filter:?}: {rows:?} {summary}");
    assert!(summary["filtered"].as_u64() >= Some(happened), "{filter:?}: {summary}");
    assert_eq!((ended.status.code(), ended.stream.lost()), (Some(0), 0), "{filter:?}: {summary}");
}

#[test]
fn a_flood_elsewhere_takes_nothing_from_the_namespace_that_is_asked_for() {
    alone();
    let (own, other) = (Netns::new(), Netns::new());
    beside_a_flood(&["--netns", &own.inode().to_string()], 4028, &own, &other);
}

#[test]
fn a_flood_takes_nothing_from_the_port_or_the_address_that_is_asked_for() {
    alone();
    // Without a filter on the namespace: no other test uses these ports.
    for (filter, port) in [(["--port", "4029"], 4029), (["--lport", "4030"], 4030), (["--laddr", "127.0.0.5"], 4031)] {
        let own = Netns::new();
        beside_a_flood(&filter, port, &own, &own);
    }
}

#[test]
fn what_is_lost_is_counted() {
    alone();
    if let Some(reason) = no_reasons() {
        return skip(&reason);
    }
    let netns = Netns::new();
    let agent = start(&["--strict", "--reason", "NETFILTER_DROP"]);
    // The ring has room for some three thousand records while the tracer stands still.
    agent.signal(libc::SIGSTOP);
    flood(&netns, "output");
    let happened = counted(&netns);
    agent.signal(libc::SIGCONT);
    let ended = agent.stop();
    let summary = ended.stream.summary();
    let lost = summary["lost"]["drop"].as_u64().unwrap_or_default();
    assert!(lost > 0, "{summary}");
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    let told: u64 = rows(&ended).into_iter().map(count).sum();
    println!("{happened} happened, {told} told, {lost} lost");
    // A lost drop has no reason: some may be of other processes.
    assert!(told <= happened && told + lost >= happened && told + lost <= happened + 2000, "{told} {lost} {happened}");
}

#[test]
fn a_file_gets_the_rows() {
    let (a, b) = Netns::pair();
    b.nft_rule("input", "udp dport 4029 counter drop");
    let path = tracer_tests::netns::scratch().join("drops.json");
    let netns = b.inode().to_string();
    let agent = start(&["--netns", &netns, "--proto", "udp", "-o", path.to_str().expect("a path")]);
    datagrams(&a, "10.7.0.2:4029", 4);
    await_counted(&b, 4);
    let ended = agent.stop();
    assert!(ended.status.success() && ended.stream.events.is_empty(), "{}", ended.log);
    let text = std::fs::read_to_string(&path).expect("the file is there");
    std::fs::remove_file(&path).expect("it can be removed");
    let rows: Vec<Value> = text.lines().map(tracer_tests::stream::parse).collect();
    assert_eq!((rows.len(), count(&rows[0]), &rows[1]["event"]), (2, 4, &Value::from("summary")), "{text}");
}
