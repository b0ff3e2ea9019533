//! Drops by the rules of netfilter.

use tracer_stream::Nft;

use super::{Conntrack, Hint, Rules, Site, Tables};
use crate::netfilter::{By, Place};

/// Functions that drop by the verdict of a netfilter hook, for drops without a reason.
const HOOKS: [&str; 5] = ["nft_do_chain", "nf_hook_slow", "nf_hook_slow_list", "ipt_do_table", "ip6t_do_table"];

/// Functions in which iptables-legacy drops by itself.
fn is_legacy(site: &Site<'_>) -> bool {
    matches!(site.function, "ipt_do_table" | "ip6t_do_table")
}

/// Whether a hook of netfilter has dropped it.
pub fn is_netfilter(site: &Site<'_>) -> bool {
    let is_netfilter = match site.reason {
        Some("NETFILTER_DROP") => true,
        _ => site.is_by_function() && HOOKS.contains(&site.function),
    };
    is_netfilter && !is_legacy(site)
}

/// The hint from the reason alone.
pub fn by_itself(site: &Site<'_>) -> Option<Hint> {
    let six = if site.function == "ip6t_do_table" { "6" } else { "" };
    is_legacy(site)
        .then(|| Hint::of(format!("a rule of iptables (legacy), table unknown; see `ip{six}tables-legacy -vnL`")))
}

/// Names the rule, or the candidates.
pub fn explain(by: By, rules: Rules<'_>, tables: &Tables<'_>) -> Option<Hint> {
    let places = match rules {
        Rules::Places(places) if places.given_up => {
            return Some(unread("there are too many on its way"));
        }
        Rules::Places(places) => places,
        Rules::Unread(why) if by != By::Other => return Some(unread(why)),
        _ => return others(by, tables),
    };
    let Some(mut text) = places.describe() else { return others(by, tables) };
    // Other parts drop in the same function.
    let tracking = if by == By::Nftables { None } else { tracking(tables) };
    let doubtful = by != By::Nftables && (tables.legacy || tracking.is_some());
    if let Some(tracking) = tracking {
        // Its counters have moved, or its table is full: stronger evidence than a rule that may match.
        text = format!("{tracking}; or {}", text.trim_start_matches("probably "));
    } else if doubtful && places.certain {
        text.insert_str(0, "probably ");
    }
    if tables.legacy && by != By::Nftables {
        text.push_str(", or a rule of iptables (legacy)");
    }
    let nft = places.the_one().filter(|_| !doubtful).map(nft);
    let candidates = if nft.is_none() { places.places.iter().map(self::nft).collect() } else { Vec::new() };
    Some(Hint { text, nft, candidates, full_conntrack: full(by, tables), ..Hint::default() })
}

fn nft(place: &Place) -> Nft {
    Nft {
        family: place.family,
        table: place.table.clone(),
        chain: place.chain.clone(),
        handle: place.handle,
        rule: place.words.clone(),
    }
}

/// The conntrack table that was full, unless something else is known to have dropped the packet.
fn full(by: By, tables: &Tables<'_>) -> Option<(u64, u64)> {
    tables.full_conntrack.filter(|_| by != By::Nftables && tables.conntrack != Conntrack::StoodStill)
}

fn unread(why: &str) -> Hint {
    Hint { undecided: true, ..Hint::of(format!("a rule, it is not known which: {why}")) }
}

/// The evidence for connection tracking, if there is any.
fn tracking(tables: &Tables<'_>) -> Option<String> {
    let full = tables.full_conntrack.is_some();
    match tables.conntrack {
        Conntrack::StoodStill => None,
        Conntrack::Moved if full => {
            Some("probably conntrack: its table is full, and its counter of drops moved".into())
        }
        Conntrack::Moved => Some("probably conntrack: its counters of drops moved".into()),
        Conntrack::Some(_) | Conntrack::Unknown if full => Some("probably conntrack, whose table is full".into()),
        Conntrack::Some(count) => Some(format!("perhaps conntrack, which has dropped {count} packets itself")),
        Conntrack::Unknown => None,
    }
}

/// Other parts that drop in a hook besides nftables.
fn others(by: By, tables: &Tables<'_>) -> Option<Hint> {
    let text = if by == By::Nftables {
        None
    } else if let Some(text) = tracking(tables) {
        let look =
            if tables.full_conntrack.is_some() { "sysctl net.netfilter.nf_conntrack_max" } else { "conntrack -S" };
        Some(format!("{text}; see `{look}`"))
    } else if tables.legacy {
        Some("probably a rule of iptables (legacy); see `iptables-legacy -vnL`".into())
    } else if by == By::Other {
        let conntrack = if tables.conntrack == Conntrack::StoodStill { "" } else { "conntrack, " };
        Some(format!("no rule of nftables: {conntrack}IPVS or a BPF program"))
    } else {
        None
    };
    Some(Hint { full_conntrack: full(by, tables), ..Hint::of(text?) })
}
