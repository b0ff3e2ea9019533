//! Owners as they were written last: the events of a busy host are of a few owners, and writing one
//! is half of writing an event.

use std::rc::Rc;

use crate::stream::{Owner, ProcessFacts};

/// How many are kept.
const KEPT: usize = 8;

#[derive(Debug)]
struct Written {
    pid: u32,
    tid: u32,
    uid: Option<u32>,
    start_ns: Option<u64>,
    comm: String,
    /// Kept alive, so that the same address means the same facts.
    facts: Rc<ProcessFacts>,
    json: Vec<u8>,
}

impl Written {
    fn is(&self, owner: &Owner) -> bool {
        self.pid == owner.pid
            && self.tid == owner.tid
            && self.uid == owner.uid
            && self.start_ns == owner.start_ns
            && Rc::ptr_eq(&self.facts, &owner.facts)
            && self.comm == owner.comm
    }
}

/// The last few.
#[derive(Debug, Default)]
pub(in crate::present) struct Owners {
    kept: Vec<Written>,
    /// The place that is written over next.
    next: usize,
}

impl Owners {
    /// Appends `owner`, written by `write` unless it is known.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, owner: &Owner, write: impl FnOnce(&mut Vec<u8>, &Owner)) {
        if let Some(known) = self.kept.iter().find(|known| known.is(owner)) {
            out.extend_from_slice(&known.json);
            return;
        }
        let start = out.len();
        write(out, owner);
        let written = Written {
            pid: owner.pid,
            tid: owner.tid,
            uid: owner.uid,
            start_ns: owner.start_ns,
            comm: owner.comm.clone(),
            facts: Rc::clone(&owner.facts),
            json: out[start..].to_vec(),
        };
        match self.kept.get_mut(self.next) {
            Some(place) => *place = written,
            None => self.kept.push(written),
        }
        self.next = (self.next + 1) % KEPT;
    }
}
