use std::borrow::Cow;

use super::{EVIL, compare};
use crate::summary::{Audit, Incomplete, Row, Summary, sample, to_text};
use tracer_stream::Finding;

#[test]
fn calm() {
    compare("summary", |columns| to_text(&sample(), columns));
}

#[test]
fn with_everything_that_can_be_said() {
    let finding = |text: String, look: &[&'static str]| Finding {
        name: "refused",
        text,
        count: 12,
        look: look.iter().map(|look| Cow::Borrowed(*look)).collect(),
        evidence: Vec::new(),
    };
    let account = |hook: &'static str, lost, edges| Audit {
        hook: hook.into(),
        happened: 120_002,
        delivered: 100_002,
        filtered: 20_000,
        lost,
        edges,
        exact: lost == 0,
        ..Audit::default()
    };
    let summary = Summary {
        lost: vec![("lifecycle", 1234), ("missed", 7)],
        incomplete: Incomplete { sockets_untracked: 12_000, hints_given_up: 1, ..Incomplete::default() },
        unanswered: 3,
        findings: vec![
            finding(
                format!("nothing listens at 10.0.0.5:443: 12 of 1,204 connections of {EVIL}[4121] were refused"),
                &["tracer sockets -l --port 443", "ss -lnt 'sport = :443'  # on that host"],
            ),
            finding("a rule drops packets".to_owned(), &["nft list ruleset"]),
        ],
        drops: vec![("NETFILTER_DROP".into(), 1204), ("NO_SOCKET".into(), 3)],
        discards: vec![("TcpExtListenDrops", 40)],
        audit: Some(vec![account("inet_sock_set_state", 0, 0), account("kfree_skb", 1, 1)]),
        unaudited: Some(vec![(
            "inet_csk_accept".into(),
            "served by fentry, and nothing else counts its calls".to_owned(),
        )]),
        processes: vec![Row { name: format!("{EVIL}[4121]"), connections: 1204, failed: 12, tx_bytes: 1, rx_bytes: 9 }],
        ..sample()
    };
    compare("summary_full", |columns| to_text(&summary, columns));
}
