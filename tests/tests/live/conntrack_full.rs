//! A full table of conntrack, beside rules that might have dropped the packets. Only the limit of the first namespace
//! can be lowered: these tests run on machines of their own.

use std::net::{TcpListener, TcpStream};

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{address, attempt};
use tracer_tests::machine;
use tracer_tests::netns::Netns;
use tracer_tests::reason;
use tracer_tests::skip::skip;
use tracer_tests::traffic::sys::until;

/// Connections that fill the table.
const ROOM: usize = 8;

/// The machine's limit, put back when dropped.
struct Limit(String);

impl Limit {
    const PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

    fn lower() -> Self {
        let before = std::fs::read_to_string(Self::PATH).expect("conntrack is there");
        std::fs::write(Self::PATH, ROOM.to_string()).expect("the limit is lowered");
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::PATH, &self.0);
    }
}

/// A client, and a server whose table has no room for another connection to `port`. No rule would drop it.
struct Full {
    client: Netns,
    server: Netns,
    _listener: TcpListener,
    _open: Vec<TcpStream>,
    _limit: Limit,
}

impl Full {
    fn new(port: u16) -> Self {
        let (client, server) = Netns::pair();
        server.nft_rule("input", "ct state invalid drop\nct state established accept\ntcp dport 9 drop");
        let to = address(&format!("10.7.0.2:{port}"));
        let listener = server.within(|| TcpListener::bind(to).expect("it listens"));
        // conntrack has seen both directions: it evicts no such entry to make room.
        let open = client.within(|| (0..ROOM).map(|_| TcpStream::connect(to).expect("there is room")).collect());
        let count = || server.run(&["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]);
        until(|| Ok(count().trim() == ROOM.to_string())).expect("conntrack knows them");
        Self { client, server, _listener: listener, _open: open, _limit: Limit::lower() }
    }
}

#[test]
fn a_drop_for_want_of_room_is_conntracks_and_not_a_rules() {
    if let Err(reason) = machine::own() {
        return skip(&reason);
    }
    let full = Full::new(4695);
    let agent = Agent::live(&["--netns", full.server.name(), "--event", "drop,finding"]);
    for _ in 0..3 {
        attempt(&full.client, address("10.7.0.2:4695"));
    }
    let is = |event: &Value| event["event"] == "drop" && reason::is(event, "NETFILTER_DROP") && event["dport"] == 4695;
    agent.wait_for("drop of a SYN", is);
    let found = agent.finding("conntrack_full", "");
    let text = found["text"].as_str().expect("a sentence");
    assert!(text.starts_with("the conntrack table is full") && text.contains(&format!("{ROOM}")), "{text}");
    let stream = agent.stop().stream;
    let drops: Vec<&Value> = stream.kind("drop").filter(|event| is(event)).collect();
    assert!(!drops.is_empty());
    for drop in drops {
        let hint = drop["hint"].as_str().unwrap_or_else(|| panic!("no hint: {drop}"));
        // The kernel counts the drops of conntrack; before the tracer has read the counter once, a rule is possible,
        // too.
        assert!(hint.starts_with("probably conntrack") && drop["nft"].is_null(), "{drop}");
    }
    let policy = stream.kind("finding").find(|found| found["name"] == "syn_dropped_by_policy");
    assert!(policy.is_none(), "{policy:?}");
}

#[test]
fn what_found_no_room_is_counted_with_how_full_the_table_is() {
    if let Err(reason) = machine::own() {
        return skip(&reason);
    }
    let full = Full::new(4696);
    let agent = Agent::live(&["--netns", full.server.name(), "--event", "discard"]);
    for _ in 0..3 {
        attempt(&full.client, address("10.7.0.2:4696"));
    }
    let discard =
        agent.wait_for("discard", |event| event["event"] == "discard" && event["counter"] == "conntrack_drop");
    assert_eq!(
        (&discard["conntrack_max"], &discard["netns"]),
        (&ROOM.into(), &full.server.inode().into()),
        "{discard}"
    );
    assert!(discard["conntrack_count"].as_u64().is_some_and(|count| count >= ROOM as u64), "{discard}");
    let stream = agent.stop().stream;
    let told = stream.kind("discard").filter(|event| event["counter"] == "conntrack_drop");
    let told: u64 = told.map(|event| event["count"].as_u64().expect("a number")).sum();
    assert!(told >= 3, "each SYN was refused: {told}");
}
