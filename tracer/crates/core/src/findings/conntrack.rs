//! Connection tracking has no room: judged by its drops and its own counters.

use tracer_stream::{Drop, Kind};

use super::{
    Subject, Weight,
    rule::{Rule, counted, dropped, is_by_netfilter, netns, packets},
};

/// A table this full (in percent) a moment after the drop was full at the drop.
const FULL: u64 = 95;

/// Entries and limit of the table that was full when it may have dropped this packet.
pub(super) fn full(drop: &Drop) -> Option<(u64, u64)> {
    drop.hint.as_ref().and_then(|hint| hint.full_conntrack)
}

/// The rule for a full conntrack table.
pub(super) const CONNTRACK_FULL: Rule = Rule {
    name: "conntrack_full",
    least: 1,
    speaks: |event, facts| {
        let subject = Subject { netns: netns(event), ..Subject::default() };
        if let Kind::Discard(discard) = event.kind {
            let (count, most) = discard.conntrack.filter(|_| discard.counter == "conntrack_drop")?;
            let full = most > 0 && u128::from(count) * 100 >= u128::from(most) * u128::from(FULL);
            return full.then_some((subject, Weight { packets: discard.count, ..Weight::default() }));
        }
        // A rule's drop has nothing to do with connection tracking.
        let by_rule = |drop: &Drop| drop.symbol.as_deref().is_some_and(|at| at.starts_with("nft_do_chain"));
        let drop = dropped(event).filter(|drop| is_by_netfilter(drop) && !by_rule(drop))?;
        if full(drop).is_none() {
            facts.of(netns(event)).filter(|facts| facts.conntrack_is_full())?;
        }
        Some((subject, packets(drop)))
    },
    say: |case, facts| {
        let counted_now = case.discard.as_ref().and_then(|discard| discard.conntrack);
        let known = || facts.of(case.subject.netns).and_then(|facts| facts.conntrack);
        let table = case.full_conntrack.or(counted_now).or_else(known);
        let fill = table.map_or(String::new(), |(count, most)| format!(" ({count} of {most})"));
        format!("the conntrack table is full{fill}: {} dropped", counted(case.packets, "packet"))
    },
    look: &["conntrack -S", "sysctl net.netfilter.nf_conntrack_max"],
};
