//! Names call sites and kernel stacks: a thread that begins with the first drop reads the kernel's symbols, and answers.

use std::{collections::HashSet, sync::mpsc, thread, time::Duration};

use log::warn;
use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use super::questions::Reply;
use crate::{
    core::question::Answer,
    kernel::{stacks::Stacks, symbols::KernelSymbols},
};

/// How long records may wait for the thread. Reading the symbols is work that no process can prolong, but a lack of
/// processors can: tens of milliseconds, twenty times that on an emulated machine, and seconds beside a load without the
/// right to a higher priority.
const MOST_WAITED: Duration = Duration::from_secs(10);

/// A thing with a name in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nameless {
    /// The call at an address.
    Call(u64),
    /// The stack with this number, from the call at this location outwards.
    Stack(u16, u64),
}

impl Nameless {
    /// The answer that it has no name.
    const fn unknown(self) -> Answer {
        match self {
            Self::Call(address) => Answer::Symbol(address, None),
            Self::Stack(number, location) => Answer::Stack { number, location, frames: None },
        }
    }
}

/// What the names come from.
#[derive(Debug)]
pub struct Sources {
    /// The kernel's symbols.
    pub symbols: KernelSymbols,
    /// `None` if unwanted.
    pub stacks: Option<Stacks>,
}

impl Sources {
    /// Answers until the trace has ended.
    fn answer(self, asked: &mpsc::Receiver<Nameless>, replies: &UnboundedSender<Reply>) {
        let symbols = self.symbols.read();
        for nameless in asked {
            let answer = match nameless {
                Nameless::Call(address) => Answer::Symbol(address, symbols.name(address)),
                Nameless::Stack(number, location) => {
                    let frames = self.stacks.as_ref().and_then(|all| all.names(number, location, &symbols));
                    Answer::Stack { number, location, frames }
                }
            };
            if replies.send(Reply::Named(nameless, answer)).is_err() {
                break;
            }
        }
    }
}

/// The open questions about names.
#[derive(Debug)]
pub struct Naming {
    /// Until the thread begins.
    sources: Option<Sources>,
    thread: Option<mpsc::Sender<Nameless>>,
    asked: HashSet<Nameless>,
    /// Since when the thread owes an answer.
    owes: Option<Instant>,
}

impl Naming {
    /// No questions, and no thread.
    pub fn new(sources: Option<Sources>) -> Self {
        Self { sources, thread: None, asked: HashSet::new(), owes: None }
    }

    /// Starts the thread, if that was not done: names will be needed soon.
    pub fn begin(&mut self, replies: &UnboundedSender<Reply>) {
        let Some(sources) = self.sources.take() else { return };
        let (send, asked) = mpsc::channel();
        let replies = replies.clone();
        match thread::Builder::new().name("symbols".to_owned()).spawn(move || sources.answer(&asked, &replies)) {
            Ok(_) => self.thread = Some(send),
            Err(error) => warn!("drops do not name their call sites: cannot start a thread: {error}"),
        }
    }

    /// Asks for a name, unless that was done. Returns the end of the wait for it; `None`: the record need not wait,
    /// because the thread is late (its answer still counts when it comes), or because there is none, which `apply`
    /// learns.
    pub fn ask(
        &mut self,
        nameless: Nameless,
        replies: &UnboundedSender<Reply>,
        apply: &mut dyn FnMut(Answer),
    ) -> Option<Instant> {
        self.begin(replies);
        if self.asked.insert(nameless) {
            if self.thread.as_ref().is_none_or(|thread| thread.send(nameless).is_err()) {
                self.asked.remove(&nameless);
                apply(nameless.unknown());
                return None;
            }
            self.owes.get_or_insert_with(Instant::now);
        }
        self.due()
    }

    /// Until when a record waits for a name; `None`: none does.
    pub fn due(&self) -> Option<Instant> {
        self.owes.map(|since| since + MOST_WAITED).filter(|until| Instant::now() < *until)
    }

    /// Notes that the thread has answered.
    pub fn answered(&mut self, nameless: Nameless) {
        self.asked.remove(&nameless);
        self.owes = (!self.asked.is_empty()).then(Instant::now);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{fs::File, io::Write as _, os::fd::OwnedFd};

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    const CALL: Nameless = Nameless::Call(0xffff_ffff_8100_0110);
    const OTHER: Nameless = Nameless::Call(0xffff_ffff_8100_0220);
    const TEXT: &[u8] = b"ffffffff81000100 T tcp_v4_rcv\nffffffff81000200 T nft_do_chain\n";

    struct Scene {
        naming: Naming,
        /// Until it is closed, the symbols are not read.
        file: Option<std::io::PipeWriter>,
        send: UnboundedSender<Reply>,
        replies: UnboundedReceiver<Reply>,
        answers: Vec<Answer>,
    }

    impl Scene {
        fn new() -> Self {
            let (reader, writer) = std::io::pipe().unwrap();
            let symbols = KernelSymbols::from(File::from(OwnedFd::from(reader)));
            let (send, replies) = unbounded_channel();
            let naming = Naming::new(Some(Sources { symbols, stacks: None }));
            Self { naming, file: Some(writer), send, replies, answers: Vec::new() }
        }

        fn waits(&mut self, nameless: Nameless) -> bool {
            let answers = &mut self.answers;
            self.naming.ask(nameless, &self.send, &mut |answer| answers.push(answer)).is_some()
        }

        fn provide(&mut self) {
            self.file.take().unwrap().write_all(TEXT).unwrap();
        }

        /// The name in the next reply.
        fn named(&mut self) -> (Nameless, Option<String>) {
            let Some(Reply::Named(nameless, Answer::Symbol(_, name))) = self.replies.blocking_recv() else {
                panic!("no name")
            };
            self.naming.answered(nameless);
            (nameless, name)
        }
    }

    #[test]
    fn a_record_waits_while_the_symbols_are_read_and_the_loop_does_not() {
        let mut scene = Scene::new();
        // Nothing can have been read: the file has no end yet.
        assert!(scene.waits(CALL) && scene.waits(CALL) && scene.waits(OTHER));
        assert!(scene.replies.try_recv().is_err() && scene.answers.is_empty());
        scene.provide();
        assert_eq!(scene.named(), (CALL, Some("tcp_v4_rcv+0x10".into())));
        assert_eq!(scene.named(), (OTHER, Some("nft_do_chain+0x20".into())));
        assert_eq!(scene.naming.owes, None, "each was asked once");
        assert!(scene.waits(Nameless::Call(1)));
        assert_eq!(scene.named(), (Nameless::Call(1), None));
    }

    #[test]
    fn no_record_waits_for_a_late_thread_whose_answer_still_counts() {
        let mut scene = Scene::new();
        assert!(scene.waits(CALL));
        scene.naming.owes = Instant::now().checked_sub(MOST_WAITED);
        assert!(!scene.waits(CALL) && !scene.waits(OTHER));
        assert!(scene.answers.is_empty(), "not known to have no name");
        scene.provide();
        assert_eq!(scene.named().0, CALL);
        assert!(scene.waits(OTHER), "the thread works again");
        assert_eq!(scene.named(), (OTHER, Some("nft_do_chain+0x20".into())));
    }

    #[test]
    fn without_a_thread_there_are_no_names() {
        let mut scene = Scene::new();
        scene.naming = Naming::new(None);
        assert!(!scene.waits(CALL) && !scene.waits(Nameless::Stack(1, 2)));
        let [Answer::Symbol(_, None), Answer::Stack { number: 1, location: 2, frames: None }] = &scene.answers[..]
        else {
            panic!("{:?}", scene.answers)
        };
    }
}
