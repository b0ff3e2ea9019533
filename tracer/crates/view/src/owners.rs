//! Keeps the text of the last owners: the events of a busy host have few owners, and writing an owner
//! is a large part of writing an event.

use std::sync::Arc;

use tracer_stream::{Owner, ProcessFacts};

/// The number of owners kept.
const KEPT: usize = 8;

#[derive(Debug)]
struct Written<T> {
    pid: u32,
    tid: u32,
    uid: Option<u32>,
    start_ns: Option<u64>,
    comm: String,
    thread: Option<String>,
    /// Kept alive, so that the same address means the same facts.
    facts: Arc<ProcessFacts>,
    text: T,
}

impl<T> Written<T> {
    fn is(&self, owner: &Owner) -> bool {
        self.pid == owner.pid
            && self.tid == owner.tid
            && self.uid == owner.uid
            && self.start_ns == owner.start_ns
            && Arc::ptr_eq(&self.facts, &owner.facts)
            && self.comm == owner.comm
            && self.thread == owner.thread
    }
}

/// The last few owners, as `T`.
#[derive(Debug)]
pub(super) struct Owners<T> {
    kept: Vec<Written<T>>,
    /// The place to overwrite next.
    next: usize,
}

impl<T> Default for Owners<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), next: 0 }
    }
}

impl<T> Owners<T> {
    /// Returns the text of `owner`; calls `write` if it is not kept.
    pub(super) fn written(&mut self, owner: &Owner, write: impl FnOnce() -> T) -> &T {
        let place = match self.kept.iter().position(|known| known.is(owner)) {
            Some(place) => place,
            None => self.keep(owner, write()),
        };
        &self.kept[place].text
    }

    fn keep(&mut self, owner: &Owner, text: T) -> usize {
        let written = Written {
            pid: owner.pid,
            tid: owner.tid,
            uid: owner.uid,
            start_ns: owner.start_ns,
            comm: owner.comm.clone(),
            thread: owner.thread.clone(),
            facts: Arc::clone(&owner.facts),
            text,
        };
        let place = self.next;
        match self.kept.get_mut(place) {
            Some(old) => *old = written,
            None => self.kept.push(written),
        }
        self.next = (place + 1) % KEPT;
        place
    }
}
