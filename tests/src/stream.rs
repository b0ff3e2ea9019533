//! The stream that a tracer printed, with queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead;

use serde_json::Value;

use crate::{machine, schema};

/// The events of one run, in the order of their lines.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// One per line.
    pub events: Vec<Value>,
}

impl Stream {
    /// Reads lines of JSON.
    ///
    /// # Panics
    /// If a line is not a JSON object with the keys of every event.
    #[must_use]
    pub fn read(from: impl BufRead) -> Self {
        Self { events: from.lines().map(|line| parse(&line.expect("the stream is UTF-8"))).collect() }
    }

    /// Events of one kind.
    pub fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// Events of sockets in one network namespace.
    pub fn of_netns(&self, netns: u64) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["netns"] == netns)
    }

    /// Events of one connection.
    pub fn of_conn<'a>(&'a self, conn: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["conn"] == conn)
    }

    /// Events of one process's sockets.
    pub fn of_owner(&self, pid: u32) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["owner"]["pid"] == pid)
    }

    /// Events with these ports.
    pub fn of_ports(&self, lport: u16, rport: u16) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["lport"] == lport && event["rport"] == rport)
    }

    /// The connections of some namespaces, each with its events in the order of their lines.
    #[must_use]
    pub fn conns(&self, namespaces: &[u64]) -> BTreeMap<&str, Vec<&Value>> {
        let mut conns: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in &self.events {
            let Some(conn) = event["conn"].as_str() else { continue };
            if event["netns"].as_u64().is_some_and(|netns| namespaces.contains(&netns)) {
                conns.entry(conn).or_default().push(event);
            }
        }
        conns
    }

    /// The last line, which must be the summary.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn summary(&self) -> &Value {
        let last = self.events.last().expect("the stream has a line");
        assert_eq!(last["event"], "summary", "the last line is the summary: {last}");
        last
    }

    /// The number of lost events of all classes in the summary.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let lost = &self.summary()["lost"];
        lost.as_object().map_or(0, |classes| classes.values().filter_map(Value::as_u64).sum())
    }

    /// The number of calls that the kernel kept from the programs, which it does from 7.0 on; nothing else was lost.
    ///
    /// # Panics
    /// If something else was lost.
    #[must_use]
    pub fn missed(&self) -> u64 {
        let missed = self.summary()["lost"]["missed"].as_u64().unwrap_or_default();
        let due = if machine::preempts_programs() { missed } else { 0 };
        assert_eq!(self.lost(), due, "{}", self.summary());
        missed
    }

    /// The number of lifecycle events without room, from the summary. With the `delivered` ones they make up all the
    /// `due` ones. A call that the kernel kept from the programs (`missed`, from 7.0 on) may cost the events of one end
    /// of a connection, which are three.
    ///
    /// # Panics
    /// If they do not add up.
    #[must_use]
    pub fn lost_of(&self, delivered: u64, due: u64) -> u64 {
        let summary = self.summary();
        let count = |class: &str| summary["lost"][class].as_u64().unwrap_or_default();
        let lost = count("lifecycle");
        let missed = if machine::preempts_programs() { count("missed") } else { 0 };
        let known = delivered + lost;
        assert!(
            (known..=known + 3 * missed).contains(&due),
            "{delivered} told, {lost} lost, {missed} missed of {due}: {summary}"
        );
        lost
    }

    /// The events of these namespaces, one per line, for messages.
    #[must_use]
    pub fn dump(&self, namespaces: &[u64]) -> String {
        let mut text = String::new();
        for event in &self.events {
            if event["netns"].as_u64().is_none_or(|netns| namespaces.contains(&netns)) {
                let _ = writeln!(text, "  {}", brief(event));
            }
        }
        text
    }
}

/// One line of the stream.
///
/// # Panics
/// If it is not a JSON object with the keys of every event.
#[must_use]
pub fn parse(line: &str) -> Value {
    // str::parse() is compiled in serde_json, with optimisation: four times as fast as from_str() here.
    let event: Value = line.parse().unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
    assert_eq!(event["v"], 1, "the schema's version: {line}");
    assert!(event["event"].is_string(), "an event has a kind: {line}");
    assert!(event["boot_ns"].is_u64(), "boot_ns is a number: {line}");
    let time = event["time"].as_str().unwrap_or_else(|| panic!("an event has a time: {line}"));
    assert!(is_rfc3339_nanoseconds(time), "time is RFC 3339, UTC, nanoseconds: {line}");
    schema::check(&event);
    event
}

/// The kind of the event in a line, without parsing it: for streams of a million lines.
#[must_use]
pub fn kind_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(r#"{"v":1,"event":""#)?;
    rest.split_once('"').map(|(kind, _)| kind)
}

/// `2026-11-21T12:00:00.123456789Z`.
fn is_rfc3339_nanoseconds(time: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.dddddddddZ";
    time.len() == pattern.len()
        && time.bytes().zip(pattern.bytes()).all(|(is, p)| if p == b'd' { is.is_ascii_digit() } else { is == p })
}

/// An event without the less telling keys, for messages.
#[must_use]
pub fn brief(event: &Value) -> Value {
    let mut brief = event.clone();
    if let Some(keys) = brief.as_object_mut() {
        keys.retain(|key, value| {
            !value.is_null() && !["v", "time", "proto", "srtt_us", "min_rtt_us"].contains(&&**key)
        });
        if let Some(owner) = keys.get_mut("owner").and_then(Value::as_object_mut) {
            owner.retain(|key, _| ["pid", "tid", "comm", "thread", "exe"].contains(&&**key));
        }
    }
    brief
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_checked() {
        assert!(is_rfc3339_nanoseconds("2026-11-21T12:00:00.123456789Z"));
        assert!(!is_rfc3339_nanoseconds("2026-11-21T12:00:00.123456789+00:00"));
        assert!(!is_rfc3339_nanoseconds("2026-11-21T12:00:00Z"));
    }

    #[test]
    fn losses_are_summed() {
        let summary = json!({ "event": "summary", "lost": { "lifecycle": 2, "process": 1 } });
        assert_eq!(Stream { events: vec![summary] }.lost(), 3);
    }
}
