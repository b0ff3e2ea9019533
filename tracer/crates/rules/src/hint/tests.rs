//! Hints from made-up drops and real tables.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use tracer_common::drops::Direction;
use tracer_tables::netlink::fixtures;

use super::*;
use crate::netfilter::{Counters, Packet, RuleSet, tests::packet};

fn drop(reason: Option<&str>, symbol: &str, to: &str) -> Drop {
    Drop {
        reason: reason.map(Into::into),
        reason_id: None,
        class: DropClass::Loss,
        location: None,
        symbol: Some(symbol.into()),
        iface: Some("wire".into()),
        netns: None,
        socket_netns: None,
        direction: Direction::Out,
        len: 60,
        protocol: Some("tcp"),
        ends: Some(PacketEnds {
            saddr: [10, 0, 0, 1].into(),
            sport: Some(40_000),
            daddr: to.parse().unwrap(),
            dport: Some(4000),
        }),
        tcp_flags: None,
        seq: None,
        icmp: None,
        about: None,
        fragment: false,
        count: 1,
        first_ns: 10,
        mixed: false,
        stack: tracer_stream::Stack::NotAsked,
        hint: None,
    }
}

fn open(drop: &Drop, record: &DropRecord) -> Open {
    Open::new(1, question(&Site::from(drop)).unwrap(), None, drop, record)
}

fn text(hint: Option<Hint>) -> String {
    hint.map_or(String::new(), |hint| hint.text)
}

#[test]
fn what_is_asked_of_which_drop() {
    for (reason, symbol, wanted) in [
        (Some("NETFILTER_DROP"), "nft_do_chain+0x1", Some(Question::Rules)),
        (Some("NETFILTER_DROP"), "", Some(Question::Rules)),
        // 5.10: no reasons.
        (None, "nf_hook_slow+0xa1", Some(Question::Rules)),
        (None, "nft_do_chain.isra.0+0xa1", Some(Question::Rules)),
        (Some("NOT_SPECIFIED"), "nf_hook_slow+0xa1", Some(Question::Rules)),
        (Some("NETFILTER_DROP"), "ipt_do_table+0x1", None),
        (Some("QDISC_DROP"), "__dev_queue_xmit+0x1", Some(Question::Qdiscs)),
        (Some("QDISC_DROP_OVERLIMIT"), "", Some(Question::Qdiscs)),
        (Some("FQ_BAND_LIMIT"), "", Some(Question::Qdiscs)),
        (None, "tbf_enqueue+0x1", Some(Question::Qdiscs)),
        (None, "__dev_queue_xmit+0x1", Some(Question::Qdiscs)),
        (None, "kfree_skb_list+0x1", Some(Question::Qdiscs)),
        (Some("NEIGH_FAILED"), "neigh_invalidate+0x1", Some(Question::Neighbours)),
        (Some("NOT_SPECIFIED"), "neigh_invalidate+0x1", Some(Question::Neighbours)),
        (Some("XDP"), "", Some(Question::Xdp)),
        (None, "veth_poll+0x1", Some(Question::Xdp)),
        (Some("TC_INGRESS"), "", Some(Question::Tc)),
        (Some("TC_EGRESS"), "", Some(Question::Tc)),
        (Some("BPF_CGROUP_EGRESS"), "", Some(Question::Group)),
        (Some("SOCKET_FILTER"), "", Some(Question::Group)),
        (Some("NO_SOCKET"), "tcp_v4_rcv+0x1", None),
        (Some("TCP_CLOSE"), "nf_hook_slow+0x1", None),
    ] {
        assert_eq!(question(&Site::from(&drop(reason, symbol, "10.0.0.2"))), wanted, "{reason:?} {symbol}");
    }
    let several = Drop { mixed: true, ..drop(Some("NETFILTER_DROP"), "", "10.0.0.2") };
    let several = Site::from(&several);
    assert_eq!((question(&several), by_itself(&several)), (None, None));
}

#[test]
fn what_a_packet_tells_by_itself() {
    for (reason, symbol, words) in [
        (Some("IP_OUTNOROUTES"), "ip_output", "no route to 10.0.0.2"),
        (Some("NOT_SPECIFIED"), "ip6_pkt_discard+0x1", "no route to 10.0.0.2, or one that refuses it"),
        (
            Some("NOT_SPECIFIED"),
            "ip_error+0x1",
            "the route to 10.0.0.2 refuses it (blackhole, unreachable or prohibit)",
        ),
        (None, "ip_error+0x1", "there is no route or one that refuses, or this host does not forward"),
        (Some("IP_RPFILTER"), "", "rp_filter: 10.0.0.1 came in by wire, and no route back to it leads that way"),
        (
            Some("TC_EGRESS"),
            "",
            "a filter or program on egress of wire; see `tc -s filter show dev wire egress` and `bpftool net show dev wire`",
        ),
        (
            Some("NETFILTER_DROP"),
            "ipt_do_table+0x1",
            "a rule of iptables (legacy), table unknown; see `iptables-legacy -vnL`",
        ),
        (Some("NO_SOCKET"), "", ""),
        (Some("NETFILTER_DROP"), "nft_do_chain+0x1", ""),
    ] {
        assert_eq!(text(by_itself(&Site::from(&drop(reason, symbol, "10.0.0.2")))), words);
    }
}

/// `wire` has tbf with drops, `peer` htb with a pfifo in its class, without, and clsact.
#[test]
fn queueing_disciplines_of_a_kernel() {
    let mut all = fixtures::qdiscs();
    let of = |kind: &str| all.iter().find(|qdisc| qdisc.kind == kind).unwrap().clone();
    let (tbf, htb) = (of("tbf"), of("htb"));
    assert_eq!((tbf.drops, htb.drops, htb.is_root()), (Some(6), Some(0), true));
    let hint = |reason, symbol, ifindex, all: &[Qdisc]| {
        let record = DropRecord { ifindex, ..packet(false, 17, 4000, Direction::Out, "wire") };
        let tables = Tables { qdiscs: Some(all), ..Tables::default() };
        explain(&open(&drop(reason, symbol, "10.0.0.2"), &record), &tables)
    };
    let site = "__dev_queue_xmit+0x1";
    let one = hint(Some("QDISC_DROP"), site, tbf.ifindex, &all).unwrap();
    let discipline = one.qdisc.unwrap();
    assert_eq!(
        (one.text, &*discipline.kind, &discipline.handle),
        (format!("qdisc tbf {} on wire", discipline.handle), "tbf", &tbf.handle_text())
    );
    // This kernel does not name the reason, and other packets are dropped there, too.
    let probably = hint(None, site, tbf.ifindex, &all).unwrap();
    assert!(probably.text.starts_with("probably qdisc tbf ") && probably.qdisc.is_none(), "{probably:?}");
    // No qdisc there has dropped anything.
    assert_eq!(hint(Some("QDISC_DROP"), site, htb.ifindex, &all), None);
    for qdisc in &mut all {
        qdisc.drops = Some(1);
    }
    let several = hint(Some("QDISC_DROP"), site, htb.ifindex, &all);
    assert_eq!(text(several), "qdisc htb 1: or one of 1 below it on wire");
    let named = hint(Some("QDISC_DROP"), "pfifo_enqueue+0x1", htb.ifindex, &all).unwrap();
    assert_eq!((&*named.text, named.qdisc.is_some()), ("qdisc pfifo 10: on wire", true));
}

#[test]
fn the_neighbour_that_does_not_answer() {
    let neighbour =
        |address: &str, state| Neighbour { ifindex: 7, address: address.parse().unwrap(), lladdr: Vec::new(), state };
    let (reachable, failed) = (0x02, 0x20);
    let hint = |to: &str, neighbours: &[Neighbour]| {
        let tables = Tables { neighbours: Some(neighbours), ..Tables::default() };
        let record = packet(false, 17, 4000, Direction::Out, "wire");
        text(explain(&open(&drop(Some("NEIGH_FAILED"), "neigh_invalidate+0x1", to), &record), &tables))
    };
    let there = [neighbour("10.0.0.2", failed), neighbour("10.0.0.254", reachable), neighbour("fd07::9", failed)];
    assert_eq!(hint("10.0.0.2", &there), "no answer from neighbour 10.0.0.2 on wire");
    assert_eq!(hint("192.0.2.1", &there), "no answer from next hop 10.0.0.2 on wire, on the way to 192.0.2.1");
    let two = [neighbour("10.0.0.2", failed), neighbour("10.0.0.3", failed)];
    assert_eq!(hint("192.0.2.1", &two), "no answer from the next hop to 192.0.2.1 on wire");
    assert_eq!(hint("192.0.2.1", &[]), "no answer from the next hop to 192.0.2.1 on wire");
    let to: IpAddr = "192.0.2.1".parse().unwrap();
    let record = packet(false, 17, 4000, Direction::Out, "wire");
    let unread = explain(&open(&drop(Some("NEIGH_FAILED"), "", &to.to_string()), &record), &Tables::default());
    assert_eq!(text(unread), "no answer from the next hop to 192.0.2.1 on wire", "the destination is known anyway");
}

#[test]
fn what_else_drops_in_a_hook_takes_the_certainty() {
    use tracer_tables::netlink::nftables::{Action, Chain, Rule};
    let chain = Chain {
        family: 1,
        table: "filter".into(),
        name: "input".into(),
        hook: Some(1),
        priority: 0,
        devices: Vec::new(),
        policy_drops: true,
    };
    let rule = Rule {
        family: 1,
        table: "filter".into(),
        chain: "input".into(),
        handle: 5,
        steps: Vec::new(),
        action: Action::Drop,
        packets: None,
        rewrites: false,
        comment: None,
        map: None,
        updates: None,
    };
    let rules = |rules| RuleSet::new(vec![chain.clone()], rules, Vec::new());
    let record = packet(false, 6, 4000, Direction::In, "wire");
    let hint = |symbol: &str, rules: Option<&RuleSet>, tables: &Tables<'_>, nftables_drops| {
        let by = open(&drop(Some("NETFILTER_DROP"), symbol, "10.0.0.2"), &record).by(nftables_drops);
        let places = rules.map(|rules| rules.places(Packet(&record), by, &Counters::default()));
        let hint = explain_rule(by, places.as_ref().map_or(Rules::None, Rules::Places), tables);
        hint.map_or((String::new(), None), |hint| (hint.text, hint.nft.map(|nft| nft.handle)))
    };
    let (policy, nothing) = (rules(vec![]), Tables::default());
    let place = "nft: table inet filter, chain input, policy drop";
    assert_eq!(hint("nf_hook_slow+0x1", Some(&policy), &nothing, false), (place.to_owned(), Some(None)));
    let full = Tables { full_conntrack: Some((8, 8)), ..nothing };
    assert_eq!(
        hint("nf_hook_slow+0x1", Some(&policy), &full, false),
        (format!("probably conntrack, whose table is full; or {place}"), None)
    );
    let legacy = Tables { legacy: true, ..nothing };
    assert_eq!(
        hint("nf_hook_slow+0x1", Some(&policy), &legacy, false),
        (format!("probably {place}, or a rule of iptables (legacy)"), None)
    );
    assert_eq!(
        hint("nf_hook_slow+0x1", None, &legacy, false).0,
        "probably a rule of iptables (legacy); see `iptables-legacy -vnL`"
    );
    assert_eq!(hint("nf_hook_slow+0x1", None, &nothing, false).0, "");
    let other = hint("nf_hook_slow+0x1", Some(&policy), &nothing, true);
    assert_eq!(other.0, "no rule of nftables: conntrack, IPVS or a BPF program");
    let words = "nft: table inet filter, chain input, handle 5 (drop)";
    let named = rules(vec![rule]);
    assert_eq!(
        hint("nft_do_chain+0x1", Some(&named), &legacy, false),
        (words.to_owned(), Some(Some(5))),
        "the rule's own function"
    );
}

/// A drop by connection tracking is not blamed on a rule that may match, nor a rule's drop on connection tracking.
#[test]
fn what_conntrack_has_counted_decides() {
    let set = RuleSet::default();
    let none = Places::default();
    let says = |by, tables: &Tables<'_>| text(explain_rule(by, Rules::Places(&none), tables));
    let with =
        |conntrack, is_full: bool| Tables { conntrack, full_conntrack: is_full.then_some((8, 8)), ..Tables::default() };
    let full = "probably conntrack: its table is full, and its counter of drops moved; see \
                `sysctl net.netfilter.nf_conntrack_max`";
    assert_eq!(says(By::Anything, &with(Conntrack::Moved, true)), full);
    assert_eq!(
        says(By::Other, &with(Conntrack::Moved, false)),
        "probably conntrack: its counters of drops moved; see `conntrack -S`"
    );
    assert_eq!(says(By::Anything, &with(Conntrack::StoodStill, true)), "", "full, but it has dropped nothing");
    assert_eq!(says(By::Other, &with(Conntrack::StoodStill, true)), "no rule of nftables: IPVS or a BPF program");
    assert_eq!(
        says(By::Anything, &with(Conntrack::Some(3), false)),
        "perhaps conntrack, which has dropped 3 packets itself; see `conntrack -S`"
    );
    assert_eq!(says(By::Nftables, &with(Conntrack::Moved, true)), "", "the rule's own function");
    assert!(set.counted().next().is_none());
}

#[test]
fn the_xdp_program_of_a_device() {
    let record = packet(false, 6, 4000, Direction::In, "wire");
    for (reason, symbol) in [
        (Some("XDP"), "kfree_skb+0x1"),
        (Some("NOT_SPECIFIED"), "do_xdp_generic+0x1"),
        (None, "veth_xdp_rcv_skb+0x1"),
        (None, "veth_poll+0x40e"),
    ] {
        let drop = drop(reason, symbol, "10.0.0.2");
        let own = text(by_itself(&Site::from(&drop)));
        assert_eq!(own, "the XDP program of wire; see `bpftool net show dev wire`");
        let open = open(&drop, &record);
        let see = "see `bpftool prog show id 57` and `bpftool net show dev wire`";
        for (name, named) in [("", "number 57"), ("deny", "number 57 (deny)")] {
            let programs = [Program { id: 57, name: name.into() }];
            let known = Tables { programs: Some(&programs), ..Tables::default() };
            assert_eq!(text(explain(&open, &known)), format!("the XDP program of wire, {named}; {see}"));
        }
        assert_eq!(explain(&open, &Tables { programs: Some(&[]), ..Tables::default() }), None);
        assert_eq!(explain(&open, &Tables::default()), None);
    }
}

fn programs(count: u32) -> Vec<Program> {
    (1..=count).map(|id| Program { id, name: format!("p{id}") }).collect()
}

/// tcx programs stand before the filters of tc, which need a queueing discipline that holds them.
#[test]
fn a_program_or_a_filter_of_traffic_control() {
    let record = packet(false, 6, 4000, Direction::In, "wire");
    let clsact = fixtures::qdiscs()
        .into_iter()
        .filter(|qdisc| qdisc.kind == "clsact")
        .map(|qdisc| Qdisc { ifindex: record.ifindex, ..qdisc });
    let clsact: Vec<Qdisc> = clsact.collect();
    let elsewhere: Vec<Qdisc> = clsact.iter().map(|qdisc| Qdisc { ifindex: 99, ..qdisc.clone() }).collect();
    let open = open(&drop(Some("TC_INGRESS"), "sch_handle_ingress+0x1", "10.0.0.2"), &record);
    let hint = |programs: &[Program], qdiscs: Option<&[Qdisc]>| {
        text(explain(&open, &Tables { programs: Some(programs), qdiscs, ..Tables::default() }))
    };
    let alone = "the tcx program on ingress of wire, number 1 (p1); see `bpftool prog show id 1`";
    assert_eq!((hint(&programs(1), Some(&[])), hint(&programs(1), Some(&elsewhere))), (alone.into(), alone.into()));
    let filter = "`tc -s filter show dev wire ingress`";
    let either = format!(
        "the tcx program on ingress of wire, number 1 (p1), or a filter of tc ({filter}); see `bpftool net show dev wire`"
    );
    assert_eq!((hint(&programs(1), Some(&clsact)), hint(&programs(1), None)), (either.clone(), either));
    assert_eq!(hint(&[], Some(&clsact)), format!("a filter of tc on ingress of wire; see {filter}"));
    assert_eq!(hint(&[], Some(&[])), "", "it is gone");
    let several = "a tcx program on ingress of wire, one of: number 1 (p1), number 2 (p2), number 3 (p3) and 2 more; see \
                   `bpftool net show dev wire`";
    assert_eq!(hint(&programs(5), Some(&[])), several);
}

/// The group is the owner's, and the socket may have been made in another one.
#[test]
fn a_program_of_a_control_group() {
    let record = packet(false, 6, 4000, Direction::In, "wire");
    let hint = |reason, direction, programs: &[Program]| {
        let drop = Drop { direction, ..drop(Some(reason), "", "10.0.0.2") };
        let tables = Tables { programs: Some(programs), group: Some("/a.slice"), ..Tables::default() };
        text(explain(&open(&drop, &record), &tables))
    };
    let egress = |programs: &[Program]| hint("BPF_CGROUP_EGRESS", Direction::Out, programs);
    assert_eq!(
        egress(&programs(1)),
        "probably the BPF program (egress) of control group /a.slice, number 1 (p1); see `bpftool prog show id 1`"
    );
    assert_eq!(
        egress(&programs(2)),
        "probably a BPF program (egress) of control group /a.slice, one of: number 1 (p1), number 2 (p2); see `bpftool \
         cgroup tree`"
    );
    assert_eq!(egress(&[]), "");
    let ingress = |programs: &[Program]| hint("SOCKET_FILTER", Direction::In, programs);
    assert_eq!(ingress(&[]), "the receiving socket's filter");
    assert_eq!(
        ingress(&programs(1)),
        "the receiving socket's filter, or probably the BPF program (ingress) of control group /a.slice, number 1 (p1); \
         see `bpftool prog show id 1`"
    );
    assert_eq!(hint("SOCKET_FILTER", Direction::Out, &programs(1)), "");
}

#[test]
fn a_function_stands_for_the_reason_where_there_is_none() {
    let hint = |reason, symbol| text(by_itself(&Site::from(&drop(reason, symbol, "10.0.0.2"))));
    for reason in [None, Some("NOT_SPECIFIED")] {
        assert_eq!(hint(reason, "sk_stream_kill_queues+0x5"), "it waited in a socket that was closed");
        assert_eq!(hint(reason, "a_function_of_tomorrow+0x5"), "");
    }
    assert_eq!(hint(Some("TCP_CSUM"), "sk_stream_kill_queues+0x5"), "");
    assert_eq!(class_of_function("do_xdp_generic"), Some(DropClass::Policy));
    assert_eq!(class_of_function("a_function_of_tomorrow"), None);
}

/// The hint gives the reason why rules are unknown, unless no rule dropped the packet.
#[test]
fn rules_that_were_not_read_are_said_to_be() {
    let why = Rules::Unread("there are more than 20000 rules");
    let hint = |by| text(explain_rule(by, why, &Tables::default()));
    let said = "a rule, it is not known which: there are more than 20000 rules";
    assert_eq!((hint(By::Nftables), hint(By::Anything)), (said.to_owned(), said.to_owned()));
    assert_eq!(hint(By::Other), "no rule of nftables: conntrack, IPVS or a BPF program");
    let places = Places { given_up: true, ..Places::default() };
    let long = text(explain_rule(By::Nftables, Rules::Places(&places), &Tables::default()));
    assert_eq!(long, "a rule, it is not known which: there are too many on its way");
}
