//! Compares the stream with the generator's facts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::generator::Fact;
use crate::stream::{Stream, brief};

/// Kinds that are not a step of a socket's life: they may occur or not.
const ASIDE: [&str; 5] = ["state", "retransmit", "reset", "error", "drop"];

/// Every difference between the stream and `facts` in `namespaces`; empty if it is right.
#[must_use]
pub fn differences(stream: &Stream, facts: &[Fact], namespaces: &[u64]) -> Vec<String> {
    let mut conns = stream.conns(namespaces);
    let mut wrong = Vec::new();
    // The least specific facts choose last.
    let (sure, vague): (Vec<_>, Vec<_>) = facts.iter().partition(|fact| fact.lport.is_some());
    for fact in sure.into_iter().chain(vague) {
        match take_conn(&mut conns, fact) {
            Some((conn, events)) => {
                let mut found = Vec::new();
                check(fact, &events, &mut found);
                wrong.extend(found.into_iter().map(|what| format!("{} ({conn}): {what}", name(fact))));
            }
            None => wrong.push(format!("{}: not in the stream", name(fact))),
        }
    }
    for (conn, events) in conns {
        let first = events.first().map(|e| brief(e));
        wrong.push(format!("unexpected connection {conn} of {} events: {}", events.len(), first.unwrap_or_default()));
    }
    wrong
}

fn name(fact: &Fact) -> String {
    let end = |addr: Option<IpAddr>, port: Option<u16>| {
        let port = port.map_or_else(|| "*".to_owned(), |p| p.to_string());
        addr.map_or_else(|| format!("*:{port}"), |a| format!("{a} port {port}"))
    };
    let (local, remote) = (end(fact.laddr, fact.lport), end(fact.raddr, fact.rport));
    format!("{} [{} {local} -> {remote}, pid {}]", fact.label, fact.role, fact.owner.pid)
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str().and_then(|text| text.split('%').next()).and_then(|text| text.parse().ok())
}

/// Takes the connection that can belong to this fact: the one that began first.
fn take_conn<'a>(conns: &mut BTreeMap<&'a str, Vec<&'a Value>>, fact: &Fact) -> Option<(&'a str, Vec<&'a Value>)> {
    let fits = |events: &&Vec<&Value>| {
        let any = |key: &str, want: &Value| events.iter().any(|e| e[key] == *want);
        any("netns", &fact.netns.into())
            && (any("role", &fact.role.into()) || fact.any_role)
            && fact.lport.is_none_or(|port| any("lport", &port.into()))
            && fact.rport.is_none_or(|port| any("rport", &port.into()))
            && fact.raddr.is_none_or(|addr| events.iter().any(|e| address(&e["raddr"]) == Some(addr)))
    };
    let began = |events: &Vec<&Value>| events.iter().filter_map(|e| e["boot_ns"].as_u64()).min();
    let (conn, _) = conns.iter().filter(|(_, events)| fits(events)).min_by_key(|(_, events)| began(events))?;
    let conn = *conn;
    conns.remove_entry(conn)
}

fn check(fact: &Fact, events: &[&Value], wrong: &mut Vec<String>) {
    check_kinds(fact, events, wrong);
    check_order(fact, events, wrong);
    for event in events {
        check_keys(fact, event, wrong);
    }
    for event in events {
        match event["event"].as_str() {
            Some("connect") if fact.begun && event["errno"].is_null() => {}
            Some("connect") => expect(event, "errno", &fact.connect_errno.into(), wrong),
            Some("open") => expect(event, "state", &fact.open.into(), wrong),
            Some("close") => check_close(fact, event, wrong),
            Some("established") if fact.role == "client" && !event["connect_us"].is_u64() => {
                wrong.push(format!("established of a client has connect_us: {}", brief(event)));
            }
            Some("accept") if !event["accept_wait_us"].is_u64() && !fact.any_order && !overtakes(events) => {
                wrong.push(format!("accept has accept_wait_us: {}", brief(event)));
            }
            _ => {}
        }
    }
}

/// A child is in its listener's queue before it is `ESTABLISHED`: accept() may return it on another CPU before the
/// transition, and did so 0.1 ms before on an emulated one.
fn overtakes(events: &[&Value]) -> bool {
    let place = |kind: &str| events.iter().position(|event| event["event"] == kind);
    place("accept").zip(place("established")).is_some_and(|(accept, established)| accept < established)
}

fn check_kinds(fact: &Fact, events: &[&Value], wrong: &mut Vec<String>) {
    let mut came: Vec<_> =
        events.iter().filter_map(|e| e["event"].as_str()).filter(|kind| !ASIDE.contains(kind)).collect();
    if overtakes(events)
        && let Some(accept) = came.windows(2).position(|pair| pair == ["accept", "established"])
    {
        came.swap(accept, accept + 1);
    }
    let mut due: Vec<&str> = [
        ("listen", fact.listen),
        ("open", fact.open.is_some()),
        ("connect", fact.connect),
        ("established", fact.established),
        ("accept", fact.accept),
    ]
    .into_iter()
    .filter_map(|(kind, due)| due.then_some(kind))
    .collect();
    if !fact.close_optional || came.contains(&"close") {
        due.push("close");
    }
    let same = if fact.any_order {
        let sorted = |list: &[&str]| {
            let mut list: Vec<String> = list.iter().map(|kind| (*kind).to_owned()).collect();
            list.sort();
            list
        };
        sorted(&came) == sorted(&due) && came.last() == due.last()
    } else {
        came == due
    };
    if !same {
        wrong.push(format!("its events are {due:?}, came {came:?}"));
    }
}

fn check_order(fact: &Fact, events: &[&Value], wrong: &mut Vec<String>) {
    let steps = events.iter().filter(|e| e["event"].as_str().is_some_and(|kind| !ASIDE.contains(&kind)));
    let times: Vec<u64> = steps.filter_map(|e| e["boot_ns"].as_u64()).collect();
    if !fact.any_order && !times.is_sorted() {
        wrong.push(format!("boot_ns grows from event to event: {times:?}"));
    }
}

fn check_keys(fact: &Fact, event: &Value, wrong: &mut Vec<String>) {
    expect(event, "proto", &"tcp".into(), wrong);
    expect(event, "family", &fact.family.into(), wrong);
    expect(event, "netns", &fact.netns.into(), wrong);
    if !(fact.any_role && event["role"] == "unknown") {
        expect(event, "role", &fact.role.into(), wrong);
    }
    if event["v4mapped"].as_bool().unwrap_or(false) != fact.v4mapped {
        wrong.push(format!("v4mapped is {}: {}", fact.v4mapped, brief(event)));
    }
    if event["mptcp"].as_bool().unwrap_or(false) != fact.mptcp {
        wrong.push(format!("mptcp is {}: {}", fact.mptcp, brief(event)));
    }
    // A connect() that has just begun may have no local address yet, nor may a transition along with it.
    let local_may_lack = event["event"] == "connect" || event["event"] == "state";
    for (key, want, may_lack) in [("laddr", fact.laddr, local_may_lack), ("raddr", fact.raddr, false)]
        .into_iter()
        .filter(|(_, w, _)| w.is_some())
    {
        let is = address(&event[key]);
        if is != want && !(may_lack && event[key].is_null()) {
            wrong.push(format!("{key} is {want:?}: {}", brief(event)));
        }
    }
    for (key, want, may_lack) in [("lport", fact.lport, local_may_lack), ("rport", fact.rport, false)] {
        if want.is_some() && !(may_lack && event[key].is_null()) {
            expect(event, key, &want.into(), wrong);
        }
    }
    // Until accept() the owner of a server's socket is the listener's.
    let may_be_early = event["event"].as_str().is_some_and(|kind| kind == "established" || ASIDE.contains(&kind));
    if may_be_early && fact.accept {
        let source = event["owner_source"].as_str();
        let unseen = fact.listener_unseen && source == Some("unknown");
        if !unseen && !matches!(source, Some("accept" | "listener")) {
            wrong.push(format!("owner_source before accept is listener: {}", brief(event)));
        }
    } else {
        check_owner(fact, event, wrong);
    }
}

fn check_owner(fact: &Fact, event: &Value, wrong: &mut Vec<String>) {
    expect(event, "owner_source", &fact.owner_source.into(), wrong);
    let owner = &event["owner"];
    let mut is_right = owner["pid"] == fact.owner.pid && owner["uid"] == fact.owner.uid;
    is_right &= owner["exe"] == *fact.owner.exe && owner["comm"] == *fact.owner.name;
    if !fact.any_thread {
        // Shown where it differs.
        let thread = Some(&fact.owner.comm).filter(|comm| **comm != fact.owner.name);
        is_right &= owner["tid"] == fact.owner.tid && owner["thread"].as_str() == thread.map(String::as_str);
    }
    if !is_right {
        wrong.push(format!("the owner is {:?}, in {}: {owner}", fact.owner, event["event"]));
    }
}

fn check_close(fact: &Fact, close: &Value, wrong: &mut Vec<String>) {
    if !fact.verdicts.iter().any(|verdict| close["verdict"] == *verdict) {
        wrong.push(format!("the verdict is {}, came {}", fact.verdicts.join(" or "), close["verdict"]));
    }
    if !fact.any_errno {
        expect(close, "errno", &fact.errno.into(), wrong);
    }
    for (key, want) in [("tx_bytes", fact.tx), ("rx_bytes", fact.rx)] {
        if want.is_some() {
            expect(close, key, &want.into(), wrong);
        }
    }
    if close["preexisting"].as_bool().unwrap_or(false) != fact.open.is_some() {
        wrong.push(format!("preexisting is {}: {}", fact.open.is_some(), brief(close)));
    }
    let handshake = fact.established && fact.role == "client";
    if close["connect_us"].is_u64() != handshake {
        wrong.push(format!("connect_us is there exactly after a handshake of a client: {}", brief(close)));
    }
    if fact.open.is_none() && fact.role != "listener" && !close["duration_us"].is_u64() {
        wrong.push(format!("close has duration_us: {}", brief(close)));
    }
}

fn expect(event: &Value, key: &str, want: &Value, wrong: &mut Vec<String>) {
    if event[key] != *want {
        wrong.push(format!("{key} of {} is {want}, came {}", event["event"], event[key]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generator::Process;

    fn fact() -> Fact {
        let owner = Process { pid: 10, tid: 11, comm: "t".into(), name: "c".into(), exe: "/c".into(), uid: 5 };
        let local = "127.0.0.1:1000".parse().expect("an address");
        let mut fact = Fact::in_netns("client", 7, &owner, Some(local))
            .peer("127.0.0.1:80".parse().expect("an address"))
            .label("it")
            .ends("reset_remote", Some("ECONNRESET"));
        (fact.tx, fact.rx) = (Some(3), Some(4));
        fact
    }

    /// The stream that [`fact`] describes, one event per line.
    fn stream() -> Stream {
        let event = |kind: &str, boot_ns: u64, more: Value| {
            let owner = json!({ "pid": 10, "tid": 11, "comm": "c", "thread": "t", "exe": "/c", "uid": 5 });
            let mut event = json!({
                "event": kind, "boot_ns": boot_ns, "conn": "1", "proto": "tcp", "family": 4, "netns": 7,
                "laddr": "127.0.0.1", "lport": 1000, "raddr": "127.0.0.1", "rport": 80,
                "role": "client", "owner": owner, "owner_source": "connect",
            });
            let (keys, more) = (event.as_object_mut().expect("an object"), more);
            keys.extend(more.as_object().expect("an object").clone());
            event
        };
        let events = vec![
            event("connect", 1, json!({ "lport": null })),
            event("established", 2, json!({ "connect_us": 1 })),
            event(
                "close",
                3,
                json!({ "verdict": "reset_remote", "errno": "ECONNRESET", "tx_bytes": 3, "rx_bytes": 4,
                        "duration_us": 1, "connect_us": 1, "preexisting": false }),
            ),
        ];
        Stream { events }
    }

    #[test]
    fn what_is_right_passes() {
        assert_eq!(differences(&stream(), &[fact()], &[7]), Vec::<String>::new());
        // Other namespaces do not matter.
        assert_eq!(differences(&stream(), &[], &[8]), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_key_is_told() {
        for (key, value) in [
            ("role", json!("server")),
            ("family", json!(6)),
            ("proto", json!("udp")),
            ("laddr", json!("127.0.0.2")),
            ("lport", json!(1001)),
            ("raddr", json!("127.0.0.2")),
            ("rport", json!(81)),
            ("owner_source", json!("fd")),
            ("owner", json!(null)),
            ("verdict", json!("closed_local")),
            ("errno", json!(null)),
            ("tx_bytes", json!(4)),
            ("rx_bytes", json!(null)),
            ("duration_us", json!(null)),
            ("connect_us", json!(null)),
            ("preexisting", json!(true)),
            ("v4mapped", json!(true)),
            ("mptcp", json!(true)),
            ("boot_ns", json!(0)),
            ("event", json!("accept")),
        ] {
            let mut wrong = stream();
            wrong.events[2][key] = value;
            assert!(!differences(&wrong, &[fact()], &[7]).is_empty(), "{key}");
        }
        for key in ["pid", "tid", "comm", "thread", "exe", "uid"] {
            let mut wrong = stream();
            wrong.events[0]["owner"][key] = json!(1);
            assert_eq!(differences(&wrong, &[fact()], &[7]).len(), 1, "owner.{key}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        assert_eq!(differences(&stream(), &[fact(), fact()], &[7]).len(), 1);
        assert_eq!(differences(&stream(), &[], &[7]).len(), 1);
        for at in 0..3 {
            let (mut less, mut more) = (stream(), stream());
            less.events.remove(at);
            assert!(!differences(&less, &[fact()], &[7]).is_empty(), "without event {at}");
            let again = more.events[at].clone();
            more.events.push(again);
            assert!(!differences(&more, &[fact()], &[7]).is_empty(), "event {at} twice");
        }
    }

    #[test]
    fn one_tuple_twice_is_told_apart_by_time() {
        let mut both = stream();
        for mut event in stream().events {
            event["conn"] = json!("2");
            event["boot_ns"] = json!(event["boot_ns"].as_u64().expect("a time") + 10);
            both.events.push(event);
        }
        both.events[5]["tx_bytes"] = json!(9);
        let mut second = fact();
        second.tx = Some(9);
        assert_eq!(differences(&both, &[fact(), second.clone()], &[7]), Vec::<String>::new());
        assert_eq!(differences(&both, &[second, fact()], &[7]).len(), 2);
    }
}
