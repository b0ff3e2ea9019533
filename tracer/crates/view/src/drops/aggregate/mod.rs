//! Adds dropped packets up: a row for each reason, location, owner and flow, or for a choice of these
//! four.
//!
//! A [`Sink`] of the stream; no clock, no I/O. Memory is bounded: if there are too many rows, the least
//! recent ones merge into one for each reason. Every packet counts in exactly one row.

mod discarded;
mod row;
#[cfg(test)]
pub(crate) mod tests;

use std::{cmp::Reverse, collections::HashMap};

use clap::ValueEnum;

pub use self::discarded::Discarded;
use self::discarded::Discards;
pub use self::row::{Flow, FlowEnds, Key, Reason, Row, Same, SocketEnds};
use tracer_stream::{Drop, Event, Kind, Owner, Sink, Socket};

/// The most separate rows.
pub const MOST_ROWS: usize = 10_000;
/// The number of rows merged at once.
const EVICTED: usize = MOST_ROWS / 10;

/// The class of lost drop events.
const LOST: &str = "drop";

/// A field that separates rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The reason, and what it means
    Reason,
    /// The call that dropped it
    Location,
    /// The process that owns it
    Owner,
    /// Protocol, addresses and ports
    Flow,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reason, Self::Location, Self::Owner, Self::Flow];
}

/// A set of [`Part`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// Reason.
    pub reason: bool,
    /// Location.
    pub location: bool,
    /// Owner.
    pub owner: bool,
    /// Flow.
    pub flow: bool,
}

impl By {
    /// Makes a set.
    #[must_use]
    pub fn new(parts: &[Part]) -> Self {
        let has = |part| parts.contains(&part);
        Self {
            reason: has(Part::Reason),
            location: has(Part::Location),
            owner: has(Part::Owner),
            flow: has(Part::Flow),
        }
    }
}

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Most packets since the last look first, then most packets
    #[default]
    Rate,
    /// Most packets first
    Count,
    /// The most recent one first
    Last,
}

/// The rows, and their sums.
#[derive(Debug)]
pub struct Aggregate {
    by: By,
    /// Whether harmless drops have rows, too.
    quiet: bool,
    rows: HashMap<Key, Row>,
    /// The merged rows, by reason.
    others: HashMap<Option<Reason>, Row>,
    packets: u64,
    recent: u64,
    lost: u64,
    discards: Discards,
    /// Number of the last event.
    seen: u64,
}

impl Aggregate {
    /// Makes an empty aggregate. Without `quiet`, harmless drops have no rows.
    #[must_use]
    pub fn new(by: By, quiet: bool) -> Self {
        Self {
            by,
            quiet,
            rows: HashMap::new(),
            others: HashMap::new(),
            packets: 0,
            recent: 0,
            lost: 0,
            discards: Discards::default(),
            seen: 0,
        }
    }

    /// Returns the fields that separate rows.
    #[must_use]
    pub const fn by(&self) -> By {
        self.by
    }

    /// Returns the packets in all rows.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Returns the packets since the last [`Aggregate::refresh`].
    #[must_use]
    pub const fn recent(&self) -> u64 {
        self.recent
    }

    /// Whether harmless drops have no row.
    #[must_use]
    pub const fn hides_quiet(&self) -> bool {
        !self.quiet
    }

    /// Returns the lost drop events.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the discards that only the kernel's counters show, highest counts first.
    #[must_use]
    pub fn discards(&self) -> Vec<&Discarded> {
        self.discards.rows()
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.others.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rows in order.
    #[must_use]
    pub fn rows(&self, order: Order) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.values().chain(self.others.values()).collect();
        let figures = |row: &Row| match order {
            Order::Rate => (row.recent, row.count),
            Order::Count => (row.count, 0),
            Order::Last => (row.last_ns, row.count),
        };
        // No two rows have the same last event.
        rows.sort_unstable_by_key(|row| Reverse((figures(row), row.last_ns, row.seen)));
        rows
    }

    /// Begins a new interval for recent packets.
    pub fn refresh(&mut self) {
        self.recent = 0;
        for row in self.rows.values_mut().chain(self.others.values_mut()) {
            row.recent = 0;
        }
    }

    fn add(&mut self, boot_ns: u64, drop: &Drop, socket: Option<&Socket<'_>>) {
        if drop.class.is_quiet() && !self.quiet {
            return;
        }
        self.packets += drop.count;
        self.recent += drop.count;
        self.seen += 1;
        let key = Key::of(self.by, drop, socket);
        if let Some(row) = self.rows.get_mut(&key) {
            row.add(self.seen, boot_ns, drop, socket);
            return;
        }
        if self.rows.len() >= MOST_ROWS {
            self.evict();
        }
        let owner: Option<Owner> = socket.and_then(|socket| socket.owner).filter(|_| self.by.owner).cloned();
        let row = Row::new(key.clone(), owner, self.seen, boot_ns, drop, socket);
        self.rows.insert(key, row);
    }

    /// Merges the least recent rows.
    fn evict(&mut self) {
        let mut seen: Vec<u64> = self.rows.values().map(|row| row.seen).collect();
        let (_, last, _) = seen.select_nth_unstable(EVICTED - 1);
        let last = *last;
        for (_, row) in self.rows.extract_if(|_, row| row.seen <= last) {
            match self.others.get_mut(&row.key.reason) {
                Some(other) => other.absorb(&row),
                None => drop(self.others.insert(row.key.reason.clone(), row.into_other())),
            }
        }
    }
}

impl Sink for Aggregate {
    fn event(&mut self, event: &Event<'_>) {
        match event.kind {
            Kind::Drop(drop) => self.add(event.boot_ns, drop, event.socket.as_ref()),
            Kind::Discard(discard) => self.discards.add(event.boot_ns, discard, event.socket.as_ref()),
            Kind::Lost { class: LOST, count } => self.lost += count,
            _ => {}
        }
    }
}
