//! Between the core and the presenter: selects the shown kinds, counts, and draws the findings.

use tracer_stream::{Event, Finding, Kind, Sink};

use crate::{
    Gate,
    causes::{Causes, survey::Survey},
    findings::{Facts, Findings},
    tally::Tally,
};

/// Counts and limits.
#[derive(Debug)]
pub struct Shown<G> {
    gate: G,
    limit: Option<u64>,
    count: u64,
    hidden: u64,
    tally: Tally,
    findings: Findings,
    causes: Option<Box<Causes>>,
}

impl<G: Gate> Shown<G> {
    /// No events so far. Kinds that `gate` hides are counted and not passed on; after `limit` events no event is.
    #[must_use]
    pub fn new(gate: G, limit: Option<u64>) -> Self {
        Self { gate, limit, count: 0, hidden: 0, tally: Tally::default(), findings: Findings::default(), causes: None }
    }

    /// Whether the limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.count >= limit)
    }

    /// Number of events of hidden kinds.
    #[must_use]
    pub const fn hidden(&self) -> u64 {
        self.hidden
    }

    /// Sets the current limits of the host.
    pub fn set_facts(&mut self, facts: Facts) {
        self.findings.set_facts(facts);
    }

    /// Causes are wanted; the trace began then.
    pub fn diagnose(&mut self, boot_ns: u64) {
        self.causes = Some(Box::new(Causes::new(boot_ns)));
    }

    /// The trace sees accept(), or does not. Comes after [`Shown::diagnose`].
    pub fn hooked(&mut self, accept: bool) {
        if let Some(causes) = &mut self.causes {
            causes.hooked(accept);
        }
    }

    /// Takes a survey of the host.
    pub fn survey(&mut self, survey: Survey) {
        if let Some(causes) = &mut self.causes {
            causes.survey(survey);
        }
    }

    /// The evidence and the causes so far, if they are wanted.
    #[must_use]
    pub fn causes(&self) -> Option<&Causes> {
        self.causes.as_deref()
    }

    /// The findings, with final counts.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.all()
    }

    /// Events that support findings beyond those.
    #[must_use]
    pub const fn findings_untold(&self) -> u64 {
        self.findings.untold()
    }

    /// The final counts.
    #[must_use]
    pub fn into_tally(self) -> Tally {
        self.tally
    }

    /// A sink that passes on to `to`.
    pub fn sink<'t, S: Sink + ?Sized>(&'t mut self, to: &'t mut S) -> Through<'t, G, S> {
        Through { shown: self, to }
    }
}

/// The sink that [`Shown::sink`] returns.
#[derive(Debug)]
pub struct Through<'t, G, S: ?Sized> {
    shown: &'t mut Shown<G>,
    to: &'t mut S,
}

impl<G: Gate, S: Sink + ?Sized> Sink for Through<'_, G, S> {
    fn event(&mut self, event: &Event<'_>) {
        if self.shown.is_full() {
            return;
        }
        self.pass_on(event);
        if !self.shown.gate.feeds_findings(&event.kind) {
            return;
        }
        if let Some(causes) = &mut self.shown.causes {
            causes.event(event);
        }
        // The event itself may have reached the limit.
        if let Some(finding) = self.shown.findings.event(event).filter(|_| !self.shown.is_full()) {
            // It has no socket of its own: it names the connections that support it.
            self.pass_on(&Event { boot_ns: event.boot_ns, socket: None, kind: Kind::Finding(&finding) });
        }
    }
}

impl<G: Gate, S: Sink + ?Sized> Through<'_, G, S> {
    /// Emits the owner's process, unless that was done.
    fn introduce(&mut self, event: &Event<'_>) {
        let Some(owner) = event.socket.and_then(|socket| socket.owner) else { return };
        let process = Event { boot_ns: event.boot_ns, socket: None, kind: Kind::Process(owner) };
        if self.shown.gate.shows(&process.kind) && owner.told.is_first() {
            self.shown.tally.event(&process, true);
            self.shown.count += 1;
            self.to.event(&process);
        }
    }

    fn pass_on(&mut self, event: &Event<'_>) {
        let shows = self.shown.gate.shows(&event.kind);
        if shows || self.shown.gate.shows_processes_only() {
            self.introduce(event);
            // That event may have reached the limit.
            if self.shown.is_full() {
                return;
            }
        }
        self.shown.tally.event(event, shows);
        if shows {
            self.shown.count += 1;
            self.to.event(event);
        } else {
            self.shown.hidden += 1;
        }
    }
}
