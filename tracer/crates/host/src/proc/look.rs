//! Lets a reader look at a process, because the look may hang ([`crate::readers`]): the reader first reads the files
//! that cannot hang, and reports those if the rest is late.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use super::{
    process::{Begun, ProcessIdentity},
    root::ProcRoot,
};
use tracer_stream::ProcessFacts;

use crate::readers::Readers;

/// The result of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost all of them are seen")]
pub enum Look {
    /// The process; [`ProcessFacts::late`] marks facts that did not come in time.
    Seen(ProcessIdentity, ProcessFacts),
    /// The process does not exist.
    Gone,
    /// Nothing came in time.
    Late,
}

type Tell = Box<dyn FnOnce(Look) + Send>;

/// A look in progress, or done.
#[derive(Clone)]
pub struct Asked(Arc<Mutex<Answer>>);

struct Answer {
    /// The result so far.
    known: Look,
    /// `None`: the result was passed on.
    tell: Option<Tell>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know(&self, look: Look) {
        self.lock().known = look;
    }

    fn tell(&self, look: Look) {
        let tell = self.lock().tell.take();
        if let Some(tell) = tell {
            tell(look);
        }
    }

    /// Passes on what is known by now, if that has not happened yet.
    pub fn hurry(&self) {
        let known = self.lock().known.clone();
        self.tell(known);
    }
}

/// Looks at process `pid`, and calls `tell` once, from any thread: when everything is read, or with the partial result
/// when the look is late.
pub fn ask(readers: &Readers, root: &ProcRoot, pid: u32, tell: impl FnOnce(Look) + Send + 'static) -> Asked {
    let asked = Asked(Arc::new(Mutex::new(Answer { known: Look::Late, tell: Some(Box::new(tell)) })));
    let (its, late) = (asked.clone(), asked.clone());
    let (root, may_hang) = (root.clone(), readers.clone());
    readers.ask(
        move || {
            let Some(begun) = Begun::read(&root, pid) else { return its.tell(Look::Gone) };
            let (identity, facts) = begun.late();
            its.know(Look::Seen(identity, facts));
            let Some(_reading) = may_hang.read_memory(pid) else { return its.hurry() };
            // A copy of the handle would keep the threads alive while this hangs.
            drop(may_hang);
            its.tell(begun.arguments().map_or(Look::Gone, |(identity, facts)| Look::Seen(identity, facts)));
        },
        move || late.hurry(),
    );
    asked
}

/// Looks at all of `pids`; waits until the last of them is done or late.
#[must_use]
pub fn all(readers: &Readers, root: &ProcRoot, pids: impl IntoIterator<Item = u32>) -> HashMap<u32, Look> {
    let (send, looks) = mpsc::channel();
    for pid in pids {
        let send = send.clone();
        ask(readers, root, pid, move |look| {
            // The receiver waits for all of them.
            let _ = send.send((pid, look));
        });
    }
    drop(send);
    looks.into_iter().collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::ffi::CString;

    use super::*;
    use tracer_privilege::Sandbox;

    use crate::proc::tree::Tree;

    /// Makes a process whose arguments are a pipe without a writer: opening it blocks.
    fn stuck(tree: &Tree, pid: u32) {
        tree.process(pid, "stuck", 4711);
        let path = tree.path().join(format!("{pid}/cmdline"));
        let _ = std::fs::remove_file(&path);
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    }

    fn free(tree: &Tree, pid: u32) {
        std::fs::write(tree.path().join(format!("{pid}/cmdline")), "").unwrap();
    }

    #[test]
    fn a_process_that_does_not_answer_costs_only_its_arguments() {
        let tree = Tree::new();
        for pid in 1..=9 {
            tree.process(pid, "quick", 4711);
        }
        stuck(&tree, 10);
        let root = ProcRoot::new(tree.path());
        let readers = Readers::start(Sandbox::Off).unwrap();
        let looks = all(&readers, &root, 1..=11);
        assert_eq!(looks.len(), 11);
        for pid in 1..=9 {
            assert!(matches!(&looks[&pid], Look::Seen(_, facts) if !facts.late), "{:?}", looks[&pid]);
        }
        assert!(
            matches!(&looks[&10], Look::Seen(identity, facts) if facts.late && identity.comm == "stuck"),
            "{:?}",
            looks[&10]
        );
        assert_eq!(looks[&11], Look::Gone);
        free(&tree, 10);
    }

    #[test]
    fn what_is_known_is_told_at_once_to_who_cannot_wait() {
        let tree = Tree::new();
        stuck(&tree, 7);
        let root = ProcRoot::new(tree.path());
        let readers = Readers::start(Sandbox::Off).unwrap();
        let (send, looks) = mpsc::channel();
        let asked = ask(&readers, &root, 7, move |look| send.send(look).unwrap());
        while asked.lock().known == Look::Late {
            std::thread::yield_now();
        }
        asked.hurry();
        assert!(matches!(looks.recv().unwrap(), Look::Seen(_, facts) if facts.late && facts.cmdline.is_none()));
        // Once only.
        free(&tree, 7);
        assert!(looks.recv().is_err());
    }
}
