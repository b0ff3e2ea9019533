//! Between the core and the presenter: what kinds are shown, how many, and what they add up to.

use crate::{
    filter::Filter,
    findings::{Facts, Findings},
    present::summary::Tally,
    stream::{Event, Finding, Kind, Sink},
};

/// Counts and limits.
#[derive(Debug)]
pub struct Shown {
    filter: Filter,
    limit: Option<u64>,
    count: u64,
    hidden: u64,
    tally: Tally,
    findings: Findings,
}

impl Shown {
    /// Nothing yet. Kinds that `filter` does not show are counted and not passed on; after `limit`
    /// events nothing is.
    #[must_use]
    pub fn new(filter: Filter, limit: Option<u64>) -> Self {
        Self { filter, limit, count: 0, hidden: 0, tally: Tally::default(), findings: Findings::default() }
    }

    /// Whether the limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.count >= limit)
    }

    /// Events of kinds that are not shown.
    #[must_use]
    pub const fn hidden(&self) -> u64 {
        self.hidden
    }

    /// The limits of the host, as they are now.
    pub fn set_facts(&mut self, facts: Facts) {
        self.findings.set_facts(facts);
    }

    /// What follows from what was seen, with final counts.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.all()
    }

    /// Events that speak for findings beyond those.
    #[must_use]
    pub fn findings_untold(&self) -> u64 {
        self.findings.untold()
    }

    /// What it all adds up to.
    #[must_use]
    pub fn into_tally(self) -> Tally {
        self.tally
    }

    /// A sink that passes on to `to`.
    pub fn sink<'t, S: Sink + ?Sized>(&'t mut self, to: &'t mut S) -> Through<'t, S> {
        Through { shown: self, to }
    }
}

/// See [`Shown::sink`].
#[derive(Debug)]
pub struct Through<'t, S: ?Sized> {
    shown: &'t mut Shown,
    to: &'t mut S,
}

impl<S: Sink + ?Sized> Sink for Through<'_, S> {
    fn event(&mut self, event: &Event<'_>) {
        if self.shown.is_full() {
            return;
        }
        self.pass_on(event);
        if !self.shown.filter.feeds_findings(&event.kind) {
            return;
        }
        // The event itself may have been the last that is wanted.
        if let Some(finding) = self.shown.findings.event(event).filter(|_| !self.shown.is_full()) {
            // Of no single socket: it names the connections that it rests on.
            self.pass_on(&Event { boot_ns: event.boot_ns, socket: None, kind: Kind::Finding(&finding) });
        }
    }
}

impl<S: Sink + ?Sized> Through<'_, S> {
    fn pass_on(&mut self, event: &Event<'_>) {
        let shows = self.shown.filter.shows(&event.kind);
        self.shown.tally.event(event, shows);
        if shows {
            self.shown.count += 1;
            self.to.event(event);
        } else {
            self.shown.hidden += 1;
        }
    }
}
