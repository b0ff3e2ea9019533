#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::sync::Arc;

use clap::Parser;
use tracer_stream::{self as stream, Container, ProcessFacts, TcpState, sample};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    filter: FilterArgs,
}

fn args(text: &str) -> FilterArgs {
    Line::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap().filter
}

/// Processes 10 (with child 11) and 20 (thread 21); user www; namespace blue, and every one by its number.
pub(crate) struct World;

impl Lookup for World {
    fn process(&self, pid: u32) -> Result<Option<Process>, FilterError> {
        Ok(match pid {
            10 | 11 | 20 => Some(Process { pid, start_ns: 70_000_000 }),
            21 => Some(Process { pid: 20, start_ns: 70_000_000 }),
            _ => None,
        })
    }
    fn descendants(&self, pids: &[u32]) -> Result<Vec<Process>, FilterError> {
        Ok(if pids.contains(&10) { vec![Process { pid: 11, start_ns: 70_000_000 }] } else { Vec::new() })
    }
    fn user(&self, name: &str) -> Result<Option<u32>, FilterError> {
        Ok((name == "www").then_some(33))
    }
    fn netns(&self, netns: &parse::Netns) -> Result<Option<u32>, FilterError> {
        Ok(match netns {
            parse::Netns::Inode(inode) => Some(*inode),
            _ => (*netns == parse::Netns::Name("blue".into())).then_some(4_026_532_000),
        })
    }
}

fn filter(text: &str) -> Filter {
    args(text).resolve(&World).unwrap()
}

fn owner(pid: u32) -> Owner {
    let id = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789ab".to_owned();
    let facts = ProcessFacts {
        cgroup: Some(format!("/system.slice/docker-{id}.scope")),
        container: Some(Container { runtime: "docker", id, claimed: false }),
        ..ProcessFacts::default()
    };
    Owner { uid: Some(33), start_ns: Some(70_000_123), facts: Arc::new(facts), ..sample::owner("nginx", pid) }
}

fn client(owner: Option<&Owner>) -> Socket<'_> {
    let owner_source = if owner.is_some() { OwnerSource::Connect } else { OwnerSource::Unknown };
    Socket { netns: Some(4_026_532_000), owner, owner_source, ..sample::SOCKET }
}

const PASSING: [&str; 27] = [
    "",
    "-p 10",
    "-p 10,20",
    "-p !20",
    "--comm ngin?",
    "--comm curl,nginx",
    "--uid www",
    "--uid 0,33",
    "--cgroup /system.slice",
    "--container 3f4e8a1b2c3d",
    "--netns blue",
    "--port 443",
    "--port 40000",
    "--port 1-1000,!22",
    "--lport 40000",
    "--rport 443",
    "--addr 10.0.0.5",
    "--addr 10.0.0.0/8",
    "--laddr 10.0.0.1",
    "--raddr !10.0.0.1",
    "-4",
    "-4 -6",
    "--role client",
    "--proto tcp",
    "--no-loopback",
    "-p 10 --comm nginx --rport 443",
    "--role !server",
];

const REJECTING: [&str; 22] = [
    "-p 20",
    "-p !10",
    "-p 10,!10",
    "--comm curl",
    "--comm !n*",
    "--uid 0",
    "--cgroup /system",
    "--cgroup !/system.slice",
    "--container web",
    "--netns !blue",
    "--port 80",
    "--port !443",
    "--port 443,!40000",
    "--lport 443",
    "--rport 40000",
    "--addr 10.0.0.2",
    "--laddr 10.0.0.5",
    "--raddr !10.0.0.0/24",
    "-6",
    "--role server",
    "--proto !tcp",
    "-p 10 --comm nginx --rport 80",
];

#[test]
fn decided_where_everything_is_known() {
    let nginx = owner(10);
    for (list, decision) in [(&PASSING[..], Decision::Pass), (&REJECTING[..], Decision::Reject)] {
        for text in list {
            let filter = filter(text);
            assert_eq!(filter.decide_connection(&client(Some(&nginx))), decision, "{text}");
            assert_eq!(filter.decide_connection_final(&client(Some(&nginx))), decision == Decision::Pass, "{text}");
        }
    }
}

#[test]
fn a_filter_written_down_decides_the_same() {
    let (nginx, form) = (owner(10), |filter: &Filter| serde_json::to_value(filter).unwrap());
    let ends = ["-p 10,!20 -f", "--failed", "--verdict refused,!unknown", "--min-duration 1500ms", "--comm [a-n]*,!?"];
    let more =
        ["--reason NO_SOCKET", "--event close,!process", "--netns !blue", "--proto tcp,!udp", "--addr fe80::/10"];
    for text in PASSING.iter().chain(&REJECTING).chain(&ends).chain(&more) {
        let filter = filter(text);
        let read: Filter = serde_json::from_slice(&serde_json::to_vec(&filter).unwrap()).unwrap();
        assert_eq!(form(&read), form(&filter), "{text}");
        assert_eq!(form(&read) == form(&Filter::default()), ["", "-4 -6"].contains(text), "{text}");
        for socket in [client(Some(&nginx)), client(None)] {
            assert_eq!(read.decide_connection(&socket), filter.decide_connection(&socket), "{text}");
            assert_eq!(read.decide_connection_final(&socket), filter.decide_connection_final(&socket), "{text}");
        }
        for kind in [Kind::Close(&CLOSE), Kind::Connect { errno: None }, Kind::Drop(&dropped("NO_SOCKET"))] {
            assert_eq!(read.shows(&kind), filter.shows(&kind), "{text}");
        }
    }
    // An older form lacks an option; a name that is no kind is an error.
    assert_eq!(form(&serde_json::from_str("{}").unwrap()), form(&Filter::default()));
    let unknown = form(&filter("--event close")).to_string().replace("close", "clothes");
    assert!(serde_json::from_str::<Filter>(&unknown).unwrap_err().to_string().contains("clothes"));
}

#[test]
fn an_unknown_owner_is_waited_for() {
    for (text, finally) in [
        ("-p 10", false),
        ("-p !10", true),
        ("--comm nginx", false),
        ("--comm !nginx", true),
        ("--uid 33", false),
        ("--cgroup /a", false),
        ("--cgroup !/a", true),
        ("--container web", false),
        ("--container !web", true),
    ] {
        let filter = filter(text);
        let mut socket = client(None);
        assert_eq!(filter.decide_connection(&socket), Decision::Undecided, "{text}");
        assert_eq!(filter.decide_connection_final(&socket), finally, "{text}");
        socket.family = 6;
        assert_eq!(self::filter(&format!("{text} -4")).decide_connection(&socket), Decision::Reject, "{text}");
    }
}

#[test]
fn the_listeners_owner_counts_only_in_the_end() {
    let nginx = owner(10);
    let socket = Socket { role: Role::Server, owner_source: OwnerSource::Listener, ..client(Some(&nginx)) };
    for (text, finally) in [("-p 10", true), ("-p 20", false), ("--comm nginx", true), ("--uid !33", false)] {
        let filter = filter(text);
        assert_eq!(filter.decide_connection(&socket), Decision::Undecided, "{text}");
        assert_eq!(filter.decide_connection_final(&socket), finally, "{text}");
    }
}

#[test]
fn a_port_that_is_not_bound_yet_is_waited_for() {
    let nginx = owner(10);
    let socket = Socket { lport: None, laddr: None, ..client(Some(&nginx)) };
    for (text, decision, finally) in [
        ("--lport 40000", Decision::Undecided, false),
        ("--lport !40000", Decision::Undecided, true),
        ("--port 443", Decision::Pass, true),
        ("--port 80", Decision::Undecided, false),
        ("--port 443,!80", Decision::Undecided, true),
        ("--port !443", Decision::Reject, false),
        ("--laddr 10.0.0.1", Decision::Undecided, false),
        ("--rport 443", Decision::Pass, true),
    ] {
        assert_eq!(filter(text).decide_connection(&socket), decision, "{text}");
        assert_eq!(filter(text).decide_connection_final(&socket), finally, "{text}");
    }
}

#[test]
fn a_listener_has_no_remote_side() {
    let nginx = owner(10);
    let listener = |laddr: IpAddr| Socket {
        role: Role::Listener,
        owner_source: OwnerSource::Listen,
        laddr: Some(laddr),
        lport: Some(80),
        raddr: None,
        rport: None,
        ..client(Some(&nginx))
    };
    let any = listener([0, 0, 0, 0].into());
    for (text, decision) in [
        ("-p 10", Decision::Pass),
        ("--port 80", Decision::Pass),
        ("--port 81", Decision::Reject),
        ("--rport 80", Decision::Reject),
        ("--rport !80", Decision::Pass),
        ("--raddr 0.0.0.0/0", Decision::Reject),
        ("--no-loopback", Decision::Pass),
    ] {
        assert_eq!(filter(text).decide_connection(&any), decision, "{text}");
    }
    assert_eq!(filter("--no-loopback").decide_connection(&listener([127, 0, 0, 1].into())), Decision::Reject);
}

#[test]
fn loopback_is_the_remote_address() {
    let mut socket = client(None);
    socket.raddr = Some("127.9.9.9".parse().unwrap());
    assert_eq!(filter("--no-loopback").decide_connection(&socket), Decision::Reject);
    socket.raddr = Some("::1".parse().unwrap());
    assert_eq!(filter("--no-loopback").decide_connection(&socket), Decision::Reject);
}

#[test]
fn a_cgroup_without_a_container_is_in_none() {
    let facts = ProcessFacts { cgroup: Some("/user.slice".into()), ..ProcessFacts::default() };
    let shell = Owner { facts: Arc::new(facts), ..owner(10) };
    assert_eq!(filter("--container web").decide_connection(&client(Some(&shell))), Decision::Reject);
    assert_eq!(filter("--container !web").decide_connection(&client(Some(&shell))), Decision::Pass);
}

const CLOSE: Close = Close { duration_us: Some(1_500_000), ..sample::CLOSE };

#[test]
fn ends_are_selected_by_how_they_were() {
    let refused = Close { verdict: Verdict::Refused, errno: Some(libc::ECONNREFUSED), ..CLOSE };
    let broken = Close { errno: Some(libc::EPIPE), ..CLOSE };
    let unknown = Close { duration_us: None, ..CLOSE };
    let unanswered = Close { unanswered: Some(true), ..CLOSE };
    assert!(filter("--failed").shows(&Kind::Close(&unanswered)));
    for (text, fine, bad, pipe, old) in [
        ("", true, true, true, true),
        ("--failed", false, true, true, false),
        ("--verdict refused", false, true, false, false),
        ("--verdict !refused", true, false, true, true),
        ("--min-duration 1500ms", true, true, true, false),
        ("--min-duration 1501ms", false, false, false, false),
        ("--failed --verdict closed_local", false, false, true, false),
    ] {
        let filter = filter(text);
        let shown = [&CLOSE, &refused, &broken, &unknown].map(|close| filter.shows(&Kind::Close(close)));
        assert_eq!(shown, [fine, bad, pipe, old], "{text}");
        let selects = !text.is_empty();
        assert_eq!(filter.shows(&Kind::Connect { errno: None }), !selects, "{text}");
        assert!(filter.shows(&Kind::Lost { class: "lifecycle", count: 1 }), "{text}");
    }
}

#[test]
fn kinds_are_selected_by_name() {
    let state = Kind::State { old: TcpState::SynSent, new: TcpState::Established, state_us: None };
    let lost = Kind::Lost { class: "lifecycle", count: 1 };
    let some = filter("--event close,state");
    assert!(some.shows(&state) && some.shows(&Kind::Close(&CLOSE)) && some.shows(&lost) && some.wants_states());
    assert!(!some.shows(&Kind::Error { errno: 1, accepts: None }) && some.asks_for("close") && !some.asks_for("open"));
    let not = filter("--event !close,!lost");
    assert!(
        !not.shows(&Kind::Close(&CLOSE)) && !not.shows(&lost) && not.shows(&Kind::Error { errno: 1, accepts: None })
    );
    assert!(!not.wants_states());
    assert_eq!(filter("--event listen").decide(&client(None), &state), Decision::Reject);
    assert!(!filter("--event listen").decide_final(&client(None), &state));
}

/// A drop by this reason.
fn dropped(reason: &str) -> stream::Drop {
    stream::Drop { reason: Some(reason.into()), ..sample::dropped() }
}

#[test]
fn findings_rest_on_what_the_other_filters_leave() {
    let refused = Close { verdict: Verdict::Refused, errno: Some(libc::ECONNREFUSED), ..CLOSE };
    let (rule, other) = (dropped("NETFILTER_DROP"), dropped("NO_SOCKET"));
    let kinds = [Kind::Drop(&rule), Kind::Drop(&other), Kind::Close(&refused), Kind::Close(&CLOSE)];
    for (text, feeds) in [
        ("", [true, true, true, true]),
        ("--event finding", [true, true, true, true]),
        ("--event !drop", [true, true, true, true]),
        ("--reason NETFILTER_DROP", [true, false, false, false]),
        ("--reason !NETFILTER_DROP", [false, true, true, true]),
        ("--verdict refused", [false, false, true, false]),
        ("--failed", [false, false, true, false]),
        ("--min-duration 10s", [false, false, false, false]),
    ] {
        assert_eq!(kinds.map(|kind| filter(text).feeds_findings(&kind)), feeds, "{text}");
        assert!(filter(text).feeds_findings(&Kind::Listen { backlog: Some(1) }), "{text}");
    }
}

#[test]
fn findings_that_are_asked_for_need_their_sources() {
    for (text, drops, retransmits, shown) in [
        ("", true, true, true),
        ("--event finding", true, true, false),
        ("--event close,finding", true, true, false),
        ("--event close", false, false, false),
        ("--event !drop", false, true, false),
        ("--event finding --reason NO_SOCKET", true, false, false),
        ("--reason NO_SOCKET", true, false, true),
        ("--failed", false, false, false),
    ] {
        let filter = filter(text);
        assert_eq!((filter.needs_kind("drop"), filter.needs_kind("retransmit")), (drops, retransmits), "{text}");
        assert_eq!(filter.shows_kind("drop"), shown, "{text}");
    }
}

#[test]
fn children_are_followed_when_asked() {
    for (text, child, grandchild) in [("-p 10", false, false), ("-p 10 -f", true, true)] {
        let filter = filter(text);
        assert_eq!(filter.pid_matches(11, Some(70_000_000)), child, "{text}: there already");
        filter.fork(11, 12, Some(80_000_000));
        assert_eq!(filter.pid_matches(12, Some(80_000_000)), grandchild, "{text}");
        assert_eq!(filter.follows(), child);
    }
    let not = filter("-p !10 -f");
    assert!(!not.pid_matches(11, None) && not.pid_matches(20, None));
    let mut run = Filter::default();
    assert!(run.pid_matches(5, None));
    run.follow_process(5, None);
    run.fork(5, 6, None);
    assert!(run.pid_matches(5, None) && run.pid_matches(6, None) && !run.pid_matches(7, None) && run.follows());
    run.exit(6);
    assert!(!run.pid_matches(6, None));
}

#[test]
fn errors_are_sentences_with_a_way_out() {
    for (text, part) in [
        ("-p 99", "no such process: 99; "),
        ("-p !99", "no such process: 99; "),
        ("-p 21", "21 is a thread of process 20; use --pid 20"),
        ("--uid nobody-here", "no such user: nobody-here; "),
        ("--netns red", "no such network namespace: red; "),
        ("--failed --event connect", "add `close` to --event, or drop --failed"),
        ("--verdict refused --event !close", "drop --verdict"),
    ] {
        let error = args(text).resolve(&World).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
