//! Drops by rules: netfilter, traffic control, XDP, BPF.

use super::{Hint, Tables, function, is_by_site};
use crate::{
    netfilter::{By, Counters, Packet},
    stream::{Drop, Nft, direction},
};

/// Functions that drop what a hook of netfilter wants dropped, where there is no reason.
const HOOKS: [&str; 5] = ["nft_do_chain", "nf_hook_slow", "nf_hook_slow_list", "ipt_do_table", "ip6t_do_table"];

/// iptables-legacy drops in these by itself.
fn is_legacy(drop: &Drop) -> bool {
    matches!(function(drop.symbol.as_deref()), "ipt_do_table" | "ip6t_do_table")
}

/// Whether a hook of netfilter has dropped it.
pub fn is_netfilter(drop: &Drop) -> bool {
    let is_netfilter = match drop.reason.as_deref() {
        Some("NETFILTER_DROP") => true,
        _ => is_by_site(drop) && HOOKS.contains(&function(drop.symbol.as_deref())),
    };
    is_netfilter && !is_legacy(drop)
}

/// What the reason alone tells.
pub fn by_itself(drop: &Drop) -> Option<Hint> {
    let dev = drop.iface.as_deref().unwrap_or("DEV");
    let of = drop.iface.as_deref().map_or(String::new(), |iface| format!(" of {iface}"));
    let text = match drop.reason.as_deref().unwrap_or_default() {
        _ if is_legacy(drop) => {
            let six = if function(drop.symbol.as_deref()) == "ip6t_do_table" { "6" } else { "" };
            format!("a rule of iptables (legacy), table unknown; see `ip{six}tables-legacy -vnL`")
        }
        "TC_INGRESS" => format!("a filter on ingress{of}; see `tc -s filter show dev {dev} ingress`"),
        "TC_EGRESS" => format!("a filter on egress{of}; see `tc -s filter show dev {dev} egress`"),
        "XDP" => format!("the XDP program{of}; see `bpftool net show dev {dev}`"),
        "BPF_CGROUP_EGRESS" => "a BPF program of its control group (egress); see `bpftool cgroup tree`".to_owned(),
        "SOCKET_FILTER" => match direction(drop.direction) {
            Some("in") => "the receiving socket's filter, or a BPF program of its control group (ingress)".to_owned(),
            _ => "a socket's filter".to_owned(),
        },
        _ => return None,
    };
    Some(Hint::of(text))
}

/// The rule, or the rules.
pub fn explain(packet: Packet<'_>, by: By, tables: &Tables, before: Option<&Counters>) -> Option<Hint> {
    let mut places = tables.rules.as_ref().map(|rules| rules.places(packet, by, before)).unwrap_or_default();
    if by != By::Nftables {
        // Others drop in the same function.
        places.certain &= !tables.legacy && !tables.conntrack_full;
    }
    let legacy = tables.legacy && by != By::Nftables;
    let Some(mut text) = places.describe() else { return others(by, tables).map(Hint::of) };
    if legacy {
        text.push_str(", or a rule of iptables (legacy)");
    }
    let nft = places.the_one().map(|place| Nft {
        family: place.family,
        table: place.table.clone(),
        chain: place.chain.clone(),
        handle: place.handle,
    });
    Some(Hint { text, nft, qdisc: None })
}

/// Who drops in a hook besides nftables.
fn others(by: By, tables: &Tables) -> Option<&'static str> {
    if by == By::Nftables {
        None
    } else if tables.conntrack_full {
        Some("probably conntrack, whose table is full; see `sysctl net.netfilter.nf_conntrack_max`")
    } else if tables.legacy {
        Some("probably a rule of iptables (legacy); see `iptables-legacy -vnL`")
    } else {
        (by == By::Other).then_some("no rule of nftables: conntrack, IPVS or a BPF program")
    }
}
