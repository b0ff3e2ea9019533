use std::collections::HashSet;

use tracer_common::drops::{TCP_ACK, TCP_SYN};
use tracer_stream::{Close, Drop, DropClass, Hint, PacketEnds, Role, Segment, Socket, Verdict, sample};

use super::*;

const NETNS: u32 = 4_026_531_840;

fn owner(comm: &str, pid: u32) -> Owner {
    Owner { uid: Some(0), start_ns: Some(1), ..sample::owner(comm, pid) }
}

fn socket<'a>(conn: u64, role: Role, owner: Option<&'a Owner>) -> Socket<'a> {
    let listens = role == Role::Listener;
    Socket {
        conn: ConnId(conn),
        lport: Some(if listens { 80 } else { 40_000 }),
        raddr: (!listens).then_some(sample::FAR),
        rport: (!listens).then_some(5432),
        netns: Some(NETNS),
        role,
        owner,
        ..sample::SOCKET
    }
}

fn drop(reason: &str, class: DropClass, tcp_flags: Option<u8>, count: u64) -> Drop {
    Drop {
        reason: Some(reason.into()),
        reason_id: Some(1),
        class,
        symbol: Some("nf_hook_slow+0xa1".into()),
        protocol: Some(if tcp_flags.is_some() { "tcp" } else { "udp" }),
        ends: Some(PacketEnds { saddr: sample::NEAR, sport: Some(40_000), daddr: sample::FAR, dport: Some(5432) }),
        tcp_flags,
        seq: None,
        count,
        ..sample::dropped()
    }
}

fn close(verdict: Verdict) -> Close {
    Close { verdict, ..sample::CLOSE }
}

fn event<'a>(boot_ns: u64, socket: Socket<'a>, kind: Kind<'a>) -> Event<'a> {
    Event { boot_ns, socket: Some(socket), kind }
}

fn facts() -> Facts {
    Facts { netns: Some(NETNS), somaxconn: Some(4096), ports: Some((32_768, 60_999)), conntrack: Some((10, 1000)) }
}

fn with_facts(facts: Facts) -> Findings {
    let mut findings = Findings::default();
    findings.set_facts(facts);
    findings
}

#[test]
fn syns_dropped_by_a_rule() {
    let (python, mut findings) = (owner("python3", 4121), with_facts(facts()));
    let drop = drop("NETFILTER_DROP", DropClass::Policy, Some(TCP_SYN), 1);
    let said = findings.event(&event(5, socket(7, Role::Client, Some(&python)), Kind::Drop(&drop)));
    assert_eq!(said.map(|finding| finding.name), Some("syn_dropped_by_policy"));
    for boot_ns in [6, 7] {
        assert_eq!(findings.event(&event(boot_ns, socket(7, Role::Client, Some(&python)), Kind::Drop(&drop))), None);
    }
    let [finding] = &findings.all()[..] else { panic!("{:?}", findings.all()) };
    assert_eq!(
        finding.text,
        "3 SYNs of python3[4121] to 10.0.0.5:5432 were dropped by NETFILTER_DROP (nf_hook_slow+0xa1, out)"
    );
    assert_eq!((finding.count, finding.evidence.len()), (3, 3));
    assert_eq!(finding.evidence[0], Evidence { event: "drop", conn: ConnId(7), boot_ns: 5 });
}

#[test]
fn other_packets_of_a_policy_are_not_syns() {
    let mut findings = with_facts(facts());
    for flags in [Some(TCP_ACK), Some(TCP_SYN | TCP_ACK), None] {
        let drop = drop("NETFILTER_DROP", DropClass::Policy, flags, 1);
        assert_eq!(findings.event(&event(1, socket(1, Role::Client, None), Kind::Drop(&drop))), None);
    }
    assert_eq!(findings.all(), []);
}

#[test]
fn conntrack_full_and_not_a_rule() {
    let mut findings = with_facts(Facts { conntrack: Some((1000, 1000)), ..facts() });
    let drop = drop("NETFILTER_DROP", DropClass::Policy, Some(TCP_SYN), 2);
    let said = findings.event(&event(1, socket(1, Role::Client, None), Kind::Drop(&drop)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("the conntrack table is full (1000 of 1000): 2 packets dropped")
    );
    // The table of another namespace is unknown.
    let mut findings = with_facts(Facts { netns: Some(1), conntrack: Some((1000, 1000)), ..facts() });
    let said = findings.event(&event(1, socket(1, Role::Client, None), Kind::Drop(&drop)));
    assert_eq!(said.map(|finding| finding.name), Some("syn_dropped_by_policy"));
    // Unless the look for the place of the drop has seen it.
    let hint = Hint { full_conntrack: Some((8, 8)), ..Hint::of("probably conntrack, whose table is full") };
    let hinted = Drop { hint: Some(hint.into()), ..drop };
    let said = findings.event(&event(1, socket(2, Role::Client, None), Kind::Drop(&hinted)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("the conntrack table is full (8 of 8): 2 packets dropped")
    );
}

#[test]
fn accept_queue_overflow_tells_the_limits() {
    let (nginx, mut findings) = (owner("nginx", 812), with_facts(facts()));
    let listener = socket(1, Role::Listener, Some(&nginx));
    assert_eq!(findings.event(&event(1, listener, Kind::Listen { backlog: Some(128) })), None);
    let drop = drop("TCP_LISTEN_OVERFLOW", DropClass::Loss, Some(TCP_SYN), 17);
    let said = findings.event(&event(2, listener, Kind::Drop(&drop)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some(
            "the accept queue of nginx[812] on port 80 is full (backlog 128, net.core.somaxconn 4096): 17 packets dropped"
        )
    );
}

#[test]
fn a_reader_that_does_not_read() {
    let (dns, mut findings) = (owner("dnsmasq", 77), with_facts(facts()));
    let drop = drop("SOCKET_RCVBUFF", DropClass::Loss, None, 35);
    let of_udp = Socket { proto: "udp", lport: Some(53), ..socket(0, Role::Unknown, Some(&dns)) };
    let said = findings.event(&event(2, of_udp, Kind::Drop(&drop)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some(
            "dnsmasq[77] does not read fast enough on port 53: 35 packets dropped, its receive buffer is full \
             (SOCKET_RCVBUFF)"
        )
    );
}

#[test]
fn a_peer_that_cannot_be_reached() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let client = socket(3, Role::Client, Some(&curl));
    assert!(findings.event(&event(1, client, Kind::Close(&close(Verdict::Unreachable)))).is_some());
    let drop = drop("NEIGH_FAILED", DropClass::Loss, Some(TCP_SYN), 3);
    assert_eq!(findings.event(&event(2, client, Kind::Drop(&drop))), None);
    assert_eq!(
        findings.all()[0].text,
        "10.0.0.5 cannot be reached, no neighbour answers for it: 1 connection failed, 3 packets dropped of curl[5]"
    );
}

#[test]
fn no_port_is_left() {
    let (load, mut findings) = (owner("load", 9), with_facts(facts()));
    let client = socket(3, Role::Client, Some(&load));
    let client = Socket { lport: None, ..client };
    let none_left = Close { errno: Some(libc::EADDRNOTAVAIL), ..close(Verdict::FailedLocal) };
    let said = findings.event(&event(1, client, Kind::Close(&none_left)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("no local port is left for 10.0.0.5:5432 (ports 32768-60999): 1 connection of load[9] failed")
    );
    let elsewhere = Close { errno: Some(libc::ENETUNREACH), ..none_left.clone() };
    let no_address = Socket { laddr: None, rport: Some(1), ..client };
    let bound = Socket { lport: Some(9), rport: Some(2), ..client };
    for (socket, close) in [(client, &elsewhere), (no_address, &none_left), (bound, &none_left)] {
        assert_eq!(findings.event(&event(1, socket, Kind::Close(close))), None);
    }
    // bind() without a port finds no free one either; a bind() to a given port is another matter.
    let bind = Kind::Bind { errno: libc::EADDRINUSE, held_by: None };
    let unbound = Socket { lport: None, raddr: None, rport: None, role: Role::Unknown, ..client };
    let said = findings.event(&event(1, unbound, bind));
    let text = "no local port is left at 10.0.0.1 (ports 32768-60999): 1 bind() call of load[9] failed";
    assert_eq!(said.map(|finding| finding.text).as_deref(), Some(text));
    let said = findings.event(&event(1, Socket { lport: Some(80), ..unbound }, bind));
    assert_eq!(said.map(|finding| finding.name), Some("cannot_bind"));
}

#[test]
fn nobody_listens_here_or_there() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let client = socket(3, Role::Client, Some(&curl));
    let said = findings.event(&event(1, client, Kind::Close(&close(Verdict::Refused))));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("nothing listens at 10.0.0.5:5432, or a firewall rejects: 1 connection of curl[5] was refused")
    );
    // The RST came from this host: the SYN was dropped here.
    let drop = drop("NO_SOCKET", DropClass::Refused, Some(TCP_SYN), 1);
    findings.event(&event(2, client, Kind::Drop(&drop)));
    assert_eq!(findings.all()[0].text, "nothing listens at 10.0.0.5:5432: 1 connection of curl[5] was refused");
    // And from elsewhere.
    let mut findings = with_facts(facts());
    let stranger = Socket { conn: ConnId::NONE, ..socket(0, Role::Unknown, None) };
    let said = findings.event(&event(2, stranger, Kind::Drop(&drop)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("nothing listens at 10.0.0.5:5432: 1 SYN was refused")
    );
}

#[test]
fn no_answer_at_all() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let client = socket(3, Role::Client, Some(&curl));
    let established = Close { connect_us: Some(300), ..close(Verdict::TimedOut) };
    assert_eq!(findings.event(&event(1, client, Kind::Close(&established))), None);
    let said = findings.event(&event(1, client, Kind::Close(&close(Verdict::TimedOut))));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("10.0.0.5:5432 does not answer: 1 connection of curl[5] timed out after 1µs")
    );
}

#[test]
fn a_connect_that_was_given_up() {
    let (curl, wget, mut findings) = (owner("curl", 5), owner("wget", 6), with_facts(facts()));
    let given_up = |waited| Close { duration_us: Some(waited), syns: Some(2), ..close(Verdict::NoAnswer) };
    let said = findings
        .event(&event(1, socket(3, Role::Client, Some(&curl)), Kind::Close(&given_up(1_500_000))))
        .map(|finding| (finding.name, finding.text));
    let text = "10.0.0.5:5432 does not answer: 1 connection of curl[5] was given up after 1.50s, 2 SYNs";
    assert_eq!(said, Some(("no_answer", text.to_owned())));
    findings.event(&event(2, socket(4, Role::Client, Some(&wget)), Kind::Close(&given_up(3_100_000))));
    let [finding] = &findings.all()[..] else { panic!("{:?}", findings.all()) };
    assert_eq!(
        finding.text,
        "10.0.0.5:5432 does not answer: 2 connections of curl[5], wget[6] were given up after at most 3.10s, 4 SYNs"
    );
    assert_eq!((finding.count, finding.evidence.len()), (2, 2));
    let mut hasty = with_facts(facts());
    let loser = Close { syns: Some(1), ..given_up(30_000) };
    let said = hasty.event(&event(1, socket(3, Role::Client, Some(&curl)), Kind::Close(&loser)));
    assert_eq!(said, None, "the answer may have been under way");
    // Older than the trace: the kernel has counted its SYNs all the same.
    let old = Close { preexisting: true, duration_us: None, verdict: Verdict::TimedOut, ..given_up(0) };
    findings.event(&event(3, socket(5, Role::Client, Some(&wget)), Kind::Close(&old)));
    let text = &findings.all()[0].text;
    assert!(text.contains("3 connections of curl[5], wget[6] had no answer: 2 were given up, 1 timed out,"), "{text}");
}

#[test]
fn a_connect_that_was_given_up_and_began_nobody_knows_when() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let old = Close { preexisting: true, duration_us: None, syns: Some(5), ..close(Verdict::NoAnswer) };
    let said = findings.event(&event(1, socket(3, Role::Client, Some(&curl)), Kind::Close(&old)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("10.0.0.5:5432 does not answer: 1 connection of curl[5] was given up, 5 SYNs")
    );
}

/// ICMPv6 reports it like this, and the kernel keeps no copy of the message.
#[test]
fn a_prohibition_leads_to_the_firewall() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let prohibited = Close { errno: Some(libc::EACCES), ..close(Verdict::Unreachable) };
    findings.event(&event(1, socket(3, Role::Client, Some(&curl)), Kind::Close(&prohibited)));
    let [finding] = &findings.all()[..] else { panic!("{:?}", findings.all()) };
    assert_eq!((finding.name, finding.look[0].as_ref()), ("peer_unreachable", "nft list ruleset"));
}

#[test]
fn ten_segments_make_a_bad_path() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let again = |what| Kind::Retransmit { state: None, what, seq: None };
    for conn in 0..9 {
        let client = socket(conn % 3 + 1, Role::Client, Some(&curl));
        assert_eq!(findings.event(&event(conn, client, again(Segment::Data))), None);
        assert_eq!(findings.event(&event(conn, client, again(Segment::Probe))), None);
    }
    assert_eq!(findings.all(), []);
    let said = findings.event(&event(10, socket(1, Role::Client, Some(&curl)), again(Segment::Syn)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("10 segments to 10.0.0.5:5432 had to be retransmitted, of 3 connections of curl[5]")
    );
}

#[test]
fn what_is_well_says_nothing() {
    let mut findings = with_facts(facts());
    for (n, verdict) in Verdict::ALL.into_iter().filter(|verdict| !verdict.is_failure()).enumerate() {
        let kind = close(verdict);
        assert_eq!(findings.event(&event(n as u64, socket(1, Role::Client, None), Kind::Close(&kind))), None);
    }
    let noise = drop("TCP_OLD_DATA", DropClass::Noise, Some(TCP_ACK), 1000);
    assert_eq!(findings.event(&event(1, socket(1, Role::Client, None), Kind::Drop(&noise))), None);
    assert_eq!(findings.all(), []);
}

#[test]
fn memory_is_bounded() {
    let mut findings = with_facts(facts());
    let refused = close(Verdict::Refused);
    for pid in 1..=20_000 {
        let (client, curl) = (socket(pid, Role::Client, None), owner("curl", pid as u32));
        let client = Socket { owner: Some(&curl), rport: Some((pid % 2000) as u16), ..client };
        findings.event(&event(pid, client, Kind::Close(&refused)));
    }
    assert_eq!(findings.cases.len(), MOST_CASES);
    let counted: u64 = findings.all().iter().map(|finding| finding.count).sum();
    assert_eq!(counted + findings.untold(), 20_000);
    assert!(
        findings.cases.values().all(|case| case.evidence.len() <= MOST_EVIDENCE && case.owners.len() <= MOST_OWNERS)
    );
    assert!(findings.all()[0].text.ends_with("and others were refused"), "{}", findings.all()[0].text);
}

#[test]
fn names_are_unique() {
    let names: HashSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
}

#[test]
fn a_limit_of_the_host_is_not_the_readers_fault() {
    let (dns, mut findings) = (owner("dnsmasq", 77), with_facts(facts()));
    let drop = drop("PROTO_MEM", DropClass::Loss, None, 2);
    let of_udp = Socket { proto: "udp", lport: Some(53), ..socket(0, Role::Unknown, Some(&dns)) };
    let said = findings.event(&event(2, of_udp, Kind::Drop(&drop)));
    assert_eq!(
        said.map(|finding| finding.text).as_deref(),
        Some("2 packets to dnsmasq[77] on port 53 dropped: the memory of its protocol is used up (PROTO_MEM)")
    );
}

#[test]
fn a_handshake_that_was_missed_is_no_missing_answer() {
    let mut findings = with_facts(facts());
    let missed = Close { incomplete: true, ..close(Verdict::TimedOut) };
    assert_eq!(findings.event(&event(1, socket(3, Role::Client, None), Kind::Close(&missed))), None);
}

#[test]
fn a_reject_of_one_port_is_not_the_hosts() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    let client = socket(3, Role::Client, Some(&curl));
    let icmp = Icmp { v6: false, kind: 3, code: 13, from: sample::FAR };
    let rejected = Close { errno: Some(libc::EHOSTUNREACH), icmp: Some(icmp), ..close(Verdict::Unreachable) };
    let said = findings.event(&event(1, client, Kind::Close(&rejected))).unwrap_or_else(|| panic!("it is found"));
    let text =
        "10.0.0.5:5432 is prohibited (admin prohibited, ICMP 3/13 from 10.0.0.5): 1 connection failed of curl[5]";
    assert_eq!(said.text, text);
    assert!(
        said.look.iter().any(|look| look == "nft list ruleset") && !said.look.iter().any(|look| look == "ip neigh")
    );
    let other = Socket { rport: Some(80), ..client };
    let neighbour = Close { icmp: None, ..rejected };
    let said = findings.event(&event(2, other, Kind::Close(&neighbour))).map(|finding| finding.look);
    assert_eq!(said, Some(vec!["ip neigh".into(), "ip route get 10.0.0.5".into()]));
}

#[test]
fn advice_is_of_its_own_reason() {
    let (web, mut findings) = (owner("web", 5), with_facts(facts()));
    for (port, errno, name) in
        [(1, libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"), (2, libc::EACCES, "EACCES"), (3, libc::EINVAL, "EINVAL")]
    {
        let socket = Socket { lport: Some(port), ..socket(3, Role::Unknown, Some(&web)) };
        let said = findings.event(&event(1, socket, Kind::Bind { errno, held_by: None }));
        let look = said.map(|finding| finding.look).unwrap_or_default();
        assert!(look.contains(&format!("tracer explain {name}").into()), "{look:?}");
        assert!(!look.iter().any(|command| command.contains("EADDRINUSE") || command.contains("PID")), "{look:?}");
    }
}

#[test]
fn rules_that_are_known_are_named_and_kept_apart() {
    let (curl, mut findings) = (owner("curl", 5), with_facts(facts()));
    for (handle, text) in [(4, "inet f output handle 4: tcp dport 5432 drop"), (5, "inet f output handle 5: drop")] {
        let nft =
            stream::Nft { family: "inet", table: "f".into(), chain: "output".into(), handle: Some(handle), rule: None };
        let hint = Hint { nft: Some(nft), ..Hint::of(text) };
        let drop = Drop { hint: Some(hint.into()), ..drop("NETFILTER_DROP", DropClass::Policy, Some(TCP_SYN), 1) };
        let said = findings.event(&event(1, socket(7, Role::Client, Some(&curl)), Kind::Drop(&drop)));
        assert!(said.as_ref().is_some_and(|finding| finding.text.contains(text)), "{said:?}");
    }
}
