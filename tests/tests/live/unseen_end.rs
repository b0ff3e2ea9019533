//! Sockets whose end the kernel hides from all programs: the tracer must not mistake the next socket in their memory,
//! which belongs to another process, for them.
//!
//! The kernel hides an end too seldom for a test. So the test moves the entry of one connection to the place of another
//! one that has ended: the next socket finds there what an unseen end leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tracer_tests::agent::{Agent, Ended};
use tracer_tests::alone::alone;
use tracer_tests::audit::exact_but_for_the_edges;
use tracer_tests::bpf::Map;
use tracer_tests::netns::Netns;
use tracer_tests::traffic::sys::until;

/// One at a time: the test finds the entries of a connection by reading the map before and after.
static ONE: Mutex<()> = Mutex::new(());

/// More sockets than the allocator keeps ready on a CPU.
const MANY: usize = 2000;

/// New sockets take memory of the CPU on which they are made, and return it to the CPU on which they end.
fn stay_on_one_cpu() {
    // SAFETY: an empty set is all zeros; the calls are passed live locals with their sizes.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(usize::try_from(libc::sched_getcpu()).expect("a CPU"), &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &raw const set), 0, "it stays on this CPU");
    }
}

/// Both ends of a connection.
type Ends = (TcpStream, TcpStream);

fn port(end: &TcpStream) -> u16 {
    end.local_addr().expect("an address").port()
}

struct Place<'n> {
    ns: &'n Netns,
    listener: TcpListener,
}

impl<'n> Place<'n> {
    fn in_(ns: &'n Netns) -> Self {
        Self { ns, listener: ns.within(|| TcpListener::bind("127.0.0.1:0").expect("it listens")) }
    }

    fn at(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    fn connect(&self) -> Ends {
        let near = self.ns.within(|| TcpStream::connect(self.at()).expect("it connects"));
        (near, self.listener.accept().expect("it is accepted").0)
    }

    /// Makes a connection; returns it, and the entries of its two sockets by their addresses.
    fn remembered(&self, sockets: &Map) -> (Ends, BTreeMap<u64, Vec<u8>>) {
        let before = sockets.all();
        let ends = self.connect();
        let mut new = BTreeMap::new();
        let both = until(|| {
            new = sockets.all();
            new.retain(|key, _| !before.contains_key(key));
            Ok(new.len() == 2)
        });
        assert_eq!(both, Ok(()), "two sockets are new: {new:x?}");
        (ends, new)
    }
}

struct Told {
    ended: Ended,
    /// The connection whose end is hidden, and then those that took its places.
    first: Ends,
    next: Vec<Ends>,
    _alone: MutexGuard<'static, ()>,
}

/// Traces `ns`, and moves the entries of a connection in `of` to the places where the next sockets in `ns` begin.
fn next_at_its_memory(ns: &Netns, of: &Netns, closes: usize) -> Told {
    let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    stay_on_one_cpu();
    let agent = Agent::live(&["--audit", "--netns", &ns.inode().to_string()]);
    let sockets = Map::of(agent.pid(), "SOCKETS");
    let (here, there) = (Place::in_(ns), Place::in_(of));
    let (first, left_behind) = there.remembered(&sockets);
    let (second, places) = here.remembered(&sockets);
    drop(second);
    let gone = until(|| Ok(places.keys().all(|place| sockets.get(*place).is_none())));
    assert_eq!(gone, Ok(()), "the second one has ended");
    for ((key, state), place) in left_behind.iter().zip(places.keys()) {
        sockets.take(*key);
        sockets.put(*place, state);
    }
    let waits = |place: &u64| sockets.get(*place).is_some_and(|state| left_behind.values().any(|left| *left == state));
    let mut next = Vec::new();
    while places.keys().any(waits) {
        assert!(next.len() < MANY, "new sockets have the memory of those that are gone");
        next.push(here.connect());
    }
    let mut left = closes + 2;
    let told = left == 2
        || agent
            .hears(|event| {
                left -= usize::from(event["event"] == "close");
                left == 0
            })
            .is_some();
    assert!(told, "{left} closes have not come: {}", agent.log());
    let ended = agent.stop();
    assert_eq!((ended.status.code(), ended.stream.lost()), (Some(0), 0), "{}", ended.log);
    let accounts = exact_but_for_the_edges(ended.stream.summary());
    assert!(accounts.contains_key("inet_sock_set_state"), "{accounts:?}");
    Told { ended, first, next, _alone: alone }
}

impl Told {
    /// Checks that each later connection has its own events, and is another one than `first`.
    fn expect_the_next_ones(&self, ns: &Netns, first: &BTreeSet<&str>) {
        let owner = std::process::id();
        let conns = self.ended.stream.conns(&[ns.inode()]);
        for (near, far) in &self.next {
            for (end, role) in [(near, "client"), (far, "server")] {
                let (lport, rport) = (port(end), end.peer_addr().expect("an address").port());
                let is = |e: &&Value| e["event"] == "close" && e["lport"] == lport && e["rport"] == rport;
                let of: Vec<_> = conns.iter().filter(|(_, events)| events.iter().any(is)).collect();
                let [(conn, events)] = &of[..] else { panic!("{role} {lport} {rport} is one connection: {of:#?}") };
                assert!(!first.contains(*conn), "{conn}: {events:#?}");
                let closes: Vec<_> = events.iter().filter(|event| event["event"] == "close").collect();
                let [close] = closes[..] else { panic!("one close: {events:#?}") };
                assert_eq!((&close["verdict"], &close["role"]), (&"open_at_end".into(), &role.into()), "{close}");
                assert_eq!(close["owner"]["pid"], owner, "{close}");
                let begins = if role == "client" { "connect" } else { "established" };
                assert_eq!(events[0]["event"], begins, "{events:#?}");
            }
        }
    }
}

#[test]
fn it_is_told_where_the_next_one_begins() {
    alone();
    let ns = Netns::new();
    let told = next_at_its_memory(&ns, &ns, 2);
    let near = port(&told.first.0);
    let stream = &told.ended.stream;
    let of_first = |e: &&Value| e["event"] == "close" && (e["lport"] == near || e["rport"] == near);
    let closes: Vec<&Value> = stream.of_netns(ns.inode()).filter(of_first).collect();
    let roles: BTreeSet<&str> = closes.iter().filter_map(|close| close["role"].as_str()).collect();
    assert_eq!((closes.len(), roles), (2, BTreeSet::from(["client", "server"])), "{closes:#?}");
    for close in &closes {
        let unknown = (&close["verdict"], &close["incomplete"], &close["duration_us"], &close["tx_bytes"]);
        assert_eq!(unknown, (&"unknown".into(), &true.into(), &Value::Null, &Value::Null), "{close}");
        assert_eq!(close["owner"]["pid"], std::process::id(), "{close}");
    }
    assert_eq!(stream.summary()["incomplete"]["closes_recovered"], 2, "{}", stream.summary());
    let first = closes.iter().filter_map(|close| close["conn"].as_str()).collect();
    told.expect_the_next_ones(&ns, &first);
}

#[test]
fn what_a_filter_has_left_out_hides_nobody() {
    alone();
    let (ns, elsewhere) = (Netns::new(), Netns::new());
    let told = next_at_its_memory(&ns, &elsewhere, 0);
    assert_eq!(told.ended.stream.of_netns(elsewhere.inode()).count(), 0);
    told.expect_the_next_ones(&ns, &BTreeSet::new());
}
