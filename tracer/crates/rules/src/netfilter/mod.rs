//! Finds the rule that dropped a packet: netfilter does not name it, but the packet's way through the hooks and the
//! rule set leaves few candidates, and often one.
//!
//! Every place that is not excluded remains a candidate. A rule is excluded if it cannot match the packet as it was at
//! the drop, if it comes after a rule that certainly ends the packet's way in the same base chain, or if its counter
//! stood still. A later base chain is excluded if the packet cannot get through an earlier one; unless rules rewrite
//! packets, since the earlier chain may have seen another packet.

mod counters;
mod packet;
mod sets;
#[cfg(test)]
pub(crate) mod tests;
mod walk;
mod words;

use std::collections::{HashMap, HashSet};

use tracer_common::drops::Direction;
use tracer_tables::netlink::nftables::{Action, Chain, Rule, RuleName, Set, Step};

pub use self::{counters::Counters, packet::Packet};
use self::{
    packet::{Device, device_in},
    sets::Lookup,
    walk::Walk,
};

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

/// The part of the kernel that dropped the packet, as far as the call site shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// nftables itself: a rule, or a policy (`nft_do_chain`, from Linux 6.7 on).
    Nftables,
    /// Not nftables, which is known to drop by itself in this kernel.
    Other,
    /// Any caller of a hook's functions (`nf_hook_slow`): nftables or another.
    Anything,
}

/// The places that may have dropped a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The first few.
    pub places: Vec<Place>,
    /// The rule of the first, if it is one.
    pub first: Option<RuleId>,
    /// The number of further places.
    pub more: usize,
    /// It certainly was one of them, and nothing else in netfilter.
    pub certain: bool,
    /// Rules whose counters would narrow the choice, if they were read after the drop.
    pub unread: Vec<RuleId>,
    /// The way has more rules than the limit: the result is unknown.
    pub given_up: bool,
}

/// A rule of a set: its chain, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    chain: usize,
    rule: usize,
}

/// A rule, and the chain that it leads to.
#[derive(Clone, Debug)]
struct Compiled {
    rule: Rule,
    to: Option<usize>,
    /// Number of steps to evaluate it.
    cost: usize,
}

/// The rule set of one namespace.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    chains: Vec<(Chain, Vec<Compiled>)>,
    sets: Vec<Lookup>,
    /// Chains of hooks.
    bases: Vec<usize>,
    /// The number of each chain's first rule, in a numbering of all rules and the chains' policies.
    begins: Vec<usize>,
    /// Number of rules and chains.
    places: usize,
    /// Some rule may change packets.
    rewrites: bool,
}

impl RuleSet {
    /// A rule set of these chains, rules and sets; the rules of a chain are in their order.
    #[must_use]
    pub fn new(chains: Vec<Chain>, rules: Vec<Rule>, sets: Vec<Set>) -> Self {
        let mut set = Self { rewrites: rules.iter().any(|rule| rule.rewrites), ..Self::default() };
        let mut by_name: HashMap<(u8, String, String), usize> = HashMap::with_capacity(chains.len());
        for chain in chains {
            if chain.hook.is_some() {
                set.bases.push(set.chains.len());
            }
            by_name.insert((chain.family, chain.table.clone(), chain.name.clone()), set.chains.len());
            set.chains.push((chain, Vec::new()));
        }
        let find = |family: u8, table: &str, name: &str| by_name.get(&(family, table.to_owned(), name.to_owned()));
        let updated: HashSet<(u8, String, String)> =
            rules.iter().filter_map(|rule| Some((rule.family, rule.table.clone(), rule.updates.clone()?))).collect();
        let mut by_set: HashMap<(u8, String, String), usize> = HashMap::with_capacity(sets.len());
        for mut one in sets {
            let (family, table) = (one.family, one.table.clone());
            // Before 5.6 a set that packets change need not declare that.
            one.changing |= updated.contains(&(family, table.clone(), one.name.clone()));
            by_set.insert((family, table.clone(), one.name.clone()), set.sets.len());
            set.sets.push(Lookup::new(one, |name| find(family, &table, name).copied()));
        }
        let find_set =
            |rule: &Rule, name: &str| by_set.get(&(rule.family, rule.table.clone(), name.to_owned())).copied();
        for mut rule in rules {
            let mut steps = std::mem::take(&mut rule.steps);
            let mut cost = 1 + steps.len();
            for step in &mut steps {
                if let Step::Lookup { set: name, index, .. } = step {
                    *index = find_set(&rule, name);
                    cost += index.and_then(|index| set.sets.get(index)).map_or(0, Lookup::cost);
                }
            }
            rule.steps = steps;
            if let Some(mut map) = rule.map.take() {
                map.index = find_set(&rule, &map.set);
                cost += map.index.and_then(|index| set.sets.get(index)).map_or(0, Lookup::cost);
                rule.map = Some(map);
            }
            let index = find(rule.family, &rule.table, &rule.chain);
            let to = match &rule.action {
                Action::Jump(name) | Action::Goto(name) => find(rule.family, &rule.table, name).copied(),
                _ => None,
            };
            // The chain has them, too.
            (rule.table, rule.chain) = (String::new(), String::new());
            if let Some((_, rules)) = index.and_then(|index| set.chains.get_mut(*index)) {
                rules.push(Compiled { rule, to, cost });
            }
        }
        for (_, rules) in &set.chains {
            set.begins.push(set.places);
            set.places += rules.len() + 1;
        }
        set
    }

    /// The rules' counters when the set was read.
    pub fn counted(&self) -> impl Iterator<Item = (RuleId, u64)> {
        let of_chain = |(chain, (_, rules)): (usize, &'_ (Chain, Vec<Compiled>))| {
            let counted: Vec<_> = rules
                .iter()
                .enumerate()
                .filter_map(|(rule, compiled)| Some((RuleId { chain, rule }, compiled.rule.packets?)))
                .collect();
            counted
        };
        self.chains.iter().enumerate().flat_map(of_chain)
    }

    /// The name of a rule.
    #[must_use]
    pub fn name(&self, id: RuleId) -> Option<RuleName<'_>> {
        let (chain, rules) = self.chains.get(id.chain)?;
        let handle = rules.get(id.rule)?.rule.handle;
        Some(RuleName { family: chain.family, table: &chain.table, chain: &chain.name, handle })
    }

    /// The places that may have dropped `packet`. The rule set must be newer than the drop.
    #[must_use]
    pub fn places(&self, packet: Packet<'_>, by: By, counters: &Counters) -> Places {
        if by == By::Other {
            return Places::default();
        }
        let mut bases: Vec<(usize, i32, i32)> = Vec::new();
        for index in self.bases.iter().copied() {
            if let Some((chain, _)) = self.chains.get(index)
                && let Some(order) = order(chain, packet)
            {
                bases.push((index, order, chain.priority));
            }
        }
        bases.sort_by_key(|(index, order, priority)| (*order, *priority, *index));
        let mut walk = Walk::new(self, packet, counters);
        // The position where the packet certainly ends, in the order of hooks.
        let mut end = None;
        for (index, order, priority) in bases {
            if end.is_some_and(|end| (order, priority) > end) {
                break;
            }
            let may_get_through = walk.base(index);
            if !may_get_through && !self.rewrites && order >= 0 && packet.way() != Direction::Unknown {
                end = Some((order, priority));
            }
        }
        walk.found(by == By::Nftables || end.is_some())
    }
}

/// The position of a base chain's hook on the way of `packet`; `None` if not on it. The position of a bridge's hooks is
/// unknown: they come first.
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
                // Whether a packet is forwarded is decided after PRE_ROUTING.
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

impl Places {
    /// The places in words; `None` if there are none. Of many, the first three.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        words::places(&self.places, self.more, self.certain)
    }

    /// Whether counters could narrow the choice.
    #[must_use]
    pub fn asks_for_counters(&self) -> bool {
        !self.given_up && !self.unread.is_empty() && self.the_one().is_none()
    }

    /// The place, if it is certain.
    #[must_use]
    pub fn the_one(&self) -> Option<&Place> {
        match self.places.as_slice() {
            [place] if self.certain && self.more == 0 => Some(place),
            _ => None,
        }
    }
}
