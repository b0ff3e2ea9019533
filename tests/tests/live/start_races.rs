//! Starts of `live` while many connections come and go: each connection that is open when tracing begins, or that
//! begins later, comes exactly once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::alone::alone;
use tracer_tests::churn::Endless;
use tracer_tests::many::{Many, WAY};
use tracer_tests::netns::{Netns, scratch};
use tracer_tests::scale;
use tracer_tests::skip::{lacks, skip};
use tracer_tests::stream::Stream;
use tracer_tests::traffic::{churn, sys};

/// The number of starts, unless `TRACER_START_RACES` has another one.
const STARTS: usize = 10;
/// Threads that connect: as many connections are in the middle of something at any moment.
const THREADS: usize = 4;

/// The time for which each is open, µs: some are open when the tracer starts, and end while it takes its snapshot.
const HOLD: &str = "1000";

/// A run of the tracer.
struct Run {
    said: Stream,
    /// The time of its ready line, and of the signal to end.
    ready: u64,
    stopped: u64,
    /// Calls that the kernel kept from its programs: each may cost one end of a connection.
    missed: usize,
    /// Whether older connections came from the kernel's table.
    by_table: bool,
}

fn run(ns: &Netns) -> Run {
    let path = scratch().join(format!("start-races-{}", ns.name()));
    let agent = Agent::live_into(File::create(&path).expect("the stream's file is made"), &["-v"]);
    let ready = sys::boot_ns();
    // The stream begins once the snapshot is taken over.
    let begun = || Ok(path.metadata().is_ok_and(|file| file.len() > 0));
    sys::until(begun).expect("the stream begins");
    let stopped = sys::boot_ns();
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let said = Stream::read(BufReader::new(File::open(&path).expect("the stream opens")));
    std::fs::remove_file(&path).expect("the stream is removed");
    let missed = usize::try_from(said.missed()).expect("a number");
    Run { said, ready, stopped, missed, by_table: ended.log.contains(WAY) }
}

/// A connection that was made: the thread, and its place among that thread's.
type Made = (u64, usize);

/// The connections that were made, by the client's port: when each began, in order.
fn by_port(facts: &BTreeMap<u64, Vec<(u64, u64)>>) -> BTreeMap<u64, Vec<(u64, Made)>> {
    let mut ports: BTreeMap<u64, Vec<(u64, Made)>> = BTreeMap::new();
    for (tid, made) in facts {
        for (place, (port, began)) in made.iter().enumerate() {
            ports.entry(*port).or_default().push((*began, (*tid, place)));
        }
    }
    ports.values_mut().for_each(|made| made.sort_unstable());
    ports
}

/// The connections that one side has seen.
fn seen(run: &Run, ns: &Netns, ports: &BTreeMap<u64, Vec<(u64, Made)>>, own: &str, peer: (&str, u64)) -> Seen {
    let mut seen = Seen::default();
    for (conn, mut events) in run.said.conns(&[ns.inode()]) {
        // Events of its last packets may come after its close.
        events.retain(|e| !["drop", "reset", "retransmit"].iter().any(|kind| e["event"] == *kind));
        let Some(close) = events.last() else { continue };
        if close["role"] == "listener" || close[peer.0] != peer.1 {
            continue;
        }
        let count = |kind: &str| events.iter().filter(|e| e["event"] == kind).count();
        assert_eq!((count("close"), &close["event"]), (1, &"close".into()), "{conn}: {events:?}");
        assert!(count("open") + count("connect") <= 1, "{conn}: {events:?}");
        seen.open += count("open");
        if close["verdict"] == "open_at_end" {
            let at = |event: &Value| event["boot_ns"].as_u64();
            assert!(events.iter().all(|event| at(event) <= at(close)), "{conn}: the end is last: {events:?}");
        }
        let Some(port) = close[own].as_u64() else {
            // In the middle of connect(), which chooses the port.
            assert_eq!(close["verdict"], "open_at_end", "{conn}: {events:?}");
            continue;
        };
        // The last one with this port that had begun when this one ended.
        let ended = close["boot_ns"].as_u64().expect("a time");
        let same = &ports[&port];
        let before = same.partition_point(|(began, _)| *began <= ended);
        assert!(before > 0, "{conn} ended before it began: {events:?}, {same:?}");
        seen.made.push(same[before - 1].1);
    }
    seen.made.sort_unstable();
    seen
}

/// All events of a port.
fn told_of<'a>(run: &'a Run, ns: &Netns, port: u64) -> Vec<&'a Value> {
    run.said.of_netns(ns.inode()).filter(|event| event["lport"] == port || event["rport"] == port).collect()
}

#[derive(Default)]
struct Seen {
    made: Vec<Made>,
    open: usize,
}

/// Starts tracers one after another; returns the number of those that read the kernel's table.
fn race() -> usize {
    let starts = std::env::var("TRACER_START_RACES").ok().and_then(|text| text.parse().ok());
    let starts = starts.unwrap_or_else(|| scale::load(STARTS, 2));
    let (mut open, mut connections, mut by_table) = (0, 0, 0);
    for start in 0..starts {
        let ns = Netns::new();
        let path = scratch().join(format!("start-races-facts-{}", ns.name()));
        let churn = Endless::start(&ns, THREADS, &["--hold", HOLD], Some(&path));
        let run = run(&ns);
        by_table += usize::from(run.by_table);
        let port = churn.end()["port"].as_u64().expect("a port");
        let facts = churn::facts(&path);
        std::fs::remove_file(&path).expect("the facts are removed");
        assert_eq!(facts.len(), THREADS);
        let ports = by_port(&facts);
        for (own, peer) in [("lport", "rport"), ("rport", "lport")] {
            let seen = seen(&run, &ns, &ports, own, (peer, port));
            open += seen.open;
            connections += seen.made.len();
            let mut not_once = 0;
            for (tid, made) in &facts {
                let places: Vec<usize> = seen.made.iter().filter(|(of, _)| of == tid).map(|(_, at)| *at).collect();
                let what = format!("start {start}, thread {tid}, by {own}: {places:?}");
                let (first, last) = (*places.first().expect(&what), *places.last().expect(&what));
                // From the first one that it has seen on, each comes once.
                let count = |place: usize| places.iter().filter(|at| **at == place).count();
                let wrong: Vec<usize> = (first..=last).filter(|place| count(*place) != 1).collect();
                let told: Vec<_> = wrong.iter().map(|at| (at, made[*at], told_of(&run, &ns, made[*at].0))).collect();
                not_once += wrong.len();
                assert!(
                    not_once <= run.missed,
                    "{what}: {} missed; not once (port, begin; what was told of that port): {told:#?}",
                    run.missed
                );
                // All that had begun when it was ready are there, up to the last.
                let begun = |at: u64| made.partition_point(|(_, began)| *began <= at);
                assert!(first <= begun(run.ready) + run.missed, "{what}: {} had begun", begun(run.ready));
                assert!(
                    last + 2 + run.missed >= begun(run.stopped),
                    "{what}: {} had begun at the end",
                    begun(run.stopped)
                );
            }
        }
    }
    println!("{starts} starts, {connections} ends of connections, {open} of them open when it started");
    assert!(open > 0, "some were in the middle of something");
    by_table
}

#[test]
fn each_connection_once() {
    alone();
    race();
}

/// A BPF program reads the table while they come and go.
#[test]
fn each_connection_once_among_many() {
    alone();
    let _many = Many::open();
    if race() == 0 {
        skip(&lacks("connections by BPF", "sock_diag was asked"));
    }
}
