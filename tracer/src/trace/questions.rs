//! The loop's questions to /proc, whose answers may take as long as a process wants. A record waits for its answer, and
//! the records behind it wait with it, but no longer than an answer may take; and a late process does not make others
//! wait again.

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

use crate::{
    core::{self, Core, Gate, Input},
    findings::Facts,
    proc::{
        fd::SocketHolders,
        look::{self, Asked, Look},
        netns,
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

/// An answer from a reader.
#[derive(Debug)]
pub enum Answer {
    /// A look at a process.
    Process(u32, Key, Look),
    /// The holders of the sockets of this host, one of which was asked for; `None`: unknown so far.
    Holders(u64, Option<SocketHolders>),
    /// The limits of this host's own namespace.
    Facts(Facts),
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
    send: UnboundedSender<Answer>,
    answers: UnboundedReceiver<Answer>,
    processes: HashMap<Key, Process>,
    /// Processes whose exec record waits.
    executed: HashSet<Key>,
    last: u32,
    search: Option<Search>,
    facts_asked: bool,
    facts: Option<Facts>,
    /// Until this time no record waits long.
    hurry: Option<Instant>,
    /// When the current wait ends.
    until: Option<Instant>,
    /// The trace ends: nothing waits any more.
    over: bool,
}

impl Questions {
    /// No open questions.
    #[must_use]
    pub fn new(readers: Readers, root: ProcRoot) -> Self {
        let (send, answers) = unbounded_channel();
        Self {
            readers,
            root,
            send,
            answers,
            processes: HashMap::new(),
            executed: HashSet::new(),
            last: 0,
            search: None,
            facts_asked: false,
            facts: None,
            hurry: None,
            until: None,
            over: false,
        }
    }

    /// The readers of /proc.
    #[must_use]
    pub const fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Asks /proc about a process, unless that was asked before.
    pub fn ask(&mut self, key: Key) {
        if self.processes.contains_key(&key) {
            return;
        }
        self.last = self.last.wrapping_add(1);
        let (number, send) = (self.last, self.send.clone());
        let asked = look::ask(&self.readers, &self.root, key.0, move |look| {
            // The receiver is gone if the trace ended first.
            let _ = send.send(Answer::Process(number, key, look));
        });
        self.processes.insert(key, Process { number, since: Instant::now(), asked, look: None });
    }

    /// Asks ahead for a record that waits behind others.
    pub fn ask_ahead<G: Gate>(&mut self, record: &Record<'_>, core: &Core<G>) {
        if let Record::Exec(record) = record {
            self.executed.insert((record.pid, record.start_ns));
        } else if let Some(opener) = core::opener(record)
            && (self.executed.contains(&opener) || core.wants(record).is_some())
        {
            self.ask(opener);
        }
    }

    /// Passes the answer about a process on to the core; [`Poll::Pending`]: not yet.
    pub fn process<G: Gate>(&mut self, key: Key, core: &mut Core<G>) -> Poll<()> {
        self.ask(key);
        let Some(question) = self.processes.get(&key) else { return Poll::Ready(()) };
        // A process that is looked at again, because its cgroup may have changed, is known without the answer.
        let known = core.knows(key.0, key.1);
        if question.look.is_none() {
            let hurries = known || self.hurry.is_some_and(|until| Instant::now() < until);
            let until = question.since + if hurries { SHORT } else { MOST_WAITED };
            if !self.over && Instant::now() < until {
                self.until = Some(until);
                return Poll::Pending;
            }
            // Known answers are taken at once.
            question.asked.hurry();
            while let Ok(answer) = self.answers.try_recv() {
                self.take(answer, core);
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
        let nothing = look == Look::Late;
        let process = snapshot::process_snapshot(pid, look).filter(|process| process.is_about(start_ns));
        // Without a start in the record every look is a first one.
        let settled = process.is_none() || start_ns != 0;
        if let Some(process) = process {
            core.apply(Input::Process(process), &mut super::Nowhere);
        }
        if nothing && !known {
            core.apply(Input::LateProcess(pid, start_ns), &mut super::Nowhere);
        } else if settled {
            core.apply(Input::NoProcess(pid, start_ns), &mut super::Nowhere);
        }
        Poll::Ready(())
    }

    /// Passes the holders of a socket on to the core; [`Poll::Pending`]: not yet.
    pub fn holders<G: Gate>(&mut self, inode: u64, core: &mut Core<G>) -> Poll<()> {
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
                    core.apply(Input::Holding(inode, pids.to_vec()), &mut super::Nowhere);
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
            let _ = send.send(Answer::Holders(inode, Some(holders)));
        };
        self.readers.ask(scan, move || {
            let _ = late.send(Answer::Holders(inode, None));
        });
        if !waits {
            return Poll::Ready(());
        }
        self.until = Some(now + DEADLINE);
        Poll::Pending
    }

    /// Asks for the limits of the host's own namespace.
    pub fn ask_facts(&mut self) {
        if std::mem::replace(&mut self.facts_asked, true) {
            return;
        }
        let (root, send) = (self.root.clone(), self.send.clone());
        let read = move || {
            let _ = send.send(Answer::Facts(Facts::read(root.path(), netns::current(&root))));
        };
        // Asked again after this answer.
        self.readers.ask(read, || {});
    }

    /// Waits for an answer, or until the end of the current wait (`None`). Cancel safe.
    pub async fn answered(&mut self) -> Option<Answer> {
        let until = self.until;
        tokio::select! {
            answer = self.answers.recv() => answer,
            () = async { match until { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                self.until = None;
                None
            }
        }
    }

    /// The requested limits, if they came since.
    pub fn facts(&mut self) -> Option<Facts> {
        self.facts.take()
    }

    /// Takes an answer.
    pub fn take<G: Gate>(&mut self, answer: Answer, core: &mut Core<G>) {
        match answer {
            Answer::Process(number, key, look) => {
                if let Some(question) = self.processes.get_mut(&key).filter(|question| question.number == number) {
                    question.look = Some(look);
                }
            }
            Answer::Holders(inode, holders) => {
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
                    core.apply(Input::Holding(inode, pids), &mut super::Nowhere);
                }
            }
            Answer::Facts(facts) => {
                self.facts_asked = false;
                self.facts = Some(facts);
            }
        }
    }

    /// Forgets the questions: nothing waits, so the unused answers are not needed.
    pub fn none_waits(&mut self) {
        self.processes.clear();
        self.executed.clear();
        self.until = None;
    }

    /// Ends the trace's questions: unanswered ones stay unknown.
    pub fn end(&mut self) {
        self.over = true;
    }
}
