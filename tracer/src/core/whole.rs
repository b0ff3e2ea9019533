//! Correlation, findings and counts together.

use tracer_common::decode::Record;

use super::{
    Correlation, Gate, Input,
    question::{Answer, Question, Topic},
};
use crate::{
    present::summary::Tally,
    shown::Shown,
    stream::{Finding, Sink},
};

/// The core: what it says follows from its inputs alone.
pub struct Core<G> {
    correlation: Correlation<G>,
    shown: Shown<G>,
}

impl<G: Gate + Clone> Core<G> {
    /// A core without inputs. It shows what `gate` selects, and at most `limit` events.
    pub fn new(gate: G, limit: Option<u64>) -> Self {
        Self { shown: Shown::new(gate.clone(), limit), correlation: Correlation::new(gate) }
    }

    /// Applies one input and emits the events that follow from it.
    pub fn apply(&mut self, input: Input<'_>, sink: &mut dyn Sink) {
        if let Input::Answer(Answer::Facts(facts)) = &input {
            self.shown.set_facts(*facts);
        }
        self.correlation.apply(input, &mut self.shown.sink(sink));
    }

    /// The questions to be answered before `record` is applied.
    #[must_use]
    pub fn before(&self, record: &Record<'_>) -> [Option<Question>; 3] {
        self.correlation.before(record)
    }

    /// Whether there is a question of this topic.
    #[must_use]
    pub fn has_question(&self, topic: Topic) -> bool {
        self.correlation.has_question(topic)
    }

    /// The current question of this topic. Ask for the next one once this one is answered.
    pub fn question(&mut self, topic: Topic) -> Option<Question> {
        self.correlation.question(topic)
    }

    /// Whether events wait for an answer.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.correlation.waits()
    }

    /// Whether the limit of events is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shown.is_full()
    }

    /// Events that the filter hid here (the kernel side counts its own).
    #[must_use]
    pub const fn filtered(&self) -> u64 {
        self.correlation.filtered() + self.shown.hidden()
    }

    /// Dropped packets that the filter may have wanted: they were folded across flows, so their owner is unknown.
    #[must_use]
    pub const fn unplaced_drops(&self) -> u64 {
        self.correlation.unplaced_drops()
    }

    /// Connections that are open now, without listeners.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.correlation.open_connections()
    }

    /// How many drops of a connection were emitted so far.
    #[must_use]
    pub fn drops_of(&self, id: u64) -> u64 {
        self.correlation.drops_of(id)
    }

    /// Drops emitted without the hint that they waited for.
    #[must_use]
    pub const fn hints_given_up(&self) -> u64 {
        self.correlation.hints_given_up()
    }

    /// Events that support findings without room.
    #[must_use]
    pub const fn findings_untold(&self) -> u64 {
        self.shown.findings_untold()
    }

    /// The findings and the counts, once the trace has ended.
    #[must_use]
    pub fn into_counts(self) -> (Vec<Finding>, Tally) {
        (self.shown.findings(), self.shown.into_tally())
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        record::{RecordKind as K, RecordRole as R},
        tcp::TcpState,
    };

    use super::{
        super::tests::{Only, close, record, tuple},
        *,
    };
    use crate::{findings::Facts, stream::Event};

    /// Counts events by kind.
    #[derive(Default)]
    struct Counted(Vec<&'static str>);

    impl Sink for Counted {
        fn event(&mut self, event: &Event<'_>) {
            self.0.push(event.kind.name());
        }
    }

    /// Two processes make `count` connections each, of which every other one is refused.
    fn inputs(core: &mut Core<Only>, count: u64, sink: &mut Counted) {
        core.apply(Input::Answer(Answer::Facts(Facts { netns: Some(7), ..Facts::default() })), sink);
        for n in 0..count * 2 {
            let (id, at, pid) = (2 + 2 * n, 10 + n, 5 + (n % 2) as u32);
            let to = tuple(5000 + n as u16, 80);
            let connect = record(K::Connect, at, id, R::Client, 0, pid, to);
            core.apply(Input::Record(Record::Socket(K::Connect, &connect)), sink);
            let errno = if n % 4 < 2 { libc::ECONNREFUSED } else { 0 };
            let closed = close(record(K::Close, at, id, R::Client, 0, pid, to), TcpState::SynSent, errno);
            core.apply(Input::Record(Record::Close(&closed)), sink);
        }
        core.apply(Input::Lost { boot_ns: 90, class: "drop", count: 3 }, sink);
        core.apply(Input::End { boot_ns: 99, followed: None }, sink);
    }

    #[test]
    fn the_counts_are_those_of_the_events() {
        let (mut core, mut sink) = (Core::new(Only(None), None), Counted::default());
        inputs(&mut core, 10, &mut sink);
        let (findings, tally) = core.into_counts();
        let summary = tally.finish();
        let count = |name: &str| sink.0.iter().filter(|kind| **kind == name).count() as u64;
        for (name, counted) in &summary.events {
            assert_eq!(count(name), *counted, "{name}");
        }
        assert_eq!(summary.events.iter().map(|(_, count)| count).sum::<u64>(), sink.0.len() as u64);
        assert_eq!((summary.connections, count("close")), (20, 20));
        assert_eq!(summary.verdicts.iter().map(|(_, count)| count).sum::<u64>(), 20);
        assert_eq!(count("finding"), findings.len() as u64);
        assert!(!findings.is_empty(), "ten refused connections");
    }

    #[test]
    fn beyond_the_limit_nothing_is_said_and_nothing_counted() {
        let (mut core, mut sink) = (Core::new(Only(None), Some(7)), Counted::default());
        inputs(&mut core, 10, &mut sink);
        assert!(core.is_full());
        assert_eq!(sink.0.len(), 7);
        let counted = core.into_counts().1.finish();
        assert_eq!(counted.events.iter().map(|(_, count)| count).sum::<u64>(), 7);
    }
}
