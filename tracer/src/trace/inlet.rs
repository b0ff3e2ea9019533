//! The one way into the core: every input passes here, and its events go to the presenter.

use std::io;

use super::Presenter;
use crate::{
    core::{
        Core, Input,
        question::{Answer, Question, Topic},
    },
    filter::Filter,
    present::{queue::Gauge, summary::Tally},
    shown::Shown,
    stream::Finding,
};
use tracer_common::decode::Record;

/// The core, and where its events go.
pub struct Inlet<'p> {
    core: Core<Filter>,
    shown: Shown,
    presenter: &'p mut dyn Presenter,
}

impl<'p> Inlet<'p> {
    /// Shows what `filter` selects, and at most `count` events.
    pub fn new(filter: &Filter, count: Option<u64>, presenter: &'p mut dyn Presenter) -> Self {
        Self { core: Core::new(filter.clone()), shown: Shown::new(filter.clone(), count), presenter }
    }

    /// Applies one input.
    pub fn apply(&mut self, input: Input<'_>) {
        if let Input::Answer(Answer::Facts(facts)) = &input {
            self.shown.set_facts(*facts);
        }
        self.core.apply(input, &mut self.shown.sink(self.presenter));
    }

    /// The core, which everything else only looks at.
    pub const fn core(&self) -> &Core<Filter> {
        &self.core
    }

    /// See [`Core::before`].
    pub fn before(&self, record: &Record<'_>) -> [Option<Question>; 3] {
        self.core.before(record)
    }

    /// See [`Core::question`].
    pub fn question(&mut self, topic: Topic) -> Option<Question> {
        self.core.question(topic)
    }

    /// The presenter.
    pub fn presenter(&mut self) -> &mut dyn Presenter {
        self.presenter
    }

    /// The presenter's fill level.
    pub fn gauge(&self) -> Option<Gauge> {
        self.presenter.gauge()
    }

    /// The first error of the output.
    pub fn error(&self) -> Option<&io::Error> {
        self.presenter.error()
    }

    /// Whether the limit of events is reached.
    pub fn shown_is_full(&self) -> bool {
        self.shown.is_full()
    }

    /// Whether no more events are wanted.
    pub fn is_full(&self) -> bool {
        self.shown.is_full() || self.presenter.is_full()
    }

    /// Events of hidden kinds, and those that the core hid.
    pub fn filtered(&self) -> u64 {
        self.core.filtered() + self.shown.hidden()
    }

    /// Events that support findings without room.
    pub fn findings_untold(&self) -> u64 {
        self.shown.findings_untold()
    }

    /// The findings and the counts.
    pub fn into_counts(self) -> (Vec<Finding>, Tally) {
        (self.shown.findings(), self.shown.into_tally())
    }
}
