//! Finds the hints of drops: in another thread, one round at a time, and rarely enough to be cheap. It reads nothing
//! while no drop needs a hint. The loop only passes on questions and takes answers.

mod attached;
mod memory;
mod read;
mod round;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use log::{debug, warn};
use tokio::sync::oneshot;

use self::{memory::Memory, round::Round};
use super::namespaces::Namespaces;
use crate::{
    core::{Core, Gate, Input, packets::Answer},
    proc::root::ProcRoot,
    stream::Sink,
};

/// The shortest pause between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause is also at least this multiple of the last round's processor time.
const SHARE: u32 = 50;
/// The longest pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The result of one round.
#[derive(Debug, Default)]
pub struct Found {
    answers: Vec<Answer>,
    /// The reason for missing answers.
    refused: Option<String>,
    /// Processor time.
    took: Duration,
}

/// The rounds.
#[derive(Debug, Default)]
pub struct Reading {
    under_way: Option<oneshot::Receiver<Found>>,
    not_before: Option<Instant>,
    /// The known state of the namespaces; it belongs to the other thread.
    memory: Arc<Mutex<Memory>>,
    /// The trace has ended: no answer is needed any more.
    ended: Arc<AtomicBool>,
    /// The warning about unreadable rules was issued.
    warned: bool,
}

impl Reading {
    /// Starts a round, if the core wants hints and the last round is long enough ago.
    pub fn start<G: Gate>(&mut self, core: &Core<G>, root: &ProcRoot, namespaces: &Namespaces) {
        if self.under_way.is_some()
            || !core.waits_for_hints()
            || self.not_before.is_some_and(|instant| Instant::now() < instant)
        {
            return;
        }
        let wanted = core.wanted_hints();
        let (send, receive) = oneshot::channel();
        let (root, memory, ended) = (root.clone(), Arc::clone(&self.memory), Arc::clone(&self.ended));
        namespaces.give(move || {
            // A round that panicked has reported it; its memory is consistent.
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = || ended.load(Ordering::Relaxed);
            // The receiver is gone if the trace ended first.
            let _ = send.send(Round::new(&root, &ended).run(wanted, &mut memory));
        });
        self.under_way = Some(receive);
    }

    /// Allows the next round to start at once.
    pub fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Makes the current round useless.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Waits for the current round, or for the time of the next one (`None`) if `wanted`; else forever. Cancel safe.
    pub async fn done(&mut self, wanted: bool) -> Option<Found> {
        match &mut self.under_way {
            Some(receive) => Some(receive.await.unwrap_or_default()),
            None if wanted => {
                tokio::time::sleep_until(self.not_before.unwrap_or_else(Instant::now).into()).await;
                None
            }
            None => std::future::pending().await,
        }
    }

    /// Passes on the result of [`Reading::done`].
    pub fn tell<G: Gate>(&mut self, found: Option<Found>, core: &mut Core<G>, sink: &mut dyn Sink) {
        let Some(Found { answers, refused, took }) = found else { return };
        self.under_way = None;
        core.apply(Input::Hints(answers), sink);
        self.not_before = Some(Instant::now() + (took * SHARE).clamp(PAUSE, LONGEST_PAUSE));
        debug!("read the tables of namespaces in {took:?}");
        if let Some(refused) = refused.filter(|_| !self.warned) {
            self.warned = true;
            warn!("drops by netfilter do not name the rule: {refused}");
        }
    }
}
