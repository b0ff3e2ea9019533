//! The questions that records wait for, whose answers may take as long as a process wants. A record waits for its
//! answer, and the records behind it wait with it, but no longer than an answer may take; and a late process does not
//! make others wait again.

use std::{
    collections::{HashMap, HashSet},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until},
};

use tracer_common::decode::Record;

use super::naming::{Nameless, Naming, Sources};
use crate::{
    core::{
        self,
        question::{Answer, Found, Question},
    },
    proc::{
        fd::SocketHolders,
        look::{self, Asked, Look},
        root::ProcRoot,
    },
    readers::{DEADLINE, Readers},
    snapshot,
};

/// Least interval between searches of /proc for the holders of a socket: a search takes a while.
const SEARCH: Duration = Duration::from_secs(1);
/// The interval is also at least this multiple of the last search's duration.
const SEARCH_SHARE: u32 = 10;
/// Sockets whose holders are kept until the next search: 18 bytes each.
const MOST_FOUND: usize = 65_536;
/// After a late answer: for this time no record waits longer than [`SHORT`].
const HURRY: Duration = Duration::from_secs(1);
/// The longest wait where processors are so busy that readers get none. The watch of a reader that hangs reports much
/// earlier ([`DEADLINE`]).
const MOST_WAITED: Duration = Duration::from_secs(1);
/// The wait during that time; healthy processes answer within it.
const SHORT: Duration = Duration::from_millis(5);

/// A process: its number, and when it started.
type Key = (u32, u64);

/// A reply from a reader.
#[derive(Debug)]
pub enum Reply {
    /// A look at a process.
    Process(u32, Key, Look),
    /// The holders of the sockets of this host, one of which was asked for; `None`: unknown so far.
    Holders(u64, Option<SocketHolders>),
    /// The name of a call site or a stack.
    Named(Nameless, Answer),
}

/// A question about a process.
#[derive(Debug)]
struct Process {
    number: u32,
    since: Instant,
    asked: Asked,
    look: Option<Look>,
}

/// The last search for the holder of a socket. It passes all sockets, so it has looked for the others, too.
#[derive(Debug)]
struct Search {
    inode: u64,
    began: Instant,
    took: Option<Duration>,
    /// Its result, if it is small enough to be kept.
    found: SocketHolders,
    /// Records wait for it.
    waits: bool,
}

/// The open questions.
#[derive(Debug)]
pub struct Questions {
    readers: Readers,
    root: ProcRoot,
    send: UnboundedSender<Reply>,
    replies: UnboundedReceiver<Reply>,
    processes: HashMap<Key, Process>,
    /// Processes whose exec record waits.
    executed: HashSet<Key>,
    last: u32,
    search: Option<Search>,
    naming: Naming,
    /// Until this time no record waits long.
    hurry: Option<Instant>,
    /// When the current wait ends.
    until: Option<Instant>,
    /// The trace ends: nothing waits any more.
    over: bool,
}

impl Questions {
    /// No open questions. `names`: what names in the kernel come from, if packets are traced.
    #[must_use]
    pub fn new(readers: Readers, root: ProcRoot, names: Option<Sources>) -> Self {
        let (send, replies) = unbounded_channel();
        Self {
            readers,
            root,
            send,
            replies,
            processes: HashMap::new(),
            executed: HashSet::new(),
            last: 0,
            search: None,
            naming: Naming::new(names),
            hurry: None,
            until: None,
            over: false,
        }
    }

    /// Puts a question that a record waits for, and passes the answer to `apply`; [`Poll::Pending`]: not yet.
    pub fn put(&mut self, question: &Question, apply: &mut dyn FnMut(Answer)) -> Poll<()> {
        match *question {
            Question::Process { pid, start_ns, known } => self.process((pid, start_ns), known, apply),
            Question::Holding(inode) => self.holders(inode, apply),
            Question::Symbol(address) => self.name(Nameless::Call(address), apply),
            Question::Stack { number, location } => self.name(Nameless::Stack(number, location), apply),
            // No record waits for the others.
            _ => Poll::Ready(()),
        }
    }

    /// Asks /proc about a process, unless that was asked before.
    fn ask(&mut self, key: Key) {
        if self.processes.contains_key(&key) {
            return;
        }
        self.last = self.last.wrapping_add(1);
        let (number, send) = (self.last, self.send.clone());
        let asked = look::ask(&self.readers, &self.root, key.0, move |look| {
            // The receiver is gone if the trace ended first.
            let _ = send.send(Reply::Process(number, key, look));
        });
        self.processes.insert(key, Process { number, since: Instant::now(), asked, look: None });
    }

    /// Asks ahead for a record that waits behind others; `before`: whether it has a question by now.
    pub fn ask_ahead(&mut self, record: &Record<'_>, before: impl FnOnce(&Record<'_>) -> bool) {
        if let Record::Exec(record) = record {
            self.executed.insert((record.pid, record.start_ns));
        } else if let Some(opener) = core::opener(record)
            && (self.executed.contains(&opener) || before(record))
        {
            self.ask(opener);
        }
    }

    /// `known`: the core can do without the answer.
    fn process(&mut self, key: Key, known: bool, apply: &mut dyn FnMut(Answer)) -> Poll<()> {
        self.ask(key);
        let Some(question) = self.processes.get(&key) else { return Poll::Ready(()) };
        if question.look.is_none() {
            let hurries = known || self.hurry.is_some_and(|until| Instant::now() < until);
            let until = question.since + if hurries { SHORT } else { MOST_WAITED };
            if !self.over && Instant::now() < until {
                self.until = Some(until);
                return Poll::Pending;
            }
            // Known answers are taken at once.
            question.asked.hurry();
            while let Ok(reply) = self.replies.try_recv() {
                self.take(reply, apply);
            }
        }
        let Some(question) = self.processes.remove(&key) else { return Poll::Ready(()) };
        let look = question.look.unwrap_or(Look::Late);
        let (pid, start_ns) = key;
        let late = match &look {
            Look::Seen(_, facts) => facts.late,
            Look::Gone => false,
            Look::Late => true,
        };
        if late && !known && question.since.elapsed() > SHORT {
            self.hurry = Some(Instant::now() + HURRY);
        }
        let found = if look == Look::Late {
            Found::Late
        } else {
            snapshot::process_snapshot(pid, look).map_or(Found::Gone, Found::Seen)
        };
        apply(Answer::Process { pid, start_ns, found });
        Poll::Ready(())
    }

    fn holders(&mut self, inode: u64, apply: &mut dyn FnMut(Answer)) -> Poll<()> {
        let now = Instant::now();
        if let Some(search) = &mut self.search {
            if search.waits && !self.over && now < search.began + DEADLINE {
                self.until = Some(search.began + DEADLINE);
                return Poll::Pending;
            }
            search.waits = false;
            let pause = search.took.map_or(SEARCH, |took| SEARCH.max(took * SEARCH_SHARE));
            if search.took.is_none() || now < search.began + pause {
                let pids = search.found.holders(inode);
                if !pids.is_empty() {
                    apply(Answer::Holding(inode, pids.to_vec()));
                }
                return Poll::Ready(());
            }
        }
        // A search that takes longer than records may wait serves later records.
        let waits = !self.over && self.search.as_ref().is_none_or(|last| last.took.is_some_and(|took| took < DEADLINE));
        self.search = Some(Search { inode, began: now, took: None, found: SocketHolders::default(), waits });
        let (root, send, late) = (self.root.clone(), self.send.clone(), self.send.clone());
        let scan = move || {
            let (holders, _) = SocketHolders::scan(&root, None);
            let _ = send.send(Reply::Holders(inode, Some(holders)));
        };
        self.readers.ask(scan, move || {
            let _ = late.send(Reply::Holders(inode, None));
        });
        if !waits {
            return Poll::Ready(());
        }
        self.until = Some(now + DEADLINE);
        Poll::Pending
    }

    fn name(&mut self, nameless: Nameless, apply: &mut dyn FnMut(Answer)) -> Poll<()> {
        match self.naming.ask(nameless, &self.send, apply) {
            // At the end of the trace, too: only a lack of processors makes it long.
            Some(until) => {
                self.until = Some(until);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// Prepares for questions about names: they will come soon.
    pub fn prepare_names(&mut self) {
        self.naming.begin(&self.send);
    }

    /// Until when a record waits for a name.
    pub fn names_due(&self) -> Option<Instant> {
        self.naming.due()
    }

    /// Waits for a reply, or until the end of the current wait (`None`). Cancel safe.
    pub async fn replied(&mut self) -> Option<Reply> {
        let until = self.until;
        tokio::select! {
            reply = self.replies.recv() => reply,
            () = async { match until { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                self.until = None;
                None
            }
        }
    }

    /// Takes a reply.
    pub fn take(&mut self, reply: Reply, apply: &mut dyn FnMut(Answer)) {
        match reply {
            Reply::Process(number, key, look) => {
                if let Some(question) = self.processes.get_mut(&key).filter(|question| question.number == number) {
                    question.look = Some(look);
                }
            }
            Reply::Holders(inode, holders) => {
                let pids = holders.as_ref().map(|holders| holders.holders(inode).to_vec());
                if let Some(search) = self.search.as_mut().filter(|search| search.inode == inode) {
                    search.waits = false;
                    if let Some(holders) = holders {
                        search.took = Some(search.began.elapsed());
                        if holders.len() <= MOST_FOUND {
                            search.found = holders;
                        }
                    }
                }
                if let Some(pids) = pids {
                    apply(Answer::Holding(inode, pids));
                }
            }
            Reply::Named(nameless, answer) => {
                self.naming.answered(nameless);
                apply(answer);
            }
        }
    }

    /// Forgets the questions: nothing waits, so the unused answers are not needed.
    pub fn none_waits(&mut self) {
        self.processes.clear();
        self.executed.clear();
        self.until = None;
    }

    /// Ends the trace's questions about processes: unanswered ones stay unknown.
    pub fn end(&mut self) {
        self.over = true;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::privilege::Sandbox;

    const KEY: Key = (5, 1_000);

    /// Questions to a /proc without processes, whose readers are not listened to unless a test does.
    fn questions() -> Questions {
        Questions::new(Readers::start(Sandbox::Off).unwrap(), ProcRoot::new("/nonexistent"), None)
    }

    fn ask(questions: &mut Questions, known: bool, answers: &mut Vec<Answer>) -> Poll<()> {
        let question = Question::Process { pid: KEY.0, start_ns: KEY.1, known };
        questions.put(&question, &mut |answer| answers.push(answer))
    }

    fn is(answers: &[Answer], late: bool) -> bool {
        matches!(answers, [Answer::Process { pid: 5, start_ns: 1_000, found }]
            if matches!(found, Found::Late) == late && matches!(found, Found::Gone) != late)
    }

    #[test]
    fn a_process_is_asked_about_once_and_its_answer_is_used_once() {
        let (mut questions, mut answers) = (questions(), Vec::new());
        assert!(ask(&mut questions, false, &mut answers).is_pending());
        assert!(ask(&mut questions, false, &mut answers).is_pending());
        assert_eq!((questions.last, questions.processes.len()), (1, 1));
        // The reply to an earlier question about the same process.
        questions.take(Reply::Process(9, KEY, Look::Late), &mut |_| panic!("no answer"));
        assert!(ask(&mut questions, false, &mut answers).is_pending());
        questions.take(Reply::Process(1, KEY, Look::Gone), &mut |_| panic!("the record asks"));
        assert!(ask(&mut questions, false, &mut answers).is_ready());
        assert!(is(&answers, false), "{answers:?}");
        assert!(questions.processes.is_empty());
    }

    #[test]
    fn a_record_waits_until_the_deadline_and_a_known_process_shortly() {
        for (known, waited, waits) in
            [(false, SHORT * 2, true), (true, SHORT * 2, false), (false, MOST_WAITED * 2, false)]
        {
            let (mut questions, mut answers) = (questions(), Vec::new());
            assert!(ask(&mut questions, known, &mut answers).is_pending());
            // No reader has answered.
            let (_, none) = unbounded_channel();
            questions.replies = none;
            questions.processes.get_mut(&KEY).unwrap().since -= waited;
            assert_eq!(ask(&mut questions, known, &mut answers).is_pending(), waits, "{known} {waited:?}");
            assert_eq!(answers.len(), usize::from(!waits));
        }
    }

    #[test]
    fn a_late_answer_makes_later_records_wait_shortly() {
        let (mut questions, mut answers) = (questions(), Vec::new());
        assert!(ask(&mut questions, false, &mut answers).is_pending());
        questions.processes.get_mut(&KEY).unwrap().since -= MOST_WAITED * 2;
        questions.processes.get_mut(&KEY).unwrap().look = Some(Look::Late);
        assert!(ask(&mut questions, false, &mut answers).is_ready());
        assert!(is(&answers, true), "{answers:?}");
        assert!(ask(&mut questions, false, &mut answers).is_pending());
        questions.processes.get_mut(&KEY).unwrap().since -= SHORT * 2;
        assert!(ask(&mut questions, false, &mut answers).is_ready());
    }

    #[test]
    fn at_the_end_no_record_waits() {
        let (mut questions, mut answers) = (questions(), Vec::new());
        assert!(ask(&mut questions, false, &mut answers).is_pending());
        questions.end();
        assert!(ask(&mut questions, false, &mut answers).is_ready());
        assert_eq!(answers.len(), 1);
    }
}
