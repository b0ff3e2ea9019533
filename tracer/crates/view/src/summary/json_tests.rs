#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use crate::clock::WallClock;
use crate::json::JsonSink;

use super::{Audit, Summary, sample};

#[test]
fn an_audit_has_a_member_for_each_hook() {
    let account =
        Audit { hook: "kfree_skb".into(), happened: 5, folded: 3, missed: 2, exact: true, ..Audit::default() };
    let unaudited = Some(vec![("inet_csk_accept".into(), "why".to_owned())]);
    let mut sink = JsonSink::new(Vec::new(), WallClock { offset_ns: 0 });
    sink.summary(1, &Summary { audit: Some(vec![account]), unaudited, ..sample() });
    let value: Value = serde_json::from_slice(&sink.into_inner()).unwrap();
    let expected = json!([{
        "hook": "kfree_skb", "happened": 5, "delivered": 0, "filtered": 0, "aside": 0, "folded": 3, "lost": 0,
        "missed": 2, "edges": 0, "exact": true,
    }]);
    assert_eq!(value["audit"], expected);
    assert_eq!(value["unaudited"], json!([{"hook": "inet_csk_accept", "why": "why"}]));
}

#[test]
fn the_last_line() {
    let mut sink = JsonSink::new(Vec::new(), WallClock { offset_ns: 0 });
    sink.summary(1_000_000_001, &sample());
    let value: Value = serde_json::from_slice(&sink.into_inner()).unwrap();
    let expected = json!({
        "v": 1, "event": "summary", "time": "1970-01-01T00:00:01.000000001Z", "boot_ns": 1_000_000_001,
        "duration_ns": 12_400_000_000_u64,
        "events": {"connect": 1204, "close": 1204}, "lost": {},
        "incomplete": {"sockets_untracked": 0, "closes_recovered": 0, "calls_unnoted": 0, "stacks_missing": 0,
            "findings_untold": 0, "hints_given_up": 0, "namespaces_renewed": 0},
        "filtered": 88, "connections": 1204, "unanswered": 0,
        "verdicts": {"closed_local": 1192, "refused": 12}, "findings": [], "drops": {}, "discards": {},
        "cost": {
            "programs": [
                {"name": "inet_sock_set_state", "run_ns": 366_000_000, "runs": 1_000_000, "missed": 0},
                {"name": "sys_exit_connect", "run_ns": null, "runs": null, "missed": null},
            ],
            "cpu_seconds": 1.25, "peak_rss_bytes": 23_400_000,
        },
        "rings": [{"ring": "events", "bytes": 8_388_608, "highest": 70_000, "received": 2408}],
        "backends": {"state": "tp_btf", "connect": "syscall"},
        "degraded": [{"name": "fentry", "why": "the kernel refused to load the program: EPERM"}],
    });
    assert_eq!(value, expected);
}
