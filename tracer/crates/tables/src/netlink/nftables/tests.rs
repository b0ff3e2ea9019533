//! Chains and rules: made by hand, and from a kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::netlink::fixtures::{NFT_CHAIN, NFT_RULE, messages};

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn expression(name: &[u8], data: &[u8]) -> Vec<u8> {
    attribute(1, &[attribute(1, &[name, b"\0"].concat()), attribute(2, data)].concat())
}

fn verdict(code: i32, chain: &[u8]) -> Vec<u8> {
    let mut parts = attribute(1, &code.to_be_bytes());
    if !chain.is_empty() {
        parts.extend(attribute(2, chain));
    }
    [attribute(1, &0u32.to_be_bytes()), attribute(2, &attribute(2, &parts))].concat()
}

fn a_rule(expressions: &[Vec<u8>]) -> Option<Rule> {
    let body = [
        vec![1, 0, 0, 0],
        attribute(1, b"filter\0"),
        attribute(2, b"output\0"),
        attribute(3, &5u64.to_be_bytes()),
        attribute(4, &expressions.concat()),
    ];
    rule(&body.concat())
}

#[test]
fn chains() {
    let devices = [attribute(1, b"veth\0"), attribute(2, b"eth\0")].concat();
    let hook = [
        attribute(1, &3u32.to_be_bytes()),
        attribute(2, &(-150i32).to_be_bytes()),
        attribute(3, b"lo\0"),
        attribute(4, &devices),
    ]
    .concat();
    let body = [
        vec![1, 0, 0, 0],
        attribute(1, b"filter\0"),
        attribute(3, b"output\0"),
        attribute(4, &hook),
        attribute(5, &0u32.to_be_bytes()),
    ]
    .concat();
    let expected = Chain {
        family: 1,
        table: "filter".into(),
        name: "output".into(),
        hook: Some(3),
        priority: -150,
        devices: vec!["veth".into(), "eth*".into()],
        policy_drops: true,
    };
    assert_eq!(chain(&body), Some(expected));
    for length in 0..body.len() {
        let _ = chain(&body[..length]);
    }
}

#[test]
fn what_rules_do() {
    let counter = expression(b"counter", &attribute(2, &35u64.to_be_bytes()));
    let register = |register: u32| attribute(3, &register.to_be_bytes());
    for (expressions, action, packets) in [
        (vec![counter.clone(), expression(b"immediate", &verdict(0, b""))], Action::Drop, Some(35)),
        // This counter is after the verdict.
        (vec![expression(b"immediate", &verdict(0, b"")), counter.clone()], Action::Drop, None),
        (vec![expression(b"immediate", &verdict(1, b""))], Action::Accept, None),
        (vec![expression(b"immediate", &verdict(-5, b""))], Action::Return, None),
        (vec![expression(b"immediate", &verdict(-3, b"tcp\0"))], Action::Jump("tcp".into()), None),
        (vec![expression(b"immediate", &verdict(-4, b"tcp\0"))], Action::Goto("tcp".into()), None),
        (vec![expression(b"reject", &[])], Action::Reject, None),
        (vec![expression(b"lookup", &register(0))], Action::MayDrop, None),
        (vec![expression(b"lookup", &register(1))], Action::Pass, None),
        (vec![expression(b"target", &attribute(1, b"REJECT\0"))], Action::Reject, None),
        (vec![expression(b"target", &attribute(1, b"LOG\0"))], Action::Pass, None),
        (vec![counter], Action::Pass, Some(35)),
        (vec![], Action::Pass, None),
    ] {
        let found = a_rule(&expressions).unwrap();
        assert_eq!((found.action, found.packets), (action, packets), "{expressions:?}");
    }
}

#[test]
fn what_is_not_understood_may_be_anything() {
    let number = |kind, number: u32| attribute(kind, &number.to_be_bytes());
    for (name, data, step, rewrites) in [
        (&b"ct"[..], vec![], Some(Step::Clobber), false),
        (b"match", vec![], Some(Step::Opaque), false),
        (b"limit", vec![], Some(Step::Opaque), false),
        (b"lookup", vec![], Some(Step::Opaque), false),
        (b"lookup", number(3, 1), Some(Step::Clobber), false),
        (b"masq", vec![], Some(Step::Clobber), true),
        (b"log", vec![], None, false),
        // `meta mark set`, and a write into the packet.
        (b"meta", [number(2, 3), number(3, 1)].concat(), None, false),
        (b"payload", [number(2, 1), number(3, 8), number(4, 1), number(5, 1)].concat(), Some(Step::Clobber), true),
        // A register that does not exist, and a meta key that tracer does not follow.
        (b"meta", [number(1, 99), number(2, 16)].concat(), Some(Step::Clobber), false),
        (b"meta", [number(1, 1), number(2, 3)].concat(), Some(Step::Unknown { register: 4, what: "meta mark" }), false),
        (b"ct", [number(1, 9), number(2, 0)].concat(), Some(Step::Unknown { register: 5, what: "ct state" }), false),
        (b"hash", [number(1, 1), number(2, 8)].concat(), Some(Step::Unknown { register: 4, what: "jhash" }), false),
    ] {
        let rule = a_rule(&[expression(name, &data)]).unwrap();
        assert_eq!((rule.steps.first(), rule.rewrites), (step.as_ref(), rewrites), "{}", String::from_utf8_lossy(name));
    }
}

#[test]
fn limits_are_written_as_nft_writes_them() {
    let number = |kind, number: u32| attribute(kind, &number.to_be_bytes());
    let long = |kind, number: u64| attribute(kind, &number.to_be_bytes());
    let named = |name: &[u8], data: &[u8]| [attribute(1, name), attribute(2, data)].concat();
    let over_7 = [number(1, 7), number(2, 1)].concat();
    let by_source = [attribute(1, b"c1\0"), number(4, 1)].concat();
    let by = Some(("c1".into(), 4));
    for (name, data, words, by) in [
        (
            &b"limit"[..],
            [long(1, 1_536_000), long(2, 1), number(3, 98_304), number(4, 1), number(5, 1)].concat(),
            "limit rate over 1500 kbytes/second burst 96 kbytes",
            None,
        ),
        (
            b"limit",
            [long(1, 10), long(2, 60), number(3, 5), number(4, 0)].concat(),
            "limit rate 10/minute burst 5 packets",
            None,
        ),
        (b"connlimit", over_7.clone(), "ct count over 7", None),
        (b"quota", [long(1, 2_097_153), number(2, 0)].concat(), "quota 2097153 bytes", None),
        (
            b"dynset",
            [by_source.clone(), attribute(10, &attribute(1, &named(b"connlimit\0", &over_7)))].concat(),
            "ct count over 7",
            by.clone(),
        ),
        (b"dynset", [by_source, attribute(7, &named(b"connlimit\0", &over_7))].concat(), "ct count over 7", by),
    ] {
        let rule = a_rule(&[expression(name, &data)]).unwrap();
        assert_eq!(rule.steps, [Step::Limit { words: words.into(), by }]);
    }
    // No unit that nft knows.
    let odd = a_rule(&[expression(b"limit", &[long(1, 10), long(2, 7)].concat())]).unwrap();
    assert_eq!(odd.steps, [Step::Opaque]);
}

#[test]
fn what_a_kernel_said() {
    let chains: Vec<Chain> = messages(NFT_CHAIN).iter().map(|message| chain(message).unwrap()).collect();
    let names: Vec<_> =
        chains.iter().map(|chain| (&*chain.table, &*chain.name, chain.hook, chain.policy_drops)).collect();
    assert_eq!(
        names,
        [("filter", "input", Some(1), true), ("filter", "more", None, false), ("early", "in", Some(0), false)]
    );
    assert_eq!((chains[2].priority, &*chains[2].devices), (-300, &["lo".to_owned()][..]));
    let rules: Vec<Rule> = messages(NFT_RULE).iter().map(|message| rule(message).unwrap()).collect();
    assert_eq!(rules.len(), 10);
    let load = |what, length| Step::Load { what, register: 4, length };
    let equal = |with: &[u8]| Step::Compare { register: 4, operator: Operator::Equal, with: with.into() };
    assert_eq!(rules[0].steps, [load(Load::L4Proto, 1), equal(&[6]), load(Load::Transport(2), 2), equal(&[15, 160])]);
    assert_eq!((rules[0].comment.as_deref(), &rules[0].action), (Some("no db"), &Action::Drop));
    assert!(rules.iter().all(|rule| !rule.rewrites));
    assert_eq!(rules[2].packets, Some(0));
}

#[test]
fn a_message_that_is_cut_is_no_rule() {
    let whole = [
        vec![1, 0, 0, 0],
        attribute(1, b"filter\0"),
        attribute(2, b"output\0"),
        attribute(3, &5u64.to_be_bytes()),
        attribute(4, &expression(b"immediate", &verdict(0, b""))),
    ]
    .concat();
    assert!(rule(&whole).is_some());
    for length in 0..whole.len() - 8 {
        assert_eq!(rule(&whole[..length]), None, "{length}");
    }
}
