//! Drops because the next hop's hardware address is missing.

use std::net::IpAddr;

use tracer_tables::netlink::neigh::Neighbour;

use super::{Hint, Site};

/// Functions that drop packets which wait for a neighbour, for drops without a reason (IPv6 up to 6.18 at least).
const SITES: [&str; 4] = ["neigh_invalidate", "__neigh_event_send", "ndisc_error_report", "arp_error_report"];

/// Whether a packet was dropped for its neighbour.
pub fn is_neighbour(site: &Site<'_>) -> bool {
    site.ends.is_some()
        && (site.reason.is_some_and(|reason| reason.starts_with("NEIGH_"))
            || site.is_by_function() && SITES.contains(&site.function))
}

/// Names the neighbour and its state. The next hop is the destination if the neighbour table has it, else the only
/// neighbour that did not answer, if there is exactly one.
pub fn explain(site: &Site<'_>, ifindex: u32, neighbours: Option<&[Neighbour]>) -> Option<Hint> {
    let to = site.ends?.daddr;
    let on = site.iface.map_or(String::new(), |iface| format!(" on {iface}"));
    let what = match site.reason {
        Some("NEIGH_QUEUEFULL") => "too many packets wait for the answer of",
        Some("NEIGH_DEAD") => "its entry was just removed:",
        Some("NEIGH_CREATEFAIL") => "no entry can be made for",
        Some("NEIGH_HH_FILLFAIL") => "no header can be made for",
        _ => "no answer from",
    };
    let here = || {
        let same =
            move |neighbour: &&Neighbour| neighbour.ifindex == ifindex && neighbour.address.is_ipv4() == to.is_ipv4();
        neighbours.unwrap_or_default().iter().filter(same)
    };
    let hop: Option<IpAddr> = if here().any(|neighbour| neighbour.address == to) {
        Some(to)
    } else {
        let mut silent = here().filter(|neighbour| neighbour.is_unanswered());
        silent.next().filter(|_| silent.next().is_none()).map(|neighbour| neighbour.address)
    };
    Some(Hint::of(match hop {
        Some(hop) if hop == to => format!("{what} neighbour {to}{on}"),
        Some(hop) => format!("{what} next hop {hop}{on}, on the way to {to}"),
        None => format!("{what} the next hop to {to}{on}"),
    }))
}
