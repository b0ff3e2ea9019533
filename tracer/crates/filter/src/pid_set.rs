//! Named processes of a filter, and their children.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Length of a clock tick of `/proc/PID/stat`, ns: `USER_HZ` is 100 on every architecture that can
/// run BPF.
const TICK_NS: u64 = 10_000_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Member {
    start_ns: Option<u64>,
    alive: bool,
}

impl Member {
    /// Whether this is the process that started at that time, as far as both starts are known.
    fn is(&self, start_ns: Option<u64>) -> bool {
        match (self.start_ns, start_ns) {
            (Some(own), Some(other)) => own / TICK_NS == other / TICK_NS,
            _ => self.alive,
        }
    }
}

/// A set of processes that changes as they fork and end. Members that have ended stay, so that their late events still
/// match; a new process with the same id does not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PidSet {
    members: RefCell<HashMap<u32, Member>>,
    follow: bool,
}

impl PidSet {
    /// An empty set; with `follow`, children of members become members.
    #[must_use]
    pub fn new(follow: bool) -> Self {
        Self { members: RefCell::default(), follow }
    }

    /// Adds a running process. `start_ns`: its start, `CLOCK_BOOTTIME` ns, if known; the precision of `/proc` (whole
    /// ticks) suffices.
    pub fn insert(&self, pid: u32, start_ns: Option<u64>) {
        self.members.borrow_mut().insert(pid, Member { start_ns, alive: true });
    }

    /// Whether the process `pid` that started at `start_ns` is a member.
    #[must_use]
    pub fn contains(&self, pid: u32, start_ns: Option<u64>) -> bool {
        self.members.borrow().get(&pid).is_some_and(|member| member.is(start_ns))
    }

    /// Notes that `parent` has forked the process `child`.
    pub fn fork(&self, parent: u32, child: u32, child_start_ns: Option<u64>) {
        let mut members = self.members.borrow_mut();
        if self.follow && members.get(&parent).is_some_and(|member| member.alive) {
            members.insert(child, Member { start_ns: child_start_ns, alive: true });
        } else if members.get(&child).is_some_and(|known| !known.is(child_start_ns)) {
            // A reused id. (The same process may have been added by name before its fork was
            // reported: `tracer run` does.)
            members.remove(&child);
        }
    }

    /// Notes that the process `pid` has ended.
    pub fn exit(&self, pid: u32) {
        if let Some(member) = self.members.borrow_mut().get_mut(&pid) {
            member.alive = false;
        }
    }

    /// Whether it never had a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.borrow().is_empty()
    }

    /// The running members.
    #[must_use]
    pub fn alive(&self) -> Vec<u32> {
        let members = self.members.borrow();
        let mut pids: Vec<u32> = members.iter().filter(|(_, member)| member.alive).map(|(pid, _)| *pid).collect();
        pids.sort_unstable();
        pids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_join_when_followed() {
        for follow in [true, false] {
            let set = PidSet::new(follow);
            set.insert(1, Some(5));
            set.fork(1, 2, Some(20_000_000));
            set.fork(2, 3, None);
            set.fork(9, 10, None);
            assert!(set.contains(1, Some(5)));
            assert_eq!(set.contains(2, Some(20_000_001)), follow);
            assert_eq!(set.contains(3, None), follow);
            assert!(!set.contains(10, None));
        }
    }

    #[test]
    fn a_reused_id_is_another_process() {
        let set = PidSet::new(true);
        set.insert(7, Some(1_230_000_000));
        assert!(set.contains(7, Some(1_234_567_890)), "the same tick");
        assert!(!set.contains(7, Some(1_240_000_000)), "another start");
        set.exit(7);
        assert!(set.contains(7, Some(1_234_567_890)), "late events of the old one");
        assert!(!set.contains(7, None));
        set.fork(1, 7, Some(9_000_000_000));
        assert!(!set.contains(7, Some(9_000_000_000)));
        assert!(!set.contains(7, None));
    }

    #[test]
    fn the_dead_have_no_children() {
        let set = PidSet::new(true);
        set.insert(7, None);
        set.exit(7);
        set.fork(7, 8, None);
        assert!(!set.contains(8, None));
        assert_eq!(set.alive(), Vec::<u32>::new());
    }
}
