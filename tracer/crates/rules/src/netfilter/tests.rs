//! Places in rule sets: made by hand, and from a kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use tracer_common::{
    drops::{Direction, DropRecord, NO_REASON, PacketSocket, TCP_SYN},
    packet::{Flow, HAS_PORTS, Packet as Headers},
    record::{Header, RECORD_VERSION, RecordKind},
};
use tracer_tables::netlink::{fixtures, nftables::Step};

use super::*;

/// A packet from `10.0.0.1` (or `fd07::1`) to `.2`.
pub(crate) fn packet(v6: bool, protocol: u8, dport: u16, direction: Direction, iface: &str) -> DropRecord {
    let v4 = |last| [u32::from_ne_bytes([10, 0, 0, last]), 0, 0, 0];
    let fd07 = |last| [u32::from_ne_bytes([0xfd, 7, 0, 0]), 0, 0, u32::from_ne_bytes([0, 0, 0, last])];
    let flow = Flow {
        src: if v6 { fd07(1) } else { v4(1) },
        dst: if v6 { fd07(2) } else { v4(2) },
        sport: 40_000,
        dport,
        family: if v6 { 6 } else { 4 },
        protocol,
        flags: HAS_PORTS,
        reserved: 0,
    };
    let mut name = [0; 16];
    name[..iface.len()].copy_from_slice(iface.as_bytes());
    DropRecord {
        header: Header { kind: RecordKind::Drop as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns: 10 },
        fold: 0,
        first_ns: 10,
        count: 1,
        location: 0,
        reason: NO_REASON,
        len: 60,
        ifindex: 7,
        netns: 1,
        iface: name,
        packet: Headers { flow, tcp_flags: TCP_SYN, ttl: 64, ..Headers::default() },
        direction: direction as u8,
        flags: 0,
        stack: 0,
        socket: PacketSocket::NONE,
    }
}

fn chain(family: u8, name: &str, hook: Option<u32>, policy_drops: bool) -> Chain {
    Chain { family, table: "filter".into(), name: name.into(), hook, priority: 0, devices: Vec::new(), policy_drops }
}

fn rule(chain: &str, handle: u64, action: Action) -> Rule {
    Rule {
        family: INET,
        table: "filter".into(),
        chain: chain.into(),
        handle,
        steps: Vec::new(),
        action,
        packets: None,
        rewrites: false,
        comment: None,
        map: None,
        updates: None,
    }
}

/// A rule that may match or not.
fn maybe(rule: Rule) -> Rule {
    Rule { steps: vec![Step::Opaque], ..rule }
}

/// The counters of a set that was just read.
fn fresh(set: &RuleSet) -> Counters {
    let mut counters = Counters::default();
    counters.read(set.counted());
    counters
}

fn short(places: &Places) -> Vec<String> {
    let name = |place: &Place| {
        let handle = place.handle.map_or("policy".to_owned(), |handle| handle.to_string());
        format!("{} {} {handle}", place.family, place.chain)
    };
    places.places.iter().map(name).collect()
}

/// Places of a TCP SYN to port 4000.
fn places(set: &RuleSet, v6: bool, direction: Direction, by: By) -> Places {
    set.places(Packet(&packet(v6, 6, 4000, direction, "wire")), by, &Counters::default())
}

#[test]
fn only_what_lies_on_the_way() {
    let set = RuleSet::new(
        vec![
            chain(INET, "input", Some(LOCAL_IN), true),
            chain(INET, "output", Some(LOCAL_OUT), false),
            chain(IPV6, "output6", Some(LOCAL_OUT), true),
            chain(INET, "forward", Some(FORWARD), false),
        ],
        vec![maybe(rule("output", 5, Action::Drop)), maybe(rule("input", 6, Action::MayDrop))],
        Vec::new(),
    );
    let all = |v6, direction| short(&places(&set, v6, direction, By::Anything));
    assert_eq!(all(false, Direction::Out), ["inet output 5"]);
    assert_eq!(all(true, Direction::Out), ["inet output 5", "ip6 output6 policy"]);
    assert_eq!(all(false, Direction::In), ["inet input 6", "inet input policy"]);
    assert_eq!(all(false, Direction::Forward), [""; 0]);
    assert_eq!(all(false, Direction::Unknown).len(), 3);
    assert_eq!(short(&places(&set, false, Direction::In, By::Other)), [""; 0]);
}

#[test]
fn a_rule_dropped_or_nobody_knows() {
    let set = RuleSet::new(
        vec![chain(INET, "output", Some(LOCAL_OUT), false)],
        vec![maybe(rule("output", 5, Action::Drop))],
        Vec::new(),
    );
    assert!(places(&set, false, Direction::Out, By::Nftables).the_one().is_some());
    // conntrack drops there, too.
    let open = places(&set, false, Direction::Out, By::Anything);
    assert!(open.the_one().is_none());
    assert_eq!(open.describe().unwrap(), "probably nft: table inet filter, chain output, handle 5 (\u{2026} drop)");
}

#[test]
fn what_is_not_reached_is_no_place() {
    let set = |rules| {
        RuleSet::new(
            vec![chain(INET, "input", Some(LOCAL_IN), true), chain(INET, "more", None, false)],
            rules,
            Vec::new(),
        )
    };
    let all = |rules| short(&places(&set(rules), false, Direction::In, By::Anything));
    let drop = |handle| rule("input", handle, Action::Drop);
    // After a certain drop; after a possible one.
    assert_eq!(all(vec![drop(1), drop(2)]), ["inet input 1"]);
    assert_eq!(all(vec![maybe(drop(1)), drop(2), drop(3)]), ["inet input 1", "inet input 2"]);
    // After an accept.
    assert_eq!(all(vec![rule("input", 1, Action::Accept), drop(2)]), [""; 0]);
    assert_eq!(all(vec![maybe(rule("input", 1, Action::Accept)), drop(2)]), ["inet input 2"]);
    // Back in the calling chain.
    let jump = |action: fn(String) -> Action| rule("input", 1, action("more".into()));
    assert_eq!(all(vec![jump(Action::Jump), drop(2), rule("more", 3, Action::Drop)]), ["inet more 3"]);
    assert_eq!(
        all(vec![jump(Action::Jump), drop(2), rule("more", 3, Action::Return), rule("more", 4, Action::Drop)]),
        ["inet input 2"]
    );
    assert_eq!(all(vec![jump(Action::Goto), drop(2)]), ["inet input policy"]);
    assert_eq!(all(vec![jump(Action::Jump), maybe(rule("more", 3, Action::Accept)), drop(2)]), ["inet input 2"]);
}

#[test]
fn who_cannot_get_through_does_not_come_later() {
    let later = || Chain { priority: 1, ..chain(INET, "later", Some(LOCAL_IN), true) };
    let set = |rules| RuleSet::new(vec![later(), chain(INET, "input", Some(LOCAL_IN), true)], rules, Vec::new());
    let all = |rules| {
        let places = places(&set(rules), false, Direction::In, By::Nftables);
        (short(&places), places.certain)
    };
    assert_eq!(all(vec![]), (vec!["inet input policy".into()], true));
    let both = vec!["inet input policy".into(), "inet later policy".into()];
    assert_eq!(all(vec![maybe(rule("input", 1, Action::Accept))]), (both.clone(), true));
    // The chain may have seen another destination.
    let nat = Rule { rewrites: true, ..rule("input", 1, Action::Pass) };
    assert_eq!(all(vec![nat]), (both, true));
}

#[test]
fn jumps_are_followed_and_loops_are_not() {
    let set = RuleSet::new(
        vec![
            chain(INET, "output", Some(LOCAL_OUT), false),
            chain(INET, "tcp", None, false),
            chain(INET, "web", None, false),
        ],
        vec![
            rule("output", 1, Action::Jump("tcp".into())),
            rule("tcp", 2, Action::Jump("web".into())),
            maybe(rule("web", 3, Action::Drop)),
            rule("web", 4, Action::Jump("tcp".into())),
            rule("web", 5, Action::Jump("gone".into())),
        ],
        Vec::new(),
    );
    assert_eq!(short(&places(&set, false, Direction::Out, By::Nftables)), ["inet web 3"]);
}

#[test]
fn a_map_may_lead_anywhere_in_its_table() {
    let set = RuleSet::new(
        vec![chain(INET, "input", Some(LOCAL_IN), false), chain(INET, "named", None, false)],
        vec![rule("input", 1, Action::MayDrop), rule("named", 2, Action::Drop)],
        Vec::new(),
    );
    assert_eq!(short(&places(&set, false, Direction::In, By::Nftables)), ["inet named 2", "inet input 1"]);
}

#[test]
fn a_counter_that_stood_still_tells() {
    let counted = |handle, packets| Rule { packets: Some(packets), ..maybe(rule("output", handle, Action::Drop)) };
    let set = |first, second| {
        RuleSet::new(
            vec![chain(INET, "output", Some(LOCAL_OUT), false)],
            vec![counted(1, first), counted(2, second), maybe(rule("output", 3, Action::Drop))],
            Vec::new(),
        )
    };
    let record = packet(false, 6, 4000, Direction::Out, "wire");
    let all = |set: &RuleSet, counters: &Counters| {
        let places = set.places(Packet(&record), By::Nftables, counters);
        assert!(!places.asks_for_counters());
        short(&places)
    };
    assert_eq!(all(&set(10, 11), &fresh(&set(10, 11))), ["inet output 1", "inet output 2", "inet output 3"]);
    assert_eq!(all(&set(0, 11), &fresh(&set(0, 11))), ["inet output 2", "inet output 3"], "it never counted");
    // Read at 5, and again after the packet, which was dropped at 10.
    let later = |first, second, dropped_ns| {
        let mut counters = fresh(&set(10, 10));
        counters.settle(5);
        counters.of(dropped_ns);
        counters.read(set(first, second).counted());
        counters
    };
    let old = set(10, 10);
    assert_eq!(all(&old, &later(10, 11, 10)), ["inet output 2", "inet output 3"]);
    assert_eq!(all(&old, &later(10, 10, 10)), ["inet output 3"]);
    assert_eq!(all(&old, &later(10, 10, 4)).len(), 3, "the first reading was after the drop, too");
    // A counter that was not read after the drop proves nothing, and is requested.
    let mut unread = fresh(&old);
    unread.settle(5);
    let places = old.places(Packet(&record), By::Nftables, &unread);
    assert_eq!((short(&places).len(), places.unread.len(), places.asks_for_counters()), (3, 2, true));
}

/// The owner of a namespace may make the way of a packet too long to analyse, but not slow.
#[test]
fn a_way_that_is_too_long_is_given_up() {
    let chains = |count: usize| (0..count).map(|n| chain(INET, &format!("c{n}"), None, false));
    let base = || vec![chain(INET, "input", Some(LOCAL_IN), true)];
    // A chain of calls; maps that may lead anywhere, each into all the others.
    let calls: Vec<Rule> = (0..1000).map(|n| rule(&format!("c{n}"), n, Action::Jump(format!("c{}", n + 1)))).collect();
    let maps: Vec<Rule> = (0..1000).map(|n| rule(&format!("c{n}"), n, Action::MayDrop)).collect();
    let walked = |rules| {
        let start = rule("input", 5000, Action::Jump("c0".into()));
        let set =
            RuleSet::new(base().into_iter().chain(chains(1000)).collect(), [vec![start], rules].concat(), Vec::new());
        places(&set, false, Direction::In, By::Nftables)
    };
    let deep = walked(calls);
    assert!(deep.given_up && deep.places.is_empty() && !deep.certain, "{deep:?}");
    // Each map once, and the policy.
    let wide = walked(maps);
    assert_eq!((wide.given_up, wide.places.len() + wide.more), (false, 1001));
    let many =
        |count| RuleSet::new(base(), (0..count).map(|n| maybe(rule("input", n, Action::Drop))).collect(), Vec::new());
    let all = places(&many(20_000), false, Direction::In, By::Nftables);
    assert_eq!((all.given_up, all.places.len() + all.more), (false, 20_001));
    assert!(places(&many(200_000), false, Direction::In, By::Nftables).given_up);
}

#[test]
fn many_places() {
    let rules = (1..=5).map(|handle| maybe(rule("output", handle, Action::Drop))).collect();
    let set = RuleSet::new(vec![chain(INET, "output", Some(LOCAL_OUT), false)], rules, Vec::new());
    let text = places(&set, false, Direction::Out, By::Nftables).describe().unwrap();
    assert_eq!(
        text,
        "nft, one of: inet filter output handle 1, inet filter output handle 2, inet filter output handle 3 and 2 more"
    );
    assert_eq!(Places::default().describe(), None);
}

/// The rules of `fixtures/nft_rule.hex`, in the words of nft:
///
/// ```text
/// chain input { type filter hook input priority 0; policy drop;
///     tcp dport 4000 drop comment "no db"                       # handle 3
///     tcp dport { 80, 443 } accept                              # 5
///     ip saddr 10.0.0.0/8 udp dport 53 counter drop             # 6
///     iifname "eth*" meta l4proto tcp reject with tcp reset     # 7
///     tcp flags & (syn|ack) == syn ct state invalid drop        # 8
///     tcp dport 1000-2000 drop                                  # 9
///     jump more                                                 # 10
///     tcp dport vmap { 22 : accept, 23 : drop }                 # 12
/// }
/// chain more { ip6 daddr fd07::2 drop }                         # 13
/// table netdev early { chain in { type filter hook ingress device lo priority -300; ip ttl 1 drop } }
/// ```
fn real() -> RuleSet {
    RuleSet::new(fixtures::chains(), fixtures::rules(), Vec::new())
}

#[test]
fn rules_of_a_kernel_and_what_they_can_have_dropped() {
    let set = real();
    let all = |record: &DropRecord, by| short(&set.places(Packet(record), by, &fresh(&set)));
    let tcp = |dport, iface| packet(false, 6, dport, Direction::In, iface);
    assert_eq!(all(&tcp(4000, "wire"), By::Nftables), ["inet input 3"]);
    assert_eq!(all(&tcp(1999, "wire"), By::Nftables), ["inet input 8", "inet input 9"]);
    assert_eq!(all(&tcp(2001, "wire"), By::Nftables), ["inet input 8", "inet input 12", "inet input policy"]);
    assert_eq!(all(&tcp(2001, "eth5"), By::Nftables), ["inet input 7"]);
    let mut ack = tcp(2001, "wire");
    ack.packet.tcp_flags = tracer_common::drops::TCP_ACK;
    assert_eq!(all(&ack, By::Nftables), ["inet input 12", "inet input policy"]);
    let mut udp = packet(false, 17, 53, Direction::In, "wire");
    // The counter of the only matching rule excludes it.
    assert_eq!(all(&udp, By::Anything), ["inet input policy"]);
    udp.iface = tcp(1, "lo").iface;
    udp.packet.ttl = 1;
    assert_eq!(all(&udp, By::Nftables), ["netdev in 2"]);
    assert_eq!(all(&packet(true, 6, 5000, Direction::In, "wire"), By::Nftables), ["inet input 8", "inet more 13"]);
    // An unknown field excludes nothing.
    let mut fragment = tcp(4000, "wire");
    fragment.packet.flow.flags = tracer_common::packet::LATER_FRAGMENT;
    assert_eq!(
        all(&fragment, By::Nftables),
        ["inet input 3", "inet input 8", "inet input 9", "inet input 12", "inet input policy"]
    );
}

#[test]
fn rules_of_a_kernel_in_words() {
    let set = real();
    let words: Vec<String> = set
        .chains
        .iter()
        .flat_map(|(_, rules)| rules)
        .map(|compiled| &compiled.rule)
        .filter(|rule| matches!(rule.action, Action::Drop | Action::Reject | Action::MayDrop))
        .map(|rule| words::rule(rule, &set.sets))
        .collect();
    assert_eq!(
        words,
        [
            "tcp dport 4000 drop comment \"no db\"",
            "ip saddr 10.0.0.0/8 udp dport 53 drop",
            "iifname \"eth*\" meta l4proto tcp reject",
            "tcp flags & (syn|ack) == syn ct state invalid drop",
            "tcp dport 1000-2000 drop",
            // Its elements are not among the messages.
            "tcp dport vmap { \u{2026} }",
            "ip6 daddr fd07::2 drop",
            "ip ttl 1 drop",
        ]
    );
    let record = packet(false, 6, 4000, Direction::In, "wire");
    assert_eq!(
        set.places(Packet(&record), By::Nftables, &fresh(&set)).describe().unwrap(),
        "nft: table inet filter, chain input, handle 3 (tcp dport 4000 drop comment \"no db\")"
    );
    let record = packet(false, 17, 5000, Direction::In, "wire");
    assert_eq!(
        set.places(Packet(&record), By::Nftables, &fresh(&set)).describe().unwrap(),
        "nft: table inet filter, chain input, policy drop"
    );
}
