//! Correlation, findings and counts together.

use tracer_common::decode::Record;
use tracer_stream::{
    Sink,
    summary::{Incomplete, Summary},
};

use super::{
    Correlation, Gate, Input, TraceAccount,
    question::{Answer, Question, Topic},
};
use crate::{causes::Causes, shown::Shown};

/// The core: what it says follows from its inputs alone.
pub struct Core<G> {
    correlation: Correlation<G>,
    shown: Shown<G>,
    account: TraceAccount,
}

impl<G: Gate + Clone> Core<G> {
    /// A core without inputs. It shows what `gate` selects, and at most `limit` events.
    pub fn new(gate: G, limit: Option<u64>) -> Self {
        Self {
            shown: Shown::new(gate.clone(), limit),
            correlation: Correlation::new(gate),
            account: TraceAccount::default(),
        }
    }

    /// Applies one input and emits the events that follow from it.
    pub fn apply(&mut self, input: Input<Record<'_>>, sink: &mut dyn Sink) {
        // It is large, and of no other use.
        let input = match input {
            Input::Answer(Answer::Survey(survey)) => return self.shown.survey(*survey),
            input => input,
        };
        match &input {
            Input::Answer(Answer::Facts(facts)) => self.shown.set_facts(*facts),
            Input::Diagnosis { boot_ns } => self.shown.diagnose(*boot_ns),
            Input::Hooked { accept } => self.shown.hooked(*accept),
            Input::Account(account) => self.account = TraceAccount::clone(account),
            _ => {}
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
        if topic == Topic::Survey { self.shown.causes().is_some() } else { self.correlation.has_question(topic) }
    }

    /// The current question of this topic. Ask for the next one once this one is answered.
    pub fn question(&mut self, topic: Topic) -> Option<Question> {
        if topic == Topic::Survey {
            return self.has_question(topic).then_some(Question::Survey);
        }
        self.correlation.question(topic)
    }

    /// The evidence and the causes so far, if they are wanted ([`Input::Diagnosis`]).
    #[must_use]
    pub fn causes(&self) -> Option<&Causes> {
        self.shown.causes()
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

    /// The summary, once the trace has ended.
    #[must_use]
    pub fn into_summary(self) -> Summary {
        let filtered = self.filtered();
        let account = self.account.into_summary();
        let incomplete = Incomplete {
            findings_untold: self.shown.findings_untold(),
            hints_given_up: self.correlation.hints_given_up(),
            ..account.incomplete
        };
        let findings = self.shown.findings();
        let counted = self.shown.into_tally().finish();
        Summary {
            events: counted.events,
            connections: counted.connections,
            unanswered: counted.unanswered,
            verdicts: counted.verdicts,
            drops: counted.drops,
            discards: counted.discards,
            processes: counted.processes,
            destinations: counted.destinations,
            incomplete,
            filtered: account.filtered + filtered,
            findings,
            ..account
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashSet;

    use tracer_common::{
        record::{RecordKind as K, RecordRole as R},
        tcp::TcpState,
    };
    use tracer_stream::{
        Container, Event, Hint, ProcessFacts,
        summary::{Account, Cost, ProgramCost, RingUse},
    };
    use tracer_tables::reasons::Reasons;

    use super::{
        super::{
            Holders, Lost, NamespaceChange, Opened, ProcessSnapshot, Seed, SeedSocket,
            discards::Counting,
            forms::{Pack, Packed},
            question::Found,
            tests::{Only, Said, close, record, tuple},
        },
        *,
    };
    use crate::findings::Facts;

    /// Counts events by kind.
    #[derive(Default)]
    struct Counted(Vec<&'static str>);

    impl Sink for Counted {
        fn event(&mut self, event: &Event<'_>) {
            self.0.push(event.kind.name());
        }
    }

    /// Some of every kind: records, a snapshot, answers, losses, the end.
    fn all_inputs() -> Vec<Input<Packed>> {
        let process = |pid| ProcessSnapshot {
            pid,
            start_ns: pid.into(),
            comm: format!("p\u{1b}{pid}"),
            uid: Some(7),
            real_uid: None,
            facts: ProcessFacts {
                exe: Some("/bin/p".into()),
                container: Some(Container { runtime: "podman", id: "abc".into(), claimed: true }),
                ..ProcessFacts::default()
            },
        };
        let socket = |lport, state, pid| SeedSocket {
            tuple: tuple(lport, if state == TcpState::Listen { 0 } else { 443 }),
            state,
            v6only: None,
            inode: lport.into(),
            holders: vec![pid],
        };
        let seeds = (1..9).map(|pid| socket(4000 + pid, TcpState::Established, pid.into()));
        let seed = Seed {
            attached_ns: 1,
            before: vec![socket(22, TcpState::Listen, 3)],
            sockets: seeds.chain([socket(22, TcpState::Listen, 3)]).collect(),
            opened_since: vec![Opened { tuple: tuple(4001, 443), listener: None }],
        };
        let mut inputs = vec![
            Input::Hooked { accept: false },
            Input::Packets { reasons: Reasons::default(), drops: true },
            Input::Counting(Counting { drops: true, accepts: false, began_ns: 1 }),
        ];
        inputs.extend((1..9).map(|pid| Input::Process(process(pid))));
        inputs.push(Input::Seed(seed));
        inputs.push(Input::Answer(Answer::Facts(Facts { netns: Some(7), ..Facts::default() })));
        for n in 0..20 {
            let (id, at, pid) = (2 + 2 * n, 10 + n, 5 + (n % 2) as u32);
            let to = tuple(5000 + n as u16, 80);
            inputs.push(Input::Answer(Answer::Process { pid, start_ns: 0, found: Found::Late }));
            let connect = record(K::Connect, at, id, R::Client, 0, pid, to);
            inputs.push(Input::Record(Record::Socket(K::Connect, &connect).pack()));
            let closed = close(record(K::Close, at, id, R::Client, 0, pid, to), TcpState::SynSent, libc::ECONNREFUSED);
            inputs.push(Input::Record(Record::Close(&closed).pack()));
        }
        inputs.push(Input::Answer(Answer::Owners {
            processes: vec![process(9)],
            holders: Holders { began_ns: 60, sockets: vec![socket(80, TcpState::Listen, 9)] },
        }));
        inputs.push(Input::Answer(Answer::Symbol(7, Some("tcp_v4_rcv+0x1".into()))));
        inputs.push(Input::Answer(Answer::Hints(vec![(1, Some(Hint::of("x"))), (2, None)])));
        inputs.push(Input::Namespace(NamespaceChange::Now(0, 5)));
        inputs.push(Input::Settled);
        inputs.push(Input::Reconciled);
        inputs.push(Input::Lost { boot_ns: 90, class: "drop", count: 3 });
        inputs.push(Input::End { boot_ns: 99, followed: Some(HashSet::from([2, 4])) });
        inputs.push(Input::Account(Box::new(TraceAccount {
            duration_ns: 98,
            lost: Lost { drop: 3, ..Lost::default() },
            incomplete: Incomplete { calls_unnoted: 2, ..Incomplete::default() },
            filtered: 4,
            cost: Cost {
                programs: vec![ProgramCost { name: "p".into(), run_ns: None, runs: Some(u64::MAX), missed: Some(1) }],
                // Seconds of which the nearest number in binary is easily missed.
                cpu_seconds: 11_264_371.0 / 1e6,
                peak_rss_bytes: 5,
            },
            rings: vec![RingUse { name: "events".into(), bytes: 8, highest: 7, taken: None, received: 6 }],
            audit: Some(vec![Account { hook: "kfree_skb".into(), happened: 9, exact: true, ..Account::default() }]),
            unaudited: Some(vec![("connect".into(), "why".into())]),
            backends: vec![("connect".into(), "fentry".into())],
            degraded: vec![("no_btf".into(), "why".into())],
        })));
        inputs
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
        let kernel = TraceAccount { filtered: 4, lost: Lost { drop: 3, ..Lost::default() }, ..TraceAccount::default() };
        core.apply(Input::Account(Box::new(kernel)), &mut sink);
        let summary = core.into_summary();
        assert_eq!((summary.filtered, &*summary.lost), (4, &[("drop", 3)][..]), "of the kernel side");
        let count = |name: &str| sink.0.iter().filter(|kind| **kind == name).count() as u64;
        for (name, counted) in &summary.events {
            assert_eq!(count(name), *counted, "{name}");
        }
        assert_eq!(summary.events.iter().map(|(_, count)| count).sum::<u64>(), sink.0.len() as u64);
        assert_eq!((summary.connections, count("close")), (20, 20));
        assert_eq!(summary.verdicts.iter().map(|(_, count)| count).sum::<u64>(), 20);
        assert_eq!(count("finding"), summary.findings.len() as u64);
        assert!(!summary.findings.is_empty(), "ten refused connections");
    }

    #[test]
    fn the_same_inputs_written_down_say_the_same() {
        let (mut core, mut said, mut tape) = (Core::new(Only(None), None), Said::default(), Vec::new());
        for input in all_inputs() {
            tape.push(serde_json::to_string(&input).unwrap());
            input.open(|input| core.apply(input, &mut said)).unwrap();
        }
        let summary = core.into_summary();
        assert!(said.0.len() > 20 && !summary.findings.is_empty());
        for _ in 0..8 {
            let (mut again, mut said_again) = (Core::new(Only(None), None), Said::default());
            for line in &tape {
                let input: Input<Packed> = serde_json::from_str(line).unwrap();
                input.open(|input| again.apply(input, &mut said_again)).unwrap();
            }
            assert_eq!(said_again.0, said.0);
            assert_eq!(again.into_summary(), summary);
        }
    }

    #[test]
    fn beyond_the_limit_nothing_is_said_and_nothing_counted() {
        let (mut core, mut sink) = (Core::new(Only(None), Some(7)), Counted::default());
        inputs(&mut core, 10, &mut sink);
        assert!(core.is_full());
        assert_eq!(sink.0.len(), 7);
        let counted = core.into_summary();
        assert_eq!(counted.events.iter().map(|(_, count)| count).sum::<u64>(), 7);
    }
}
