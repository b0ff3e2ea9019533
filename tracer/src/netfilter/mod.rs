//! Which rule it was: a packet that netfilter drops does not say, but its way through the hooks and
//! the rule set leave few.

use std::fmt::Write as _;

use crate::netlink::nftables::{self, Action, Chain, Rule};

/// `NFPROTO_*` of include/uapi/linux/netfilter.h.
const INET: u8 = 1;
const IPV4: u8 = 2;
const ARP: u8 = 3;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IPV6: u8 = 10;

/// `NF_INET_*`.
const PRE_ROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
const POST_ROUTING: u32 = 4;

/// Which way a packet went through the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To this host.
    In,
    /// From this host.
    Out,
    /// Through this host.
    Forward,
    /// Nothing tells.
    Unknown,
}

impl Way {
    const fn passes(self, hook: u32) -> bool {
        match self {
            Self::In => matches!(hook, PRE_ROUTING | LOCAL_IN),
            Self::Out => matches!(hook, LOCAL_OUT | POST_ROUTING),
            Self::Forward => matches!(hook, PRE_ROUTING | FORWARD | POST_ROUTING),
            Self::Unknown => hook <= POST_ROUTING,
        }
    }
}

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
    /// Packets that its counter has counted.
    packets: Option<u64>,
}

/// The rule set of one namespace, at two moments.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    chains: Vec<Chain>,
    rules: Vec<Rule>,
    /// Counters at the moment before.
    before: Vec<(u64, String, u64)>,
}

impl RuleSet {
    /// As the kernel has it now, in the namespace of this thread. `before`: as it was.
    ///
    /// # Errors
    /// See [`nftables::read`].
    pub fn read(before: Option<&Self>) -> std::io::Result<Self> {
        let (chains, rules) = nftables::read()?;
        Ok(Self::new(chains, rules, before))
    }

    fn new(chains: Vec<Chain>, rules: Vec<Rule>, before: Option<&Self>) -> Self {
        let counted = |rule: &Rule| Some((rule.handle, rule.table.clone(), rule.packets?));
        let before = before.map(|set| set.rules.iter().filter_map(counted).collect()).unwrap_or_default();
        Self { chains, rules, before }
    }

    /// Where a packet of `family` (4 or 6) that went `way` can have been dropped. A rule whose counter
    /// stood still since the moment before is none of the places, if another one's moved.
    #[must_use]
    pub fn places(&self, family: u8, way: Way) -> Vec<Place> {
        let own = if family == 6 { IPV6 } else { IPV4 };
        let mut places = Vec::new();
        for base in &self.chains {
            if base.hook.is_some_and(|hook| way.passes(hook)) && (base.family == own || base.family == INET) {
                self.collect(base, &mut Vec::new(), &mut places);
            }
        }
        let moved: Vec<Place> = places.iter().filter(|place| self.has_moved(place)).cloned().collect();
        if moved.is_empty() { places } else { moved }
    }

    fn collect<'s>(&'s self, chain: &'s Chain, path: &mut Vec<&'s str>, places: &mut Vec<Place>) {
        // The kernel allows sixteen jumps and no loops; this must not depend on that.
        if path.len() > 16 || path.contains(&chain.name.as_str()) {
            return;
        }
        path.push(&chain.name);
        let of_chain =
            |rule: &&Rule| (rule.family, &rule.table, &rule.chain) == (chain.family, &chain.table, &chain.name);
        for rule in self.rules.iter().filter(of_chain) {
            match &rule.action {
                Action::Drop | Action::MayDrop => add(places, place(chain, Some(rule))),
                Action::Chain(name) => {
                    let next = self
                        .chains
                        .iter()
                        .find(|next| (next.family, &next.table, &next.name) == (chain.family, &chain.table, name));
                    if let Some(next) = next {
                        self.collect(next, path, places);
                    }
                }
            }
        }
        path.pop();
        if chain.policy_drops && chain.hook.is_some() {
            add(places, place(chain, None));
        }
    }

    fn has_moved(&self, place: &Place) -> bool {
        let Some((handle, packets)) = place.handle.zip(place.packets) else { return false };
        let before = self.before.iter().find(|(old, table, _)| *old == handle && *table == place.table);
        before.is_some_and(|(_, _, before)| packets > *before)
    }
}

fn place(chain: &Chain, rule: Option<&Rule>) -> Place {
    Place {
        family: family_name(chain.family),
        table: chain.table.clone(),
        chain: chain.name.clone(),
        handle: rule.map(|rule| rule.handle),
        packets: rule.and_then(|rule| rule.packets),
    }
}

fn add(places: &mut Vec<Place>, place: Place) {
    if !places.contains(&place) {
        places.push(place);
    }
}

const fn family_name(family: u8) -> &'static str {
    match family {
        INET => "inet",
        IPV4 => "ip",
        ARP => "arp",
        NETDEV => "netdev",
        BRIDGE => "bridge",
        IPV6 => "ip6",
        _ => "nft",
    }
}

/// The places in words, `inet filter output handle 5` (as `nft -a list ruleset` names them); `None`
/// for none. Of many, the first three.
#[must_use]
pub fn describe(places: &[Place]) -> Option<String> {
    let mut text = String::new();
    if places.len() > 1 {
        text.push_str("one of ");
    }
    for (n, place) in places.iter().take(3).enumerate() {
        if n > 0 {
            text.push_str(", ");
        }
        // Writing to a String does not fail.
        let _ = write!(text, "{} {} {} ", place.family, place.table, place.chain);
        let _ = match place.handle {
            Some(handle) => write!(text, "handle {handle}"),
            None => write!(text, "policy"),
        };
    }
    if places.len() > 3 {
        let _ = write!(text, " and {} more", places.len() - 3);
    }
    (!places.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: u8, name: &str, hook: Option<u32>, policy_drops: bool) -> Chain {
        Chain { family, table: "filter".into(), name: name.into(), hook, policy_drops }
    }

    fn rule(chain: &str, handle: u64, action: Action, packets: Option<u64>) -> Rule {
        Rule { family: INET, table: "filter".into(), chain: chain.into(), handle, action, packets }
    }

    fn names(places: &[Place]) -> Vec<String> {
        places.iter().filter_map(|place| describe(std::slice::from_ref(place))).collect()
    }

    #[test]
    fn only_what_lies_on_the_way() {
        let set = RuleSet::new(
            vec![
                chain(INET, "input", Some(LOCAL_IN), true),
                chain(INET, "output", Some(LOCAL_OUT), false),
                chain(IPV6, "output6", Some(LOCAL_OUT), true),
                chain(BRIDGE, "bridge", Some(FORWARD), true),
            ],
            vec![rule("output", 5, Action::Drop, None), rule("input", 6, Action::MayDrop, None)],
            None,
        );
        assert_eq!(names(&set.places(4, Way::Out)), ["inet filter output handle 5"]);
        assert_eq!(names(&set.places(6, Way::Out)), ["inet filter output handle 5", "ip6 filter output6 policy"]);
        assert_eq!(names(&set.places(4, Way::In)), ["inet filter input handle 6", "inet filter input policy"]);
        assert_eq!(names(&set.places(4, Way::Forward)), [""; 0]);
        assert_eq!(set.places(4, Way::Unknown).len(), 3);
    }

    #[test]
    fn jumps_are_followed_and_loops_are_not() {
        let set = RuleSet::new(
            vec![
                chain(INET, "output", Some(LOCAL_OUT), false),
                chain(INET, "tcp", None, false),
                chain(INET, "web", None, false),
            ],
            vec![
                rule("output", 1, Action::Chain("tcp".into()), None),
                rule("tcp", 2, Action::Chain("web".into()), None),
                rule("web", 3, Action::Drop, None),
                rule("web", 4, Action::Chain("tcp".into()), None),
                rule("web", 5, Action::Chain("gone".into()), None),
            ],
            None,
        );
        assert_eq!(names(&set.places(4, Way::Out)), ["inet filter web handle 3"]);
    }

    #[test]
    fn a_counter_that_moved_tells() {
        let chains = || vec![chain(INET, "output", Some(LOCAL_OUT), false)];
        let rules = |first, second| {
            vec![rule("output", 1, Action::Drop, Some(first)), rule("output", 2, Action::Drop, Some(second))]
        };
        let before = RuleSet::new(chains(), rules(10, 10), None);
        assert_eq!(
            describe(&before.places(4, Way::Out)).as_deref(),
            Some("one of inet filter output handle 1, inet filter output handle 2")
        );
        let now = RuleSet::new(chains(), rules(10, 11), Some(&before));
        assert_eq!(names(&now.places(4, Way::Out)), ["inet filter output handle 2"]);
        let still = RuleSet::new(chains(), rules(10, 11), Some(&now));
        assert_eq!(still.places(4, Way::Out).len(), 2);
    }

    #[test]
    fn many_places() {
        let rules = (1..=5).map(|handle| rule("output", handle, Action::Drop, None)).collect();
        let set = RuleSet::new(vec![chain(INET, "output", Some(LOCAL_OUT), false)], rules, None);
        let text = describe(&set.places(4, Way::Out)).unwrap_or_default();
        assert!(text.starts_with("one of inet filter output handle 1, ") && text.ends_with(" and 2 more"), "{text}");
        assert_eq!(describe(&[]), None);
    }
}
