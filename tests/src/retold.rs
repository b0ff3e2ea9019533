//! One scenario in two runs: compares the streams key by key, without values that differ from run to run (times,
//! numbers of processes, ports, namespaces, connections).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::generator::Fact;
use crate::stream::Stream;

/// The events of each connection, by the label of its fact.
pub type Tale = BTreeMap<String, Vec<Value>>;

/// The events in `stream` of the connections in `facts`, each by its own label. `people`: the processes with their
/// names here.
///
/// # Panics
/// If two facts have one label.
#[must_use]
pub fn tale(stream: &Stream, facts: &[Fact], people: &[(u32, &str)]) -> Tale {
    let mut conns: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    // Packets at the end of a connection differ from run to run.
    let of_packets = |event: &&Value| event["event"] == "drop" || event["event"] == "retransmit";
    for event in stream.events.iter().filter(|event| !of_packets(event)) {
        if let Some(conn) = event["conn"].as_str() {
            conns.entry(conn).or_default().push(event);
        }
    }
    let mut tale = Tale::new();
    for fact in facts {
        let fits = |events: &&Vec<&Value>| fits(fact, events);
        let began = |events: &Vec<&Value>| events.iter().filter_map(|e| e["boot_ns"].as_u64()).min();
        let conn = conns.iter().filter(|(_, e)| fits(e)).min_by_key(|(_, e)| began(e)).map(|(conn, _)| *conn);
        let mut events = conn.and_then(|conn| conns.remove(conn)).unwrap_or_default();
        events.sort_by_key(|event| event["boot_ns"].as_u64());
        let events = events.into_iter().map(|event| same_in_every_run(event, people)).collect();
        assert!(tale.insert(fact.label.clone(), events).is_none(), "{} is there twice", fact.label);
    }
    // No fact covers the remaining connections of these processes.
    for (conn, events) in conns {
        let owner = events.iter().find_map(|event| event["owner"]["pid"].as_u64());
        if people.iter().any(|(pid, _)| owner == Some(u64::from(*pid))) {
            let events = events.into_iter().map(|event| same_in_every_run(event, people)).collect();
            tale.insert(format!("unexpected {conn}"), events);
        }
    }
    tale
}

/// Whether these can be the events of this fact; the namespace may be unknown.
fn fits(fact: &Fact, events: &[&Value]) -> bool {
    let any = |key: &str, want: &Value| events.iter().any(|e| e[key] == *want);
    (any("netns", &fact.netns.into()) || any("netns", &Value::Null))
        && any("role", &fact.role.into())
        && any("family", &fact.family.into())
        && fact.lport.is_none_or(|port| any("lport", &port.into()))
        && fact.rport.is_none_or(|port| any("rport", &port.into()))
        && fact.raddr.is_none_or(|addr| any("raddr", &addr.to_string().into()))
}

fn same_in_every_run(event: &Value, people: &[(u32, &str)]) -> Value {
    let name = |pid: &Value| {
        let known = people.iter().find(|(known, _)| *pid == *known);
        known.map_or_else(|| pid.clone(), |(_, name)| json!(name))
    };
    let mut keys = event.as_object().cloned().unwrap_or_default();
    // A slow machine may retransmit a segment that was only late.
    for key in ["time", "boot_ns", "conn", "reordering", "dsack"] {
        keys.remove(key);
    }
    let varying = [
        "netns",
        "lport",
        "rport",
        "drops",
        "retransmits",
        "limited",
        "delivery_rate",
        "retransmitted_bytes",
        "out_of_order",
    ];
    for (key, value) in &mut keys {
        let measured = key.ends_with("_us") || varying.contains(&key.as_str());
        if measured && !value.is_null() {
            *value = json!("known");
        }
    }
    if let Some(owner) = keys.get_mut("owner").and_then(Value::as_object_mut) {
        let (pid, tid) = (name(&owner["pid"]), name(&owner["tid"]));
        owner.insert("pid".into(), pid);
        owner.insert("tid".into(), tid);
        // The arguments name a file of this run.
        for key in ["start_ns", "cmdline"] {
            if owner.get(key).is_some_and(|value| !value.is_null()) {
                owner.insert(key.into(), json!("known"));
            }
        }
    }
    if let Some(holders) = keys.get_mut("holders").and_then(Value::as_array_mut) {
        holders.iter_mut().for_each(|pid| *pid = name(pid));
    }
    Value::Object(keys)
}

/// Every difference between `due` and `came`, by connection, event and key.
#[must_use]
pub fn differences(due: &Tale, came: &Tale) -> Vec<String> {
    let mut wrong = Vec::new();
    let labels: std::collections::BTreeSet<&String> = due.keys().chain(came.keys()).collect();
    let none = Vec::new();
    for label in labels {
        let (due, came) = (due.get(label).unwrap_or(&none), came.get(label).unwrap_or(&none));
        let kinds = |events: &[Value]| events.iter().map(|e| e["event"].to_string()).collect::<Vec<_>>().join(" ");
        if kinds(due) != kinds(came) {
            wrong.push(format!("{label}: due {}; came {}", kinds(due), kinds(came)));
            continue;
        }
        for (due, came) in due.iter().zip(came) {
            let empty = Map::new();
            let (due, came) = (due.as_object().unwrap_or(&empty), came.as_object().unwrap_or(&empty));
            let keys: std::collections::BTreeSet<&String> = due.keys().chain(came.keys()).collect();
            for key in keys.into_iter().filter(|key| due.get(*key) != came.get(*key)) {
                let of =
                    |keys: &Map<String, Value>| keys.get(key).map_or_else(|| "absent".to_owned(), Value::to_string);
                wrong.push(format!("{label}: {key} of {} is due as {}, came as {}", due["event"], of(due), of(came)));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, more: Value) -> Value {
        let mut event = json!({ "event": kind, "conn": "1", "boot_ns": 1, "time": "t", "netns": 7, "family": 4,
                                "lport": 1000, "raddr": "127.0.0.1", "rport": 80, "role": "client",
                                "owner": { "pid": 5, "tid": 5, "start_ns": 3, "comm": "c" } });
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        event
    }

    fn told(events: Vec<Value>) -> Tale {
        let who =
            crate::generator::Process { pid: 5, tid: 5, comm: "c".into(), name: "c".into(), exe: "/c".into(), uid: 0 };
        let local = "127.0.0.1:1000".parse().expect("an address");
        let fact = Fact::in_netns("client", 7, &who, Some(local)).peer("127.0.0.1:80".parse().expect("an address"));
        tale(&Stream { events }, &[fact.label("it")], &[(5, "client"), (6, "client")])
    }

    #[test]
    fn what_differs_from_run_to_run_is_no_difference() {
        let one = told(vec![event("connect", json!({})), event("close", json!({ "boot_ns": 2, "duration_us": 1 }))]);
        let owner = json!({ "pid": 6, "tid": 6, "start_ns": 4, "comm": "c" });
        let other = json!({ "time": "u", "boot_ns": 9, "conn": "2", "owner": owner });
        let mut more = other.clone();
        more["duration_us"] = json!(2);
        let other = told(vec![event("close", more), event("connect", other)].into_iter().rev().collect());
        assert_eq!(differences(&one, &other), Vec::<String>::new());
    }

    #[test]
    fn every_other_key_is_compared() {
        let one = told(vec![event("close", json!({ "verdict": "refused", "duration_us": 1 }))]);
        for more in [
            json!({ "verdict": "unknown", "duration_us": 1 }),
            json!({ "duration_us": 1 }),
            json!({ "verdict": "refused", "duration_us": null }),
            json!({ "verdict": "refused", "duration_us": 1, "netns": null }),
            json!({ "verdict": "refused", "duration_us": 1, "owner": null }),
            json!({ "verdict": "refused", "duration_us": 1, "mptcp": true }),
        ] {
            assert_eq!(differences(&one, &told(vec![event("close", more.clone())])).len(), 1, "{more}");
        }
        assert_eq!(differences(&one, &told(vec![])).len(), 1);
        let twice = vec![event("close", json!({})), event("close", json!({ "conn": "2", "boot_ns": 5 }))];
        assert!(told(twice).contains_key("unexpected 2"));
    }
}
