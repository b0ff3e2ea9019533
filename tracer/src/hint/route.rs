//! Drops by routing: the packet's own addresses say where it could not go.

use super::{Hint, function, is_by_site};
use crate::stream::Drop;

/// Functions that drop what has no route, where there is no reason.
const INPUT: [&str; 1] = ["ip6_pkt_discard"];
const OUTPUT: [&str; 1] = ["ip6_pkt_discard_out"];

/// The destination; for a source that is not believed, that and the device.
pub fn by_itself(drop: &Drop) -> Option<Hint> {
    let ends = drop.ends?;
    let (from, to) = (ends.saddr, ends.daddr);
    let by = drop.iface.as_deref().map_or(String::new(), |iface| format!(" by {iface}"));
    let site = if is_by_site(drop) { function(drop.symbol.as_deref()) } else { "" };
    let text = match drop.reason.as_deref().unwrap_or_default() {
        "IP_OUTNOROUTES" | "IP_INNOROUTES" => format!("no route to {to}"),
        _ if INPUT.contains(&site) || OUTPUT.contains(&site) => format!("no route to {to}"),
        "IP_RPFILTER" => format!("rp_filter: {from} came in{by}, and the way back is another"),
        "IP_INADDRERRORS" => format!("{to} cannot be a destination here"),
        "IP_LOCAL_SOURCE" => format!("{from} is an address of this host, and came in{by}"),
        "IP_INVALID_SOURCE" => format!("{from} cannot be a source{by}"),
        "IP_INVALID_DEST" => format!("{to} cannot be a destination{by}"),
        _ => return None,
    };
    Some(Hint::of(text))
}
