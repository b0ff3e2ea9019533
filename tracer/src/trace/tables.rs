//! Finds the hints of drops: one round at a time, and rarely enough to be cheap. It reads nothing while no drop needs a
//! hint.

mod attached;
mod memory;
mod read;
mod round;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use log::debug;

use self::{memory::Memory, round::Round};
use super::errand::Done;
use crate::{
    core::{
        packets::{Asked, Explained},
        question::Answer,
    },
    proc::root::ProcRoot,
};

/// The shortest pause between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause is also at least this multiple of the last round's processor time.
const SHARE: u32 = 50;
/// The longest pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a round that took this processor time.
pub fn pause(took: Duration) -> Duration {
    (took * SHARE).clamp(PAUSE, LONGEST_PAUSE)
}

/// The result of one round.
#[derive(Debug, Default)]
pub struct Found {
    answers: Vec<Explained>,
    /// The reason for missing answers.
    refused: Option<String>,
    /// Processor time.
    took: Duration,
}

/// The rounds.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The known state of the namespaces; it belongs to the other thread.
    memory: Arc<Mutex<Memory>>,
    /// The trace has ended: no answer is needed any more.
    ended: Arc<AtomicBool>,
}

impl Reading {
    /// One round, in the other thread.
    pub fn read(&self, root: &ProcRoot, wanted: Vec<Asked>) -> Done {
        // A round that panicked has reported it; its memory is consistent.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = || self.ended.load(Ordering::Relaxed);
        let Found { answers, refused, took } = Round::new(root, &ended).run(wanted, &mut memory);
        debug!("read the tables of namespaces in {took:?}");
        let warning = refused.map(|refused| format!("drops by netfilter do not name the rule: {refused}"));
        Done { answer: Answer::Hints(answers), cpu: Some(took), warning }
    }

    /// Makes the current round useless.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
