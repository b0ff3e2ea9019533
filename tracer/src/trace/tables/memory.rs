//! State that is kept of namespaces from one round to the next: their rules as long as these do not change, their
//! earlier counters, and their cost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracer_rules::netfilter::{Counters, RuleSet};

use crate::{
    clock,
    netlink::{
        budget::{Budget, LIMITS, Unread, processor_time},
        nftables::Nftables,
    },
};

/// The most namespaces that are kept.
const MOST_NAMESPACES: usize = 64;
/// The most bytes of all kept rules.
const MOST_BYTES: usize = 32 << 20;
/// The part of the time that reading rules takes which causes no pause.
const QUICK: Duration = Duration::from_millis(5);
/// The pause before the rules are read again, as a multiple of the rest of that time.
const SHARE: u32 = 20;

/// The kept state of all namespaces.
#[derive(Debug, Default)]
pub struct Memory {
    namespaces: HashMap<u32, Known>,
    rounds: u64,
}

/// One namespace.
#[derive(Debug, Default)]
pub struct Known {
    /// Processor time that it has cost so far, with less weight for the past.
    pub spent: Duration,
    /// The last round that asked for it.
    round: u64,
    rules: Option<Rules>,
    /// Time (`CLOCK_BOOTTIME` ns) and values of the last reading of connection tracking's counters.
    pub conntrack: Option<(u64, u64)>,
    /// Its rules are not read again before this time.
    not_before: Option<Instant>,
}

/// The rules of one generation.
#[derive(Debug)]
pub struct Rules {
    generation: u32,
    /// The rules, or the reason why they are unknown.
    pub set: Result<RuleSet, String>,
    /// The rules' counters.
    pub counters: Counters,
    bytes: usize,
}

impl Memory {
    /// Begins a new round. The weight of earlier costs halves in ten rounds.
    pub fn begin_round(&mut self) {
        self.rounds += 1;
        if self.rounds.is_multiple_of(10) {
            for known in self.namespaces.values_mut() {
                known.spent /= 2;
            }
        }
    }

    /// The cost of a namespace so far.
    pub fn spent(&self, netns: u32) -> Duration {
        self.namespaces.get(&netns).map_or(Duration::ZERO, |known| known.spent)
    }

    /// The state of a namespace. Forgets others if there are too many.
    pub fn of(&mut self, netns: u32) -> &mut Known {
        if !self.namespaces.contains_key(&netns) {
            while self.namespaces.len() >= MOST_NAMESPACES && self.forget(netns, |_| true) {}
        }
        let round = self.rounds;
        let known = self.namespaces.entry(netns).or_default();
        known.round = round;
        known
    }

    /// Forgets rules until the rest fits. Those of `netns` stay.
    pub fn tidy(&mut self, netns: u32) {
        let bytes = |known: &Known| known.rules.as_ref().map_or(0, |rules| rules.bytes);
        while self.namespaces.values().map(bytes).sum::<usize>() > MOST_BYTES
            && self.forget(netns, |known| bytes(known) > 0)
        {}
    }

    /// Forgets, among the namespaces that `may` be forgotten, the one that was asked for longest ago; `false` if there
    /// is none.
    fn forget(&mut self, but: u32, may: impl Fn(&Known) -> bool) -> bool {
        let candidates = self.namespaces.iter().filter(|(netns, known)| **netns != but && may(known));
        let oldest = candidates.min_by_key(|(netns, known)| (known.round, **netns)).map(|(netns, _)| *netns);
        oldest.is_some_and(|oldest| self.namespaces.remove(&oldest).is_some())
    }
}

impl Known {
    /// The current rules of the namespace that this thread is in: the known ones, if the kernel still has the same
    /// generation.
    ///
    /// # Errors
    /// The kernel's refusal, for example without `CAP_NET_ADMIN`; or the end of the trace.
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
            // Of no generation: they are to be read as soon as the interval allows.
            let why = "the rules change more often than they are read".to_owned();
            return Ok(Rules { generation: generation.wrapping_sub(1), ..unread(why) });
        }
        // The old rules must not be kept beside the new ones.
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
    /// Ends a round: its counters are the earlier values of the next one.
    pub fn settle(&mut self) {
        self.counters.settle(clock::boot_ns());
    }
}
