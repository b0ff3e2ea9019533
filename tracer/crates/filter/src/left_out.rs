//! Drops that the kernel side leaves out by their reason: those that `--reason` excludes, and those that the text
//! output would not show. However many they are, they take no room from the wanted ones.

use tracer_common::drops::{REASON_PLACES, ReasonAction, reason_place};
use tracer_core::is_always_quiet;
use tracer_tables::{discards::counter, reasons::Reasons};

use super::Filter;

/// The kernel side's action for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Unlisted reasons are left out.
    pub others: bool,
    /// The places in the kernel side's map, with [`ReasonAction`]s.
    pub listed: Vec<(u32, u8)>,
}

impl LeftOut {
    /// Looks the names up among those of the running kernel. `quiet`: leaves out harmless drops, too. `None` if none is
    /// left out.
    #[must_use]
    pub fn of(filter: &Filter, quiet: bool, reasons: &Reasons) -> Option<Self> {
        let others = filter.asks_for_reason();
        let mut listed: Vec<(u32, ReasonAction)> = Vec::new();
        if others {
            for name in filter.reason.include.iter().filter(|name| filter.reason.passes(|wanted| wanted == *name)) {
                listed.extend(reasons.drop_numbers(&name.0).into_iter().map(|number| (number, ReasonAction::Keep)));
            }
        } else {
            if quiet {
                listed.extend(reasons.drops().filter_map(|(number, name)| Some((number, quiet_action(name)?))));
            }
            // Drops that a counter counts, too, have to be seen, to be subtracted from it. The agent hides them.
            if filter.wants_counters() {
                listed.retain(|(number, _)| !counter::counts(&reasons.drop(*number)));
            }
            let seen = |name: &str| filter.wants_counters() && counter::counts(name);
            for name in filter.reason.exclude.iter().filter(|name| !seen(&name.0)) {
                listed.extend(reasons.drop_numbers(&name.0).into_iter().map(|number| (number, ReasonAction::LeaveOut)));
            }
        }
        // Later entries win: the excluded ones.
        let mut listed: Vec<(u32, u8)> =
            listed.into_iter().map(|(number, action)| (reason_place(number), action as u8)).collect();
        // A reason without a place there could not be kept: then unlisted reasons are not left out.
        let others = others && listed.iter().all(|(place, _)| *place < REASON_PLACES);
        listed.retain(|(place, _)| *place < REASON_PLACES);
        (others || !listed.is_empty()).then_some(Self { others, listed })
    }
}

/// The action that implements the quiet text output for this reason.
fn quiet_action(name: &str) -> Option<ReasonAction> {
    match name {
        // The receivers of ICMP errors use the reason of a purged queue when they close.
        "QUEUE_PURGE" => Some(ReasonAction::LeaveOutButErrors),
        "NO_SOCKET" => Some(ReasonAction::LeaveOutRemains),
        _ => is_always_quiet(name).then_some(ReasonAction::LeaveOut),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{FilterArgs, tests::World};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    const REASONS: [(u32, &str); 7] = [
        (2, "NOT_SPECIFIED"),
        (3, "NO_SOCKET"),
        (9, "TCP_CLOSE"),
        (12, "NETFILTER_DROP"),
        (60, "QUEUE_PURGE"),
        (61, "UNHANDLED_PROTO"),
        (0x3_0001, "QDISC_OVERLIMIT"),
    ];

    /// The actions, with the names of their reasons.
    fn left_out(text: &str, quiet: bool) -> Option<(bool, Vec<(&'static str, u8)>)> {
        let args = Line::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap().filter;
        let left = LeftOut::of(&args.resolve(&World).unwrap(), quiet, &Reasons::of(&REASONS))?;
        let name =
            |place| REASONS.iter().find(|(number, _)| reason_place(*number) == place).map_or("?", |(_, name)| *name);
        let mut listed: Vec<_> = left.listed.iter().map(|(place, action)| (name(*place), *action)).collect();
        listed.sort_unstable();
        Some((left.others, listed))
    }

    #[test]
    fn what_is_asked_for_alone_is_kept() {
        let keep = ReasonAction::Keep as u8;
        assert_eq!(left_out("--reason NETFILTER_DROP", false), Some((true, vec![("NETFILTER_DROP", keep)])));
        assert_eq!(
            left_out("--reason QDISC_OVERLIMIT,!NO_SOCKET", false),
            Some((true, vec![("QDISC_OVERLIMIT", keep)]))
        );
        assert_eq!(left_out("--reason NO_SOCKET,!NO_SOCKET", false), Some((true, vec![])), "it contradicts itself");
        // Only resets have this reason: no drop is wanted.
        assert_eq!(left_out("--reason TCP_RFC7323_PAWS", false), Some((true, vec![])));
    }

    #[test]
    fn what_is_excluded_is_left_out() {
        assert_eq!(left_out("", false), None);
        let out = ReasonAction::LeaveOut as u8;
        assert_eq!(left_out("--reason !TCP_CLOSE", false), Some((false, vec![("TCP_CLOSE", out)])));
    }

    #[test]
    fn what_lines_do_not_show_is_left_out() {
        let due = vec![
            ("NO_SOCKET", ReasonAction::LeaveOutRemains as u8),
            ("QUEUE_PURGE", ReasonAction::LeaveOutButErrors as u8),
            ("TCP_CLOSE", ReasonAction::LeaveOut as u8),
        ];
        assert_eq!(left_out("", true), Some((false, due)));
    }

    #[test]
    fn what_a_counter_counts_is_seen_whatever_is_shown() {
        let has = |text: &str, quiet| {
            left_out(text, quiet).is_some_and(|left| left.1.iter().any(|r| r.0 == "UNHANDLED_PROTO"))
        };
        assert!(!has("", true) && !has("--reason !UNHANDLED_PROTO", false));
        // Without counters and findings there is nothing to subtract it from.
        assert!(has("--event drop", true) && has("--event drop --reason !UNHANDLED_PROTO", false));
    }

    #[test]
    fn a_reason_that_has_no_place_is_left_to_the_agent() {
        assert_eq!(left_out("--reason REASON_5000", false), None);
    }
}
