//! Has the hints of drops found: in another thread, one round at a time, and seldom enough that it costs little.
//! Nothing is read while no drop asks for it. The loop only hands over questions and takes answers.

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

/// Between two rounds there is at least this time,
const PAUSE: Duration = Duration::from_millis(100);
/// and so many times as much as the last one took of a processor,
const SHARE: u32 = 50;
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one round has found.
#[derive(Debug, Default)]
pub struct Found {
    answers: Vec<Answer>,
    /// Why some of it is not there.
    refused: Option<String>,
    /// Time of a processor.
    took: Duration,
}

/// The rounds.
#[derive(Debug, Default)]
pub struct Reading {
    under_way: Option<oneshot::Receiver<Found>>,
    not_before: Option<Instant>,
    /// What is known of the namespaces; the other thread's.
    memory: Arc<Mutex<Memory>>,
    /// Nobody waits any more.
    ended: Arc<AtomicBool>,
    /// It was said that rules cannot be read.
    warned: bool,
}

impl Reading {
    /// Starts a round, if the core wants hints and the last one is long enough ago.
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
            // A round that panicked has told so; what it left in memory is whole.
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = || ended.load(Ordering::Relaxed);
            // The receiver is gone if the trace ended first.
            let _ = send.send(Round::new(&root, &ended).run(wanted, &mut memory));
        });
        self.under_way = Some(receive);
    }

    /// The next one may start.
    pub fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Whatever is under way is of no more use.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Waits for the round that is under way, or for the time of the next one (`None`) if `wanted`;
    /// else for ever. Cancel safe.
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

    /// Hands over what [`Reading::done`] has given.
    pub fn tell<G: Gate>(&mut self, found: Option<Found>, core: &mut Core<G>, sink: &mut dyn Sink) {
        let Some(Found { answers, refused, took }) = found else { return };
        self.under_way = None;
        core.apply(Input::Hints(answers), sink);
        self.not_before = Some(Instant::now() + (took * SHARE).clamp(PAUSE, LONGEST_PAUSE));
        debug!("read the tables of namespaces in {took:?}");
        if let Some(refused) = refused.filter(|_| !self.warned) {
            self.warned = true;
            warn!("drops by netfilter do not say the rule: {refused}");
        }
    }
}
