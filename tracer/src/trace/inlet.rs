//! The one way into the core: every input passes here, and its events go to the presenter.

use std::io;

use tracer_common::decode::Record;

use super::{Presenter, Rehearsal};
use crate::{
    core::{
        Core, Input,
        question::{Question, Topic},
    },
    filter::Filter,
    trace::queue::Gauge,
};

/// The core, and where its events go.
pub struct Inlet<'p> {
    core: Core<Filter>,
    /// Takes down what the core is given, if a test asks for it.
    rehearsal: Option<Rehearsal>,
    presenter: &'p mut dyn Presenter,
}

impl<'p> Inlet<'p> {
    /// Shows what `filter` selects, and at most `count` events.
    pub fn new(filter: Filter, count: Option<u64>, presenter: &'p mut dyn Presenter) -> Self {
        let rehearsal = Rehearsal::begin(&filter, count);
        Self { core: Core::new(filter, count), rehearsal, presenter }
    }

    /// Applies one input.
    pub fn apply(&mut self, input: Input<Record<'_>>) {
        if let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.write(&input);
        }
        self.core.apply(input, self.presenter);
    }

    /// The core, which everything else only looks at.
    pub const fn core(&self) -> &Core<Filter> {
        &self.core
    }

    /// Gives up the core, for its summary, and the tape, if a test asks for it.
    pub fn into_parts(self) -> (Core<Filter>, Option<Rehearsal>) {
        (self.core, self.rehearsal)
    }

    /// See [`Core::before`].
    pub fn before(&self, record: &Record<'_>) -> [Option<Question>; 3] {
        self.core.before(record)
    }

    /// See [`Core::question`].
    pub fn question(&mut self, topic: Topic) -> Option<Question> {
        self.core.question(topic)
    }

    /// Shows the causes so far to the presenter, if they are wanted.
    pub fn diagnose(&mut self) {
        if let Some(causes) = self.core.causes() {
            self.presenter.diagnosed(causes);
        }
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

    /// Whether no more events are wanted.
    pub fn is_full(&self) -> bool {
        self.core.is_full() || self.presenter.is_full()
    }
}
