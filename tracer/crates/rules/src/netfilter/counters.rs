//! The rules' counters around a drop: a rule whose counter stood still has not matched.

use std::collections::HashMap;

use super::RuleId;

/// Whether a rule may have matched, by its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Its counter stood still.
    StoodStill,
    /// Its counter has moved, or its earlier value is unknown.
    MayHave,
    /// Its counter was not read after the drop.
    Unread,
}

/// The counters of one rule set. They are read after a drop; a reading may serve as the earlier value for the next
/// drop.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Time (`CLOCK_BOOTTIME` ns) and values of the earlier readings.
    before: HashMap<RuleId, (u64, u64)>,
    now: HashMap<RuleId, u64>,
    /// Time of the first of the current drops.
    dropped_ns: u64,
}

impl Counters {
    /// Takes values that were read after all current drops, until the next [`Self::settle`].
    pub fn read(&mut self, all: impl Iterator<Item = (RuleId, u64)>) {
        self.now.extend(all);
    }

    /// Whether a rule's counter was read after the drop.
    #[must_use]
    pub fn knows(&self, id: RuleId) -> bool {
        self.now.contains_key(&id)
    }

    /// Sets the time of the next drops: `dropped_ns` and later.
    pub const fn of(&mut self, dropped_ns: u64) {
        self.dropped_ns = dropped_ns;
    }

    /// Turns the values read at `read_ns` into the earlier ones.
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
