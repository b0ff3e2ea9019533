//! Holds the stream against what the generator did.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::generator::Fact;
use crate::stream::{Stream, brief};

/// Kinds that are not a step of a socket's life: they may come or not.
const ASIDE: [&str; 5] = ["state", "retransmit", "reset", "error", "drop"];

/// Every way in which the stream differs from `facts` in `namespaces`; empty if it is right.
#[must_use]
pub fn differences(stream: &Stream, facts: &[Fact], namespaces: &[u64]) -> Vec<String> {
    let mut conns = stream.conns(namespaces);
    let mut wrong = Vec::new();
    // Those that know least of themselves choose last.
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

/// Takes the connection that can be this fact's: the one that began first.
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
            Some("accept") if !event["accept_wait_us"].is_u64() && !fact.any_order => {
                wrong.push(format!("accept has accept_wait_us: {}", brief(event)));
            }
            _ => {}
        }
    }
}

fn check_kinds(fact: &Fact, events: &[&Value], wrong: &mut Vec<String>) {
    let came: Vec<_> = events.iter().filter_map(|e| e["event"].as_str()).filter(|kind| !ASIDE.contains(kind)).collect();
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
    let times: Vec<u64> = events.iter().filter_map(|e| e["boot_ns"].as_u64()).collect();
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
    // A connect that has just begun may have no local address yet, nor a transition that went with it.
    let local_may_lack = event["event"] == "connect" || event["event"] == "state";
    for (key, want, may_lack) in
        [("laddr", fact.laddr, local_may_lack), ("raddr", fact.raddr, false)].into_iter().filter(|(_, w, _)| w.is_some())
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
    is_right &= owner["exe"] == *fact.owner.exe;
    if !fact.any_thread {
        is_right &= owner["tid"] == fact.owner.tid && owner["comm"] == *fact.owner.comm;
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
