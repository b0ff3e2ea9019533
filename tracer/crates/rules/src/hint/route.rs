//! Drops by routing: the packet's own addresses show where it could not go.

use super::{Hint, Site};

/// Functions that drop packets without a route, for drops without a reason.
const INPUT: [&str; 1] = ["ip6_pkt_discard"];
const OUTPUT: [&str; 1] = ["ip6_pkt_discard_out"];

/// The destination; for an implausible source, the source and the device.
pub fn by_itself(site: &Site<'_>) -> Option<Hint> {
    let ends = site.ends?;
    let (from, to) = (ends.saddr, ends.daddr);
    let by = site.iface.map_or(String::new(), |iface| format!(" by {iface}"));
    let at = if site.is_by_function() { site.function } else { "" };
    let text = match site.reason.unwrap_or_default() {
        // IPv6 has this reason for a route that refuses, too.
        "IP_OUTNOROUTES" | "IP_INNOROUTES" if to.is_ipv6() => format!("no route to {to}, or one that refuses it"),
        "IP_OUTNOROUTES" | "IP_INNOROUTES" => format!("no route to {to}"),
        // If the kernel gives reasons, it gives one for packets without a route, and for packets that this host does
        // not forward.
        "NOT_SPECIFIED" if at == "ip_error" => {
            format!("the route to {to} refuses it (blackhole, unreachable or prohibit)")
        }
        _ if INPUT.contains(&at) || OUTPUT.contains(&at) => format!("no route to {to}, or one that refuses it"),
        "IP_RPFILTER" => format!("rp_filter: {from} came in{by}, and no route back to it leads that way"),
        "IP_INADDRERRORS" => format!("{to} cannot be a destination here"),
        "IP_LOCAL_SOURCE" => format!("{from} is an address of this host, and came in{by}"),
        "IP_INVALID_SOURCE" => format!("{from} cannot be a source{by}"),
        "IP_INVALID_DEST" => format!("{to} cannot be a destination{by}"),
        _ => return None,
    };
    Some(Hint::of(text))
}
