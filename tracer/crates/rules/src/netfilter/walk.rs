//! One packet's way through the chains, in bounded time: anyone may have written the rules.

use std::collections::HashMap;

use tracer_tables::netlink::nftables::{Action, Chain, Rule, Value};

use super::{
    Compiled, Counters, Place, Places, RuleId, RuleSet,
    counters::Counted,
    device_of,
    packet::{Device, Match, Packet},
    sets::Answer,
    words,
};

/// The most rules and steps that are evaluated for one packet.
const MOST_STEPS: u32 = 200_000;
/// The deepest nesting of chains; the kernel allows sixteen (`NFT_JUMP_STACK_SIZE`), but a map may lead anywhere.
const MOST_CALLS: u32 = 64;
/// The most places with a name; of the others only the number is shown.
const MOST_PLACES: usize = 8;
/// The most rules whose counters are requested.
const MOST_COUNTERS: usize = 64;

/// The ways in which a packet may leave a chain, one bit each.
type Exits = u8;
const DROPPED: Exits = 1 << 0;
const ACCEPTED: Exits = 1 << 1;
/// By its end, or back to the calling chain.
const ENDED: Exits = 1 << 2;
const ANY: Exits = DROPPED | ACCEPTED | ENDED;

/// One packet's way.
pub(super) struct Walk<'s> {
    set: &'s RuleSet,
    packet: Packet<'s>,
    counters: &'s Counters,
    device: Device,
    /// Exits of the chains of this base chain that were already walked. A chain that calls itself (the kernel forbids
    /// it) may be left in any way.
    exits: HashMap<usize, Exits>,
    /// All chains of the base chain's table were walked.
    everywhere: bool,
    calls: u32,
    steps: u32,
    given_up: bool,
    /// Bits of the places found: the rules of all chains, each chain's followed by its policy.
    found: Vec<u64>,
    count: usize,
    first: Option<RuleId>,
    places: Vec<Place>,
    unread: Vec<RuleId>,
}

impl<'s> Walk<'s> {
    pub fn new(set: &'s RuleSet, packet: Packet<'s>, counters: &'s Counters) -> Self {
        Self {
            set,
            packet,
            counters,
            device: Device::Unknown,
            exits: HashMap::new(),
            everywhere: false,
            calls: 0,
            steps: MOST_STEPS,
            given_up: false,
            found: vec![0; set.places / 64 + 1],
            count: 0,
            first: None,
            places: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Walks a base chain; returns whether the packet may get through it.
    pub fn base(&mut self, index: usize) -> bool {
        let Some((base, _)) = self.set.chains.get(index) else { return true };
        self.device = device_of(base);
        self.exits.clear();
        self.everywhere = false;
        let mut exits = self.chain(index);
        if exits & ENDED != 0 {
            exits |= if base.policy_drops { DROPPED } else { ACCEPTED };
            if base.policy_drops {
                self.add(index, None);
            }
        }
        exits & ACCEPTED != 0
    }

    /// The places found on the whole way.
    pub fn found(self, certain: bool) -> Places {
        if self.given_up {
            return Places { given_up: true, ..Places::default() };
        }
        let more = self.count - self.places.len();
        Places { places: self.places, first: self.first, more, certain, unread: self.unread, given_up: false }
    }

    /// Takes this many steps; `false` if none are left.
    fn step(&mut self, steps: usize) -> bool {
        match self.steps.checked_sub(u32::try_from(steps).unwrap_or(u32::MAX)) {
            Some(left) => self.steps = left,
            None => self.given_up = true,
        }
        !self.given_up
    }

    fn chain(&mut self, index: usize) -> Exits {
        if let Some(exits) = self.exits.get(&index) {
            return *exits;
        }
        if self.calls == MOST_CALLS || !self.step(1) {
            self.given_up = true;
            return ANY;
        }
        self.exits.insert(index, ANY);
        let Some((chain, rules)) = self.set.chains.get(index) else { return ANY };
        self.calls += 1;
        let exits = self.rules(index, chain, rules);
        self.calls -= 1;
        self.exits.insert(index, exits);
        exits
    }

    fn rules(&mut self, index: usize, chain: &'s Chain, rules: &'s [Compiled]) -> Exits {
        let mut exits = 0;
        for (n, Compiled { rule, to, cost }) in rules.iter().enumerate() {
            if !self.step(*cost) {
                return ANY;
            }
            let id = RuleId { chain: index, rule: n };
            let (matches, registers) = self.packet.matches(&rule.steps, self.device, &self.set.sets);
            if matches == Match::No || self.stood_still(id, rule) {
                continue;
            }
            // A map's verdict acts like the rule's own.
            let (mut action, mut to) = (&rule.action, *to);
            if let Some(map) = &rule.map
                && let Some(lookup) = map.index.and_then(|index| self.set.sets.get(index))
            {
                match registers.look(map.register, lookup) {
                    Answer::Present(Value::Verdict(of_map), leads) => (action, to) = (of_map, leads),
                    Answer::Absent => continue,
                    Answer::Unknown | Answer::Present(..) => {}
                }
            }
            let ends = match action {
                Action::Drop | Action::Reject => DROPPED,
                Action::MayDrop => {
                    self.anywhere(chain);
                    ANY
                }
                Action::Accept => ACCEPTED,
                Action::Return => ENDED,
                Action::Jump(_) | Action::Goto(_) => to.map_or(ANY, |to| self.chain(to)),
                Action::Pass => continue,
            };
            if matches!(action, Action::Drop | Action::Reject | Action::MayDrop) {
                self.add(index, Some(n));
            }
            let goes_on = matches!(action, Action::Jump(_) | Action::MayDrop) && ends & ENDED != 0;
            exits |= if goes_on { ends & !ENDED } else { ends };
            if matches == Match::Yes && !goes_on {
                return exits;
            }
        }
        exits | ENDED
    }

    /// Walks every callable chain of the table: a map may name any of them.
    fn anywhere(&mut self, from: &Chain) {
        if self.everywhere || !self.step(self.set.chains.len()) {
            return;
        }
        self.everywhere = true;
        for (index, (chain, _)) in self.set.chains.iter().enumerate() {
            if chain.hook.is_none() && (chain.family, &chain.table) == (from.family, &from.table) {
                self.chain(index);
            }
        }
    }

    /// Whether the counter of a rule excludes a match.
    fn stood_still(&mut self, id: RuleId, rule: &Rule) -> bool {
        let counted = self.counters.tell(id, rule.packets.is_some());
        if counted == Counted::Unread && self.unread.len() < MOST_COUNTERS {
            self.unread.push(id);
        }
        counted == Counted::StoodStill
    }

    fn add(&mut self, chain: usize, rule: Option<usize>) {
        let Some((of, rules)) = self.set.chains.get(chain) else { return };
        let number = self.set.begins.get(chain).map_or(0, |begin| begin + rule.unwrap_or(rules.len()));
        let Some(word) = self.found.get_mut(number / 64) else { return };
        if *word >> (number % 64) & 1 == 1 {
            return;
        }
        *word |= 1 << (number % 64);
        self.count += 1;
        if self.places.len() == MOST_PLACES {
            return;
        }
        let compiled = rule.and_then(|rule| rules.get(rule));
        if self.places.is_empty() {
            self.first = rule.map(|rule| RuleId { chain, rule });
        }
        self.places.push(Place {
            family: words::family(of.family),
            table: of.table.clone(),
            chain: of.name.clone(),
            handle: compiled.map(|compiled| compiled.rule.handle),
            words: compiled.map(|compiled| words::rule(&compiled.rule, &self.set.sets)),
        });
    }
}
