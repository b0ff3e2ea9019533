//! Counts what is shown, and stops showing when enough is.

use std::collections::BTreeMap;

use crate::stream::{Event, Kind, Sink, Verdict};

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    limit: Option<u64>,
    shown: u64,
    kinds: BTreeMap<&'static str, u64>,
    verdicts: BTreeMap<Verdict, u64>,
}

impl Tally {
    /// Nothing yet; `limit` events at the most.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.shown >= limit)
    }

    /// Events shown, by kind.
    #[must_use]
    pub const fn kinds(&self) -> &BTreeMap<&'static str, u64> {
        &self.kinds
    }

    /// Closes shown, by verdict.
    #[must_use]
    pub const fn verdicts(&self) -> &BTreeMap<Verdict, u64> {
        &self.verdicts
    }

    /// A sink that counts and passes on.
    pub fn sink<'t, S: Sink + ?Sized>(&'t mut self, to: &'t mut S) -> Tallied<'t, S> {
        Tallied { tally: self, to }
    }
}

/// See [`Tally::sink`].
#[derive(Debug)]
pub struct Tallied<'t, S: ?Sized> {
    tally: &'t mut Tally,
    to: &'t mut S,
}

impl<S: Sink + ?Sized> Sink for Tallied<'_, S> {
    fn event(&mut self, event: &Event<'_>) {
        if self.tally.is_full() {
            return;
        }
        self.tally.shown += 1;
        *self.tally.kinds.entry(event.kind.name()).or_default() += 1;
        if let Kind::Close(close) = event.kind {
            *self.tally.verdicts.entry(close.verdict).or_default() += 1;
        }
        self.to.event(event);
    }
}
