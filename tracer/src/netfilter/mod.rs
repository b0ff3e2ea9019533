//! Which rule it was: a packet that netfilter drops does not say, but its way through the hooks and
//! the rule set leave few, and often one.
//!
//! What is not excluded is a place. Excluded is a rule that cannot match the packet as it was when it
//! was dropped, that comes after one which certainly ends its way in the same base chain, or whose
//! counter stood still meanwhile. A later base chain is excluded if the packet cannot get through an
//! earlier one; unless rules rewrite packets, since the earlier chain may have seen another packet.

mod packet;
#[cfg(test)]
pub(crate) mod tests;
mod words;

use std::collections::HashMap;

use tracer_common::drops::Direction;

pub use self::packet::Packet;
use self::packet::{Device, Match, device_in};
use crate::netlink::nftables::{self, Action, Chain, Rule};

/// `NFPROTO_*` of include/uapi/linux/netfilter.h.
const INET: u8 = 1;
const IPV4: u8 = 2;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IPV6: u8 = 10;

/// `NF_INET_*`.
const PRE_ROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
const POST_ROUTING: u32 = 4;
const INGRESS: u32 = 5;
/// `NF_NETDEV_EGRESS`; the other one is ingress.
const EGRESS: u32 = 1;

/// Rules of a namespace beyond which nothing is said: to follow them costs more than it tells.
const MOST_RULES: usize = 10_000;

/// What a rule's counter said, by family, table and handle.
pub type Counters = HashMap<(u8, String, u64), u64>;

/// A place where packets are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `ip`, `ip6`, `inet` …
    pub family: &'static str,
    /// Hostile bytes.
    pub table: String,
    /// Hostile bytes.
    pub chain: String,
    /// The rule; `None` for the chain's policy.
    pub handle: Option<u64>,
    /// The rule in words, or its comment. Hostile bytes.
    pub words: Option<String>,
}

/// Which part of the kernel has dropped the packet, as far as the call site tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// nftables itself: a rule, or a policy (`nft_do_chain`, from Linux 6.7 on).
    Nftables,
    /// Not nftables, which is known to drop by itself in this kernel.
    Other,
    /// Whoever calls a hook's functions (`nf_hook_slow`): nftables or another.
    Anything,
}

/// Where a packet can have been dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// All of them.
    pub places: Vec<Place>,
    /// It certainly was one of them, and nothing else in netfilter.
    pub certain: bool,
}

/// The rule set of one namespace.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    chains: Vec<(Chain, Vec<Rule>)>,
    by_name: HashMap<(u8, String, String), usize>,
    /// Some rule may change packets.
    rewrites: bool,
}

/// The ways in which a packet may leave a chain, each a bit.
type Exits = u8;
const DROPPED: Exits = 1 << 0;
const ACCEPTED: Exits = 1 << 1;
/// By its end, or back to where it was called from.
const ENDED: Exits = 1 << 2;
const ANY: Exits = DROPPED | ACCEPTED | ENDED;

impl RuleSet {
    /// As the kernel has it now, in the namespace of this thread.
    ///
    /// # Errors
    /// See [`nftables::read`].
    pub fn read() -> std::io::Result<Self> {
        let (chains, rules) = nftables::read(MOST_RULES)?;
        Ok(Self::new(chains, rules))
    }

    pub(crate) fn new(chains: Vec<Chain>, rules: Vec<Rule>) -> Self {
        let mut set = Self { rewrites: rules.iter().any(|rule| rule.rewrites), ..Self::default() };
        for chain in chains {
            set.by_name.insert((chain.family, chain.table.clone(), chain.name.clone()), set.chains.len());
            set.chains.push((chain, Vec::new()));
        }
        // A dump tells the rules of a chain in their order.
        for rule in rules {
            let index = set.by_name.get(&(rule.family, rule.table.clone(), rule.chain.clone()));
            if let Some((_, rules)) = index.and_then(|index| set.chains.get_mut(*index)) {
                rules.push(rule);
            }
        }
        set
    }

    /// What its counters say.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let rules = self.chains.iter().flat_map(|(_, rules)| rules);
        rules.filter_map(|rule| Some(((rule.family, rule.table.clone(), rule.handle), rule.packets?))).collect()
    }

    /// Where `packet` can have been dropped. The rule set is that of a moment after the drop, `before`
    /// what the counters said at a moment before.
    #[must_use]
    pub fn places(&self, packet: Packet<'_>, by: By, before: Option<&Counters>) -> Places {
        if by == By::Other {
            return Places::default();
        }
        let mut bases: Vec<(usize, i32, i32)> = Vec::new();
        for (index, (chain, _)) in self.chains.iter().enumerate() {
            if let Some(order) = order(chain, packet) {
                bases.push((index, order, chain.priority));
            }
        }
        bases.sort_by_key(|(index, order, priority)| (*order, *priority, *index));
        let mut places = Vec::new();
        // Where the packet certainly ends, in the order of hooks.
        let mut end = None;
        for (index, order, priority) in bases {
            if end.is_some_and(|end| (order, priority) > end) {
                break;
            }
            let Some((base, _)) = self.chains.get(index) else { continue };
            let device = device_of(base);
            let mut walk = Walk { set: self, packet, before, device, exits: HashMap::new(), places: &mut places };
            let mut exits = walk.chain(index);
            if exits & ENDED != 0 {
                exits |= if base.policy_drops { DROPPED } else { ACCEPTED };
                if base.policy_drops {
                    places.push(place(base, None));
                }
            }
            if exits & ACCEPTED == 0 && !self.rewrites && order >= 0 && packet.way() != Direction::Unknown {
                end = Some((order, priority));
            }
        }
        let certain = by == By::Nftables || end.is_some();
        Places { places, certain }
    }
}

/// One packet's way through one base chain.
struct Walk<'s, 'p> {
    set: &'s RuleSet,
    packet: Packet<'s>,
    before: Option<&'s Counters>,
    device: Device,
    /// Of the chains that were walked through. One that calls itself (the kernel forbids it) may be
    /// left in any way.
    exits: HashMap<usize, Exits>,
    places: &'p mut Vec<Place>,
}

impl Walk<'_, '_> {
    fn chain(&mut self, index: usize) -> Exits {
        if let Some(exits) = self.exits.get(&index) {
            return *exits;
        }
        self.exits.insert(index, ANY);
        let Some((chain, rules)) = self.set.chains.get(index) else { return ANY };
        let exits = self.rules(chain, rules);
        self.exits.insert(index, exits);
        exits
    }

    fn rules(&mut self, chain: &Chain, rules: &[Rule]) -> Exits {
        let mut exits = 0;
        for rule in rules {
            let matches =
                if self.stood_still(rule) { Match::No } else { self.packet.matches(&rule.steps, self.device) };
            if matches == Match::No {
                continue;
            }
            let ends = match &rule.action {
                Action::Drop | Action::Reject => DROPPED,
                Action::MayDrop => {
                    self.anywhere(chain);
                    ANY
                }
                Action::Accept => ACCEPTED,
                Action::Return => ENDED,
                Action::Jump(name) | Action::Goto(name) => self.named(chain, name),
                Action::Pass => continue,
            };
            if matches!(rule.action, Action::Drop | Action::Reject | Action::MayDrop) {
                add(self.places, place(chain, Some(rule)));
            }
            let goes_on = matches!(rule.action, Action::Jump(_) | Action::MayDrop) && ends & ENDED != 0;
            exits |= if goes_on { ends & !ENDED } else { ends };
            if matches == Match::Yes && !goes_on {
                return exits;
            }
        }
        exits | ENDED
    }

    fn named(&mut self, from: &Chain, name: &str) -> Exits {
        let index = self.set.by_name.get(&(from.family, from.table.clone(), name.to_owned()));
        index.map_or(ANY, |index| self.chain(*index))
    }

    /// Through every chain of the table that can be called: which of them a map names is not known.
    fn anywhere(&mut self, from: &Chain) {
        for (index, (chain, _)) in self.set.chains.iter().enumerate() {
            if chain.hook.is_none() && (chain.family, &chain.table) == (from.family, &from.table) {
                self.chain(index);
            }
        }
    }

    /// Whether the counter of a rule tells that it has not matched.
    fn stood_still(&self, rule: &Rule) -> bool {
        let Some(packets) = rule.packets else { return false };
        let before = || self.before?.get(&(rule.family, rule.table.clone(), rule.handle));
        packets == 0 || before() == Some(&packets)
    }
}

/// Where the hook of a base chain stands on the way of `packet`; `None` if not on it. Of a bridge's
/// hooks that is not known: they stand before everything.
fn order(chain: &Chain, packet: Packet<'_>) -> Option<i32> {
    let (hook, way) = (chain.hook?, packet.way());
    let own = if packet.family() == 6 { IPV6 } else { IPV4 };
    let (passes, order) = match (chain.family, hook) {
        (BRIDGE, _) => (true, -1),
        (NETDEV, EGRESS) => (way != Direction::In, 10),
        (NETDEV, _) | (INET, INGRESS) => (matches!(way, Direction::In | Direction::Unknown), 0),
        (family, _) if family != INET && family != own => return None,
        _ => {
            let passes = match way {
                // What is to be sent on is found out behind PRE_ROUTING.
                Direction::In => matches!(hook, PRE_ROUTING | LOCAL_IN),
                Direction::Out => matches!(hook, LOCAL_OUT | POST_ROUTING),
                Direction::Forward => matches!(hook, FORWARD | POST_ROUTING),
                Direction::Unknown => hook <= POST_ROUTING,
            };
            (passes, i32::try_from(hook).ok()? + 1)
        }
    };
    let device = packet.device().is_none_or(|device| {
        let is = |name: &String| name.strip_suffix('*').map_or(name == device, |start| device.starts_with(start));
        chain.devices.is_empty() || chain.devices.iter().any(is)
    });
    (passes && device).then_some(order)
}

fn device_of(base: &Chain) -> Device {
    match (base.family, base.hook) {
        (NETDEV, Some(EGRESS)) => Device::Out,
        (NETDEV, _) | (INET, Some(INGRESS)) => Device::In,
        (BRIDGE, _) | (_, None) => Device::Unknown,
        (_, Some(hook)) => device_in(hook),
    }
}

fn place(chain: &Chain, rule: Option<&Rule>) -> Place {
    Place {
        family: words::family(chain.family),
        table: chain.table.clone(),
        chain: chain.name.clone(),
        handle: rule.map(|rule| rule.handle),
        words: rule.and_then(words::rule),
    }
}

fn add(places: &mut Vec<Place>, place: Place) {
    if !places.contains(&place) {
        places.push(place);
    }
}

impl Places {
    /// In words; `None` for none. Of many, the first three.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        words::places(&self.places, self.certain)
    }

    /// The place, if there is no doubt.
    #[must_use]
    pub fn the_one(&self) -> Option<&Place> {
        match self.places.as_slice() {
            [place] if self.certain => Some(place),
            _ => None,
        }
    }
}
