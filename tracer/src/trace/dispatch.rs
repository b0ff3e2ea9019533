//! Gives each question of the core to the thread that answers it, and brings the answers back. The loop itself looks
//! nothing up that others could delay.

use std::{task::Poll, time::Duration};

use log::warn;
use tokio::time::Instant;
use tracer_common::decode::Record;

use super::{
    counters::Counters,
    errand::{Done, Errand},
    facts,
    inlet::Inlet,
    namespaces::Namespaces,
    naming::Sources,
    owners, ports,
    questions::{Questions, Reply},
    survey::{self, Surveyor},
    tables::{self, Reading},
};
use crate::{
    core::{
        Input,
        question::{Answer, Question, Topic},
    },
    discards::Look,
    proc::{netns, root::ProcRoot},
    readers::Readers,
};

/// The topics whose questions are asked as soon as they come up.
const AT_ONCE: [Topic; 4] = [Topic::Owners, Topic::Ports, Topic::Hints, Topic::Survey];

/// What has come from another thread.
#[derive(Debug)]
pub enum Arrived {
    /// A reply that a record waits for; `None`: its wait has ended.
    Reply(Option<Reply>),
    /// The answer to another question; `None`: the next one may be asked.
    Done(Topic, Option<Done>),
    /// Changes of counters.
    Looks(Vec<Look>),
}

/// The threads that answer, and the questions under way.
#[derive(Debug)]
pub struct Dispatch {
    root: ProcRoot,
    /// For reads that may hang.
    readers: Readers,
    /// May enter namespaces.
    namespaces: Namespaces,
    /// The questions that records wait for.
    questions: Questions,
    owners: Errand,
    ports: Errand,
    hints: Errand,
    facts: Errand,
    survey: Errand,
    /// Surveys the host; `None` if that is unwanted.
    surveyor: Option<Surveyor>,
    reading: Reading,
    /// Watches the kernel's counters of discards; `None` if unwanted.
    counters: Option<Counters>,
}

impl Dispatch {
    /// Nothing is asked. `names`: what names in the kernel come from, if packets are traced.
    pub fn new(
        root: ProcRoot,
        readers: Readers,
        namespaces: Namespaces,
        surveyor: Option<Surveyor>,
        counters: Option<Counters>,
        names: Option<Sources>,
    ) -> Self {
        Self {
            questions: Questions::new(readers.clone(), root.clone(), names),
            root,
            readers,
            namespaces,
            owners: Errand::new(owners::pause),
            ports: Errand::new(ports::pause),
            hints: Errand::new(tables::pause),
            facts: Errand::new(|_| Duration::ZERO),
            survey: Errand::new(survey::pause),
            surveyor,
            reading: Reading::default(),
            counters,
        }
    }

    /// Puts a question that a record waits for; [`Poll::Pending`]: its answer is still to come.
    pub fn put(&mut self, question: &Question, inlet: &mut Inlet<'_>) -> Poll<()> {
        self.questions.put(question, &mut |answer| inlet.apply(Input::Answer(answer)))
    }

    /// Asks ahead for a record that waits behind others.
    pub fn ask_ahead(&mut self, record: &Record<'_>, inlet: &Inlet<'_>) {
        self.questions.ask_ahead(record, |record| inlet.before(record).iter().any(Option::is_some));
    }

    /// Prepares for the names of call sites: a drop has come.
    pub fn prepare_names(&mut self) {
        self.questions.prepare_names();
    }

    /// Until when a record waits for the name of its call site or stack.
    pub fn names_due(&self) -> Option<Instant> {
        self.questions.names_due()
    }

    /// Forgets the questions of records: none waits.
    pub fn none_waits(&mut self) {
        self.questions.none_waits();
    }

    /// Asks the core's other questions, each once its topic is free.
    pub fn ask(&mut self, inlet: &mut Inlet<'_>) {
        for topic in AT_ONCE {
            self.ask_about(topic, inlet);
        }
    }

    /// The same for the topics that are asked about once a second.
    pub fn ask_each_second(&mut self, inlet: &mut Inlet<'_>) {
        self.ask_about(Topic::Facts, inlet);
    }

    /// Passes on the namespaces whose counters are to be watched.
    pub fn watch_namespaces(&mut self, inlet: &mut Inlet<'_>) {
        if self.counters.is_some()
            && let Some(Question::Namespaces(fresh)) = inlet.question(Topic::Namespaces)
        {
            self.search(fresh);
        }
    }

    /// Watches the counters of these namespaces, if they are new.
    pub fn search(&self, namespaces: Vec<u32>) {
        if let Some(counters) = &self.counters {
            counters.search(namespaces);
        }
    }

    /// Whether the kernel's counters are watched.
    pub const fn counts(&self) -> bool {
        self.counters.is_some()
    }

    /// Ends the watch over the kernel's counters.
    pub const fn take_counters(&mut self) -> Option<Counters> {
        self.counters.take()
    }

    const fn errand(&mut self, topic: Topic) -> Option<&mut Errand> {
        match topic {
            Topic::Owners => Some(&mut self.owners),
            Topic::Ports => Some(&mut self.ports),
            Topic::Hints => Some(&mut self.hints),
            Topic::Facts => Some(&mut self.facts),
            Topic::Survey => Some(&mut self.survey),
            Topic::Namespaces => None,
        }
    }

    fn ask_about(&mut self, topic: Topic, inlet: &mut Inlet<'_>) {
        if !inlet.core().has_question(topic) || !self.errand(topic).is_some_and(|errand| errand.is_free()) {
            return;
        }
        let Some(question) = inlet.question(topic) else { return };
        let Some(send) = self.errand(topic).map(Errand::begin) else { return };
        let (root, readers) = (self.root.clone(), self.readers.clone());
        // The receiver is gone if the trace ended first.
        match question {
            Question::Owners { tuples, unbound } => self.namespaces.give(move || {
                let _ = send.send(owners::look(&root, &readers, &tuples, &unbound).into());
            }),
            Question::Ports(wanted) => self.namespaces.give(move || {
                let _ = send.send(ports::find(&root, &readers, &wanted).into());
            }),
            Question::Hints(wanted) => {
                let reading = self.reading.clone();
                self.namespaces.give(move || {
                    let _ = send.send(reading.read(&root, wanted));
                });
            }
            Question::Facts => {
                let read = move || {
                    let facts = facts::read(root.path(), netns::current(&root));
                    let _ = send.send(Answer::Facts(facts).into());
                };
                // A late answer still counts.
                self.readers.ask(read, || {});
            }
            Question::Survey => {
                if let Some(surveyor) = &self.surveyor {
                    surveyor.survey(&self.root, send);
                }
            }
            // A record waits for the answer, or none is expected.
            Question::Process { .. }
            | Question::Symbol(_)
            | Question::Stack { .. }
            | Question::Holding(_)
            | Question::Namespaces(_) => {}
        }
    }

    /// Waits for what comes from the other threads, and for the time of the next question: call [`Dispatch::ask`]
    /// before. Cancel safe.
    pub async fn arrived(&mut self, inlet: &Inlet<'_>) -> Arrived {
        let Self { questions, owners, ports, hints, facts, survey, counters, .. } = self;
        let wanted = |topic| inlet.core().has_question(topic);
        tokio::select! {
            reply = questions.replied() => Arrived::Reply(reply),
            done = owners.done(wanted(Topic::Owners)) => Arrived::Done(Topic::Owners, done),
            done = ports.done(wanted(Topic::Ports)) => Arrived::Done(Topic::Ports, done),
            done = hints.done(wanted(Topic::Hints)) => Arrived::Done(Topic::Hints, done),
            done = survey.done(wanted(Topic::Survey)) => Arrived::Done(Topic::Survey, done),
            done = facts.done(false) => Arrived::Done(Topic::Facts, done),
            looks = async { match counters { Some(counters) => counters.looked().await, None => std::future::pending().await } } => {
                Arrived::Looks(looks)
            }
        }
    }

    /// The same for replies that records wait for. Cancel safe.
    pub async fn replied(&mut self) -> Arrived {
        Arrived::Reply(self.questions.replied().await)
    }

    /// Passes on what has come.
    pub fn take(&mut self, arrived: Arrived, inlet: &mut Inlet<'_>) {
        match arrived {
            Arrived::Reply(None) | Arrived::Done(_, None) => {}
            Arrived::Reply(Some(reply)) => {
                self.questions.take(reply, &mut |answer| inlet.apply(Input::Answer(answer)));
            }
            Arrived::Done(topic, Some(Done { answer, warning, .. })) => {
                inlet.apply(Input::Answer(answer));
                if let Some(warning) = self.errand(topic).and_then(|errand| errand.warns(warning)) {
                    warn!("{warning}");
                }
            }
            Arrived::Looks(looks) => {
                for look in looks {
                    inlet.apply(Input::Counters(look));
                }
            }
        }
    }

    /// The trace ends soon: answers are wanted without a pause.
    pub const fn hurry(&mut self) {
        self.hints.hurry();
        self.ports.hurry();
    }

    /// The next survey is wanted without a pause.
    pub const fn hurry_survey(&mut self) {
        self.survey.hurry();
    }

    /// Whether the host is surveyed.
    pub const fn surveys(&self) -> bool {
        self.surveyor.is_some()
    }

    /// Whether a survey is under way.
    pub const fn is_surveying(&self) -> bool {
        self.survey.is_under_way()
    }

    /// Makes the search for hints useless.
    pub fn end_hints(&self) {
        self.reading.end();
    }

    /// Ends the wait of records: unanswered questions stay unknown.
    pub fn end(&mut self) {
        self.questions.end();
    }
}
