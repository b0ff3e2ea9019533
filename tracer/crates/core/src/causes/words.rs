//! The words that the rules share.

use std::net::IpAddr;

use tracer_stream::{Endpoint, Party};

/// The most names in a sentence.
const MOST_NAMES: usize = 3;

/// `ADDRESS:PORT`.
pub fn end(addr: Option<IpAddr>, port: Option<u16>) -> String {
    Endpoint { addr, port, ifindex: None }.to_string()
}

/// `1 SYN`, `2 SYNs`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `a[1], b[2] and others`; `a process of another host` if there is none. Processes of one name stand together.
pub fn names(parties: &[Party]) -> String {
    let mut by_name: Vec<(&str, Vec<u32>)> = Vec::new();
    for party in parties {
        match by_name.iter_mut().find(|(comm, _)| *comm == party.comm) {
            Some((_, pids)) if pids.contains(&party.pid) => {}
            Some((_, pids)) => pids.push(party.pid),
            None => by_name.push((&party.comm, vec![party.pid])),
        }
    }
    let more = by_name.len() > MOST_NAMES;
    let names = by_name.iter().take(MOST_NAMES).map(|(comm, pids)| match pids.as_slice() {
        [pid] => format!("{comm}[{pid}]"),
        pids => format!("{comm} ({} processes)", pids.len()),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    match (names.is_empty(), more) {
        (true, _) => "a process that is not of this host".to_owned(),
        (false, true) => format!("{names} and others"),
        (false, false) => names,
    }
}

/// Adds a party, once.
pub fn add(parties: &mut Vec<Party>, party: Party) {
    if parties.iter().all(|known| known.pid != party.pid) {
        parties.push(party);
    }
}

/// A time in words, from nanoseconds: `0.4 s`, `26 s`, `4 min`.
pub fn seconds(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    match tenths {
        0..100 => format!("{}.{} s", tenths / 10, tenths % 10),
        100..6000 => format!("{} s", tenths / 10),
        _ => format!("{} min", tenths / 600),
    }
}
