//! Counts for the summary, event by event.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::rc::Rc;

use tracer_stream::summary::{Row, Summary};
use tracer_stream::{Close, Endpoint, Event, Kind, Role, Socket, Verdict};

/// The most processes, and destinations, that are counted separately; later ones are counted together.
const MOST_ROWS: usize = 8192;
/// The most of them in the summary.
const SHOWN_ROWS: usize = 10;

#[derive(Clone, Debug)]
struct Rows<K> {
    rows: HashMap<K, Row>,
    others: Row,
}

impl<K: Hash + Eq> Rows<K> {
    fn new() -> Self {
        Self { rows: HashMap::new(), others: Row { name: "others".into(), ..Row::default() } }
    }

    /// Adds a connection; allocates only for a new key.
    fn add(&mut self, key: K, name: impl FnOnce() -> String, close: &Close) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.add(close);
        } else if self.rows.len() < MOST_ROWS {
            let mut row = Row { name: name(), ..Row::default() };
            row.add(close);
            self.rows.insert(key, row);
        } else {
            self.others.add(close);
        }
    }

    fn most(self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.rows.into_values().collect();
        // Two processes may have one number and one name, one after the other.
        let rest = |row: &Row| (row.failed, row.tx_bytes, row.rx_bytes);
        rows.sort_unstable_by(|a, b| {
            let by_name = || a.name.cmp(&b.name).then_with(|| rest(b).cmp(&rest(a)));
            b.connections.cmp(&a.connections).then_with(by_name)
        });
        rows.truncate(SHOWN_ROWS);
        if self.others.connections > 0 {
            rows.push(self.others);
        }
        rows
    }
}

/// Counts events.
#[derive(Clone, Debug)]
pub struct Tally {
    events: [u64; Kind::NAMES.len()],
    lost: Vec<(&'static str, u64)>,
    connections: u64,
    unanswered: u64,
    verdicts: [u64; Verdict::ALL.len()],
    drops: HashMap<Rc<str>, u64>,
    discards: HashMap<&'static str, u64>,
    processes: Rows<(u32, Option<u64>)>,
    destinations: Rows<(Option<IpAddr>, Option<u16>)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            events: [0; Kind::NAMES.len()],
            lost: Vec::new(),
            connections: 0,
            unanswered: 0,
            verdicts: [0; Verdict::ALL.len()],
            drops: HashMap::new(),
            discards: HashMap::new(),
            processes: Rows::new(),
            destinations: Rows::new(),
        }
    }
}

impl Tally {
    /// Counts an event of a connection that passes the filters. `shown`: whether the event itself is printed.
    pub fn event(&mut self, event: &Event<'_>, shown: bool) {
        if shown {
            self.events[event.kind.number()] += 1;
        }
        match (&event.kind, &event.socket) {
            (Kind::Close(close), Some(socket)) if socket.role != Role::Listener => self.close(socket, close),
            (Kind::Drop(drop), _) => {
                let cause = drop.reason.clone().or_else(|| drop.symbol.clone()).unwrap_or_else(|| "unknown".into());
                *self.drops.entry(cause).or_default() += drop.count;
            }
            (Kind::Discard(discard), _) => *self.discards.entry(discard.counter).or_default() += discard.count,
            (Kind::Lost { class, count }, _) => match self.lost.iter_mut().find(|(name, _)| name == class) {
                Some((_, total)) => *total += count,
                None => self.lost.push((class, *count)),
            },
            _ => {}
        }
    }

    fn close(&mut self, socket: &Socket<'_>, close: &Close) {
        self.connections += 1;
        self.unanswered += u64::from(close.unanswered == Some(true));
        if let Some(n) = Verdict::ALL.iter().position(|verdict| *verdict == close.verdict) {
            self.verdicts[n] += 1;
        }
        match socket.owner {
            Some(owner) => {
                let name = || format!("{}[{}]", owner.comm, owner.pid);
                self.processes.add((owner.pid, owner.start_ns), name, close);
            }
            None => self.processes.add((0, None), || "unknown".into(), close),
        }
        if socket.role == Role::Client {
            let remote = Endpoint { addr: socket.raddr, port: socket.rport, ifindex: socket.ifindex };
            self.destinations.add((socket.raddr, socket.rport), || remote.to_string(), close);
        }
    }

    /// Returns the summary of the events; the caller fills in the rest.
    #[must_use]
    pub fn finish(self) -> Summary {
        let some = |count: &u64| *count > 0;
        let mut drops: Vec<(String, u64)> =
            self.drops.into_iter().map(|(reason, count)| (reason.as_ref().to_owned(), count)).collect();
        drops.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut discards: Vec<(&'static str, u64)> = self.discards.into_iter().collect();
        discards.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        Summary {
            events: Kind::NAMES.into_iter().zip(self.events).filter(|(_, count)| some(count)).collect(),
            lost: self.lost,
            connections: self.connections,
            unanswered: self.unanswered,
            verdicts: Verdict::ALL.into_iter().zip(self.verdicts).filter(|(_, count)| some(count)).collect(),
            drops,
            discards,
            processes: self.processes.most(),
            destinations: self.destinations.most(),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_stream::sample;

    use super::*;

    const CLOSE: Close = Close { tx_bytes: Some(10), ..sample::CLOSE };

    fn socket(role: Role, port: u16) -> Socket<'static> {
        Socket { rport: Some(port), role, ..sample::SOCKET }
    }

    fn event<'a>(socket: Option<Socket<'a>>, kind: Kind<'a>) -> Event<'a> {
        Event { boot_ns: 1, socket, kind }
    }

    #[test]
    fn counts_what_ended() {
        let mut tally = Tally::default();
        let refused = Close { verdict: Verdict::Refused, unanswered: Some(true), ..CLOSE };
        tally.event(&event(Some(socket(Role::Client, 443)), Kind::Connect { errno: None }), true);
        tally.event(&event(Some(socket(Role::Client, 443)), Kind::Close(&CLOSE)), true);
        tally.event(&event(Some(socket(Role::Client, 443)), Kind::Close(&refused)), false);
        tally.event(&event(Some(socket(Role::Server, 1000)), Kind::Close(&CLOSE)), true);
        tally.event(&event(Some(socket(Role::Listener, 0)), Kind::Close(&CLOSE)), true);
        tally.event(&event(None, Kind::Lost { class: "lifecycle", count: 3 }), true);
        tally.event(&event(None, Kind::Lost { class: "lifecycle", count: 4 }), true);
        let summary = tally.finish();
        assert_eq!(summary.events, [("connect", 1), ("close", 3), ("lost", 2)]);
        assert_eq!(summary.lost, [("lifecycle", 7)]);
        assert_eq!(summary.lost_events(), 7);
        assert_eq!((summary.connections, summary.unanswered), (3, 1));
        assert_eq!(summary.verdicts, [(Verdict::ClosedLocal, 2), (Verdict::Refused, 1)]);
        let row = |name: &str, connections, tx_bytes| Row {
            name: name.into(),
            connections,
            failed: 1,
            tx_bytes,
            rx_bytes: 0,
        };
        assert_eq!(summary.destinations, [row("10.0.0.5:443", 2, 20)]);
        assert_eq!(summary.processes, [row("unknown", 3, 30)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tally = Tally::default();
        for port in 0..=u16::MAX {
            tally.event(&event(Some(socket(Role::Client, port)), Kind::Close(&CLOSE)), true);
        }
        assert_eq!(tally.destinations.rows.len(), MOST_ROWS);
        let summary = tally.finish();
        assert_eq!(summary.destinations.len(), SHOWN_ROWS + 1);
        assert_eq!(summary.destinations.last().map(|row| row.connections), Some(65_536 - MOST_ROWS as u64));
    }
}
