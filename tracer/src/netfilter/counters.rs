//! What the counters of rules tell of a drop: a rule whose counter stood still has not matched.

use std::collections::HashMap;

use super::RuleId;

/// Whether a rule may have matched, as far as its counter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Its counter stood still.
    StoodStill,
    /// Its counter has moved, or nobody knows what it said before.
    MayHave,
    /// Its counter was not read since.
    Unread,
}

/// The counters of one rule set. They are read at moments after a drop; what an earlier moment told may be of before
/// the next one.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// When they were read (`CLOCK_BOOTTIME` ns), and what they said.
    before: HashMap<RuleId, (u64, u64)>,
    now: HashMap<RuleId, u64>,
    /// When the first of the packets that are asked for was dropped.
    dropped_ns: u64,
}

impl Counters {
    /// All of them, read after every drop that they are asked for until the next [`Self::settle`].
    pub fn read(&mut self, all: impl Iterator<Item = (RuleId, u64)>) {
        self.now.extend(all);
    }

    /// Whether one was read since.
    #[must_use]
    pub fn knows(&self, id: RuleId) -> bool {
        self.now.contains_key(&id)
    }

    /// The next packets are of `dropped_ns` and later.
    pub const fn of(&mut self, dropped_ns: u64) {
        self.dropped_ns = dropped_ns;
    }

    /// What was read becomes what was before, at `read_ns`.
    pub fn settle(&mut self, read_ns: u64) {
        self.before.extend(self.now.drain().map(|(id, packets)| (id, (read_ns, packets))));
    }

    pub(super) fn tell(&self, id: RuleId, has_counter: bool) -> Counted {
        if !has_counter {
            return Counted::MayHave;
        }
        let Some(now) = self.now.get(&id) else { return Counted::Unread };
        let before = self.before.get(&id).filter(|(read_ns, _)| *read_ns < self.dropped_ns);
        if *now == 0 || before.is_some_and(|(_, before)| before == now) {
            Counted::StoodStill
        } else {
            Counted::MayHave
        }
    }
}
