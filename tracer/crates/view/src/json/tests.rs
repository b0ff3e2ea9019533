#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::Ipv6Addr, sync::Arc};

use serde_json::{Value, json};

use crate::number::append as number;
use tracer_stream::{
    Close, ConnId, Container, Icmp, Kind, Owner, OwnerSource, ProcessFacts, Role, Socket, TcpState, Verdict, sample,
};

use super::*;

const CLOCK: WallClock = WallClock { offset_ns: 1_700_000_000_000_000_000 };

fn owner() -> Owner {
    let facts = ProcessFacts {
        exe: Some("/usr/bin/curl".into()),
        cmdline: Some(vec!["curl".into(), "a \"b\"\n".into()]),
        cgroup: Some("/docker/abc".into()),
        container: Some(Container { runtime: "docker", id: "abc".into(), claimed: false }),
        unit: Some("a.service".into()),
        ..ProcessFacts::default()
    };
    Owner {
        tid: 4122,
        real_uid: Some(0),
        thread: Some("resolver".into()),
        start_ns: Some(987_654_321),
        facts: Arc::new(facts),
        ..sample::owner("curl", 4121)
    }
}

fn socket(owner: Option<&Owner>) -> Socket<'_> {
    let raddr = Some([10, 0, 0, 255].into());
    Socket { conn: ConnId(65_553), raddr, owner, ..sample::SOCKET }
}

fn line(socket: Option<Socket<'_>>, kind: Kind<'_>) -> String {
    let mut sink = JsonSink::new(Vec::new(), CLOCK);
    sink.event(&Event { boot_ns: 12_000_000_345, socket, kind });
    sink.flush();
    assert_eq!(sink.printed(), 1);
    let text = String::from_utf8(sink.into_inner()).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.ends_with("}\n"));
    text
}

fn object(socket: Option<Socket<'_>>, kind: Kind<'_>) -> Value {
    serde_json::from_str(&line(socket, kind)).unwrap()
}

/// Returns the keys that the kind adds to those of every socket event.
fn further(kind: Kind<'_>) -> Value {
    let mut value = object(Some(socket(None)), kind);
    let common = object(Some(socket(None)), Kind::Connect { errno: None });
    for key in common.as_object().unwrap().keys() {
        value.as_object_mut().unwrap().remove(key);
    }
    value
}

#[test]
fn the_keys_of_a_socket_in_order() {
    let owner = owner();
    assert_eq!(
        line(Some(socket(Some(&owner))), Kind::Connect { errno: None }),
        concat!(
            r#"{"v":1,"event":"connect","time":"2023-11-14T22:13:32.000000345Z","boot_ns":12000000345,"#,
            r#""conn":"65553","proto":"tcp","family":4,"#,
            r#""laddr":"10.0.0.1","lport":40000,"raddr":"10.0.0.255","rport":443,"netns":4026531840,"role":"client","#,
            r#""owner":{"pid":4121,"tid":4122,"comm":"curl","thread":"resolver","exe":"/usr/bin/curl","uid":1000,"#,
            r#""cgroup":"/docker/abc","container":"abc","container_runtime":"docker","unit":"a.service","#,
            r#""start_ns":987654321},"owner_source":"connect"}"#,
            "\n"
        )
    );
}

#[test]
fn a_process_has_its_arguments() {
    let owner = owner();
    assert_eq!(
        line(None, Kind::Process(&owner)),
        concat!(
            r#"{"v":1,"event":"process","time":"2023-11-14T22:13:32.000000345Z","boot_ns":12000000345,"#,
            r#""pid":4121,"start_ns":987654321,"comm":"curl","exe":"/usr/bin/curl","cmdline":["curl","a \"b\"\n"],"#,
            r#""uid":0,"euid":1000,"cgroup":"/docker/abc","container":"abc","container_runtime":"docker","#,
            r#""unit":"a.service"}"#,
            "\n"
        )
    );
    let cut = ProcessFacts { cmdline_cut: true, container: None, ..(*owner.facts).clone() };
    let value = object(None, Kind::Process(&Owner { facts: Arc::new(cut), ..owner.clone() }));
    assert_eq!(value["cmdline_cut"], true);
    let container = Container { runtime: "docker", id: "abc".into(), claimed: true };
    let claimed = ProcessFacts { container: Some(container), ..ProcessFacts::default() };
    let value = object(None, Kind::Process(&Owner { facts: Arc::new(claimed), ..owner }));
    assert_eq!((&value["container_claimed"], &value["cmdline"]), (&json!(true), &Value::Null));
}

#[test]
fn what_is_not_known_is_null() {
    let unknown = Owner { uid: None, start_ns: None, ..sample::owner("", 1) };
    let socket = Socket {
        laddr: None,
        lport: None,
        raddr: None,
        rport: None,
        netns: None,
        role: Role::Unknown,
        owner_source: OwnerSource::Unknown,
        ..socket(Some(&unknown))
    };
    let value = object(Some(socket), Kind::Connect { errno: None });
    for key in ["laddr", "lport", "raddr", "rport", "netns"] {
        assert_eq!(value[key], Value::Null, "{key}");
    }
    assert_eq!(
        value["owner"],
        json!({"pid": 1, "tid": 1, "comm": "", "exe": null, "uid": null, "cgroup": null, "container": null,
            "unit": null, "start_ns": null})
    );
    assert_eq!(object(Some(self::socket(None)), Kind::Connect { errno: None })["owner"], Value::Null);
}

#[test]
fn what_is_special_is_told_only_then() {
    let plain = object(Some(socket(None)), Kind::Connect { errno: None });
    for key in ["v4mapped", "mptcp", "holders", "ifindex", "errno"] {
        assert!(plain.get(key).is_none(), "{key}");
    }
    let special = Socket {
        family: 6,
        v4mapped: true,
        v6only: None,
        mptcp: true,
        holders: &[7, 8],
        laddr: Some("fe80::1".parse().unwrap()),
        ifindex: Some(2),
        ..socket(None)
    };
    let value = object(Some(special), Kind::Connect { errno: Some(libc::EHOSTUNREACH) });
    assert_eq!(value["v4mapped"], json!(true));
    assert_eq!(value["mptcp"], json!(true));
    assert_eq!(value["holders"], json!([7, 8]));
    assert_eq!(value["laddr"], json!("fe80::1"));
    assert_eq!(value["ifindex"], json!(2));
    assert_eq!(value["errno"], json!("EHOSTUNREACH"));
}

#[test]
fn the_keys_of_each_kind() {
    assert_eq!(further(Kind::Listen { backlog: Some(128) }), json!({"backlog": 128}));
    assert_eq!(further(Kind::Listen { backlog: None }), json!({"backlog": null}));
    assert_eq!(further(Kind::Connect { errno: None }), json!({}));
    assert_eq!(further(Kind::Connect { errno: Some(101) }), json!({"errno": "ENETUNREACH"}));
    assert_eq!(further(Kind::Established { connect_us: Some(120) }), json!({"connect_us": 120}));
    assert_eq!(further(Kind::Accept { accept_wait_us: Some(9) }), json!({"accept_wait_us": 9}));
    assert_eq!(further(Kind::Open { state: TcpState::CloseWait }), json!({"state": "CLOSE_WAIT"}));
    assert_eq!(
        further(Kind::State { old: TcpState::SynSent, new: TcpState::Established, state_us: Some(3) }),
        json!({"old": "SYN_SENT", "new": "ESTABLISHED", "state_us": 3})
    );
    assert_eq!(further(Kind::Error { errno: 4095, accepts: None }), json!({"errno": "E4095"}));
    let close = Close {
        duration_us: Some(u64::MAX),
        connect_us: Some(2),
        tx_bytes: Some(3),
        rx_bytes: Some(0),
        retransmits: Some(5),
        srtt_us: Some(6),
        min_rtt_us: Some(7),
        verdict: Verdict::Refused,
        errno: Some(libc::ECONNREFUSED),
        icmp: Some(Icmp { v6: false, kind: 3, code: 3, from: sample::FAR }),
        syns: Some(2),
        unanswered: Some(false),
        unacked_bytes: Some(0),
        ..Close::UNKNOWN
    };
    let expected = json!({
        "duration_us": u64::MAX, "connect_us": 2, "accept_wait_us": null, "tx_bytes": 3, "rx_bytes": 0, "retransmits": 5,
        "drops": null, "srtt_us": 6, "min_rtt_us": 7, "verdict": "refused", "errno": "ECONNREFUSED", "preexisting": false,
        "icmp": {"type": 3, "code": 3, "meaning": "port unreachable", "from": "10.0.0.5"}, "syns": 2,
        "unanswered": false, "unacked_bytes": 0, "idle_us": null, "limited": null, "delivery_rate": null,
        "retransmitted_bytes": null,
    });
    assert_eq!(further(Kind::Close(&close)), expected);
    let old = Close {
        preexisting: true,
        incomplete: true,
        errno: None,
        verdict: Verdict::Unknown,
        icmp: None,
        unanswered: None,
        ..close
    };
    let value = further(Kind::Close(&old));
    assert_eq!(
        (&value["preexisting"], &value["incomplete"], &value["errno"], &value["verdict"]),
        (&json!(true), &json!(true), &Value::Null, &json!("unknown"))
    );
    assert_eq!((value.get("icmp"), &value["unanswered"]), (None, &Value::Null));
}

#[test]
fn losses_are_of_no_socket() {
    let value = object(None, Kind::Lost { class: "lifecycle", count: 12 });
    let expected = json!({
        "v": 1, "event": "lost", "time": "2023-11-14T22:13:32.000000345Z", "boot_ns": 12_000_000_345_u64,
        "class": "lifecycle", "count": 12,
    });
    assert_eq!(value, expected);
}

#[test]
fn any_string_comes_back_as_it_was() {
    let mut every = String::new();
    for c in ('\0'..='\u{2fff}').chain(['\u{feff}', '\u{fffd}', '\u{1f600}', '\u{e0041}', '\u{10ffff}']) {
        every.push(c);
    }
    for text in ["", "\"", "\\", "a\\\"b", "\u{202e}x", &every] {
        let mut out = Vec::new();
        append(&mut out, text);
        let written = String::from_utf8(out).unwrap();
        assert!(
            !written.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        );
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}

#[test]
fn ipv6_addresses_are_in_canonical_form() {
    // Every pattern of zeros.
    for zeros in 0..=255 {
        for value in [1, 0x12, 0xabc, 0x1000] {
            let groups = std::array::from_fn::<u16, 8, _>(|n| if zeros >> n & 1 == 1 { 0 } else { value });
            let addr = Ipv6Addr::from(groups);
            let mut out = Vec::new();
            fast::ipv6(&mut out, addr);
            assert_eq!(String::from_utf8(out).unwrap(), addr.to_string());
        }
    }
    let mut out = Vec::new();
    fast::ipv6(&mut out, "::ffff:10.0.0.1".parse().unwrap());
    assert_eq!(out, b"::ffff:10.0.0.1");
}

#[test]
fn numbers_are_whole() {
    let tens = (0..20).map(|n| 10_u64.pow(n));
    for value in tens.flat_map(|ten| [ten - 1, ten, ten + 1]).chain([12_345, u64::MAX]) {
        let mut out = Vec::new();
        number(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
}
