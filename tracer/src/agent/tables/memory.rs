//! What is remembered of namespaces from one round to the next: their rules as long as these do not change, what
//! counters said, and what they have cost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    clock,
    netfilter::{Counters, RuleSet},
    netlink::nftables::{Budget, LIMITS, Nftables, Unread, processor_time},
};

/// Namespaces that are remembered.
const MOST_NAMESPACES: usize = 64;
/// What the kernel has told of all rules that are remembered, in bytes.
const MOST_BYTES: usize = 32 << 20;
/// Rules whose reading has taken longer than this
const QUICK: Duration = Duration::from_millis(5);
/// are read anew only after so many times as long.
const SHARE: u32 = 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    namespaces: HashMap<u32, Known>,
    rounds: u64,
}

/// One namespace.
#[derive(Debug, Default)]
pub struct Known {
    /// Time of a processor that it has cost so far; what is long ago counts less.
    pub spent: Duration,
    /// The last round in which it was asked for.
    round: u64,
    rules: Option<Rules>,
    /// When the counters of connection tracking were read (`CLOCK_BOOTTIME` ns), and what they said.
    pub conntrack: Option<(u64, u64)>,
    /// Its rules are not read anew before.
    not_before: Option<Instant>,
}

/// The rules of one generation.
#[derive(Debug)]
pub struct Rules {
    generation: u32,
    /// Or why they are not known.
    pub set: Result<RuleSet, String>,
    /// What their counters say.
    pub counters: Counters,
    bytes: usize,
}

impl Memory {
    /// A new round begins. What was spent counts half as much after ten rounds.
    pub fn begin_round(&mut self) {
        self.rounds += 1;
        if self.rounds.is_multiple_of(10) {
            for known in self.namespaces.values_mut() {
                known.spent /= 2;
            }
        }
    }

    /// What a namespace has cost.
    pub fn spent(&self, netns: u32) -> Duration {
        self.namespaces.get(&netns).map_or(Duration::ZERO, |known| known.spent)
    }

    /// What is known of a namespace. Others are forgotten if there are too many.
    pub fn of(&mut self, netns: u32) -> &mut Known {
        if !self.namespaces.contains_key(&netns) {
            while self.namespaces.len() >= MOST_NAMESPACES && self.forget(netns, |_| true) {}
        }
        let round = self.rounds;
        let known = self.namespaces.entry(netns).or_default();
        known.round = round;
        known
    }

    /// Forgets rules until those that are left are few enough. Those of `netns` stay.
    pub fn tidy(&mut self, netns: u32) {
        let bytes = |known: &Known| known.rules.as_ref().map_or(0, |rules| rules.bytes);
        while self.namespaces.values().map(bytes).sum::<usize>() > MOST_BYTES
            && self.forget(netns, |known| bytes(known) > 0)
        {}
    }

    /// Forgets the namespace that was asked for longest ago, of those that `may` be; `false` if there is none.
    fn forget(&mut self, but: u32, may: impl Fn(&Known) -> bool) -> bool {
        let candidates = self.namespaces.iter().filter(|(netns, known)| **netns != but && may(known));
        let oldest = candidates.min_by_key(|(netns, known)| (known.round, **netns)).map(|(netns, _)| *netns);
        oldest.is_some_and(|oldest| self.namespaces.remove(&oldest).is_some())
    }
}

impl Known {
    /// The rules of the namespace that this thread is in, as they are now: those that are known, if the kernel still
    /// has the same generation.
    ///
    /// # Errors
    /// What the kernel answers: without `CAP_NET_ADMIN` it refuses. And if the trace has ended.
    pub fn rules(&mut self, ended: &dyn Fn() -> bool) -> Result<&mut Rules, Unread> {
        let mut nftables = Nftables::open()?;
        let generation = nftables.generation()?;
        if self.rules.as_ref().is_none_or(|rules| rules.generation != generation) {
            self.rules = Some(self.read(generation, nftables, ended)?);
        }
        self.rules.as_mut().ok_or(Unread::Changing)
    }

    fn read(&mut self, generation: u32, mut nftables: Nftables, ended: &dyn Fn() -> bool) -> Result<Rules, Unread> {
        let unread = |why: String| Rules { generation, set: Err(why), counters: Counters::default(), bytes: 0 };
        let now = Instant::now();
        if self.not_before.is_some_and(|not_before| now < not_before) {
            // Of no generation: they are to be read as soon as it is time.
            let why = "the rules change more often than they are read".to_owned();
            return Ok(Rules { generation: generation.wrapping_sub(1), ..unread(why) });
        }
        // What they were before must not be kept beside what they are.
        self.rules = None;
        let (began, mut budget) = (processor_time(), Budget::new(LIMITS, ended));
        let read = nftables.read(&mut budget);
        self.not_before = Some(now + processor_time().saturating_sub(began + QUICK) * SHARE);
        match read {
            Ok(dump) => {
                let set = RuleSet::new(dump.chains, dump.rules, dump.sets);
                let mut counters = Counters::default();
                counters.read(set.counted());
                Ok(Rules { generation: dump.generation, set: Ok(set), counters, bytes: dump.bytes })
            }
            Err(error @ (Unread::Refused(_) | Unread::Ended)) => Err(error),
            Err(Unread::Changing) => {
                Ok(Rules { generation: generation.wrapping_sub(1), ..unread(Unread::Changing.to_string()) })
            }
            Err(error) => Ok(unread(error.to_string())),
        }
    }
}

impl Rules {
    /// A round is over: what counters said is of before the next one.
    pub fn settle(&mut self) {
        self.counters.settle(clock::boot_ns());
    }
}
