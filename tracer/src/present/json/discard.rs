//! The keys of events of the kernel's counters.

use super::{list, name, number, optional, string, write_short_owner};
use crate::stream::Discard;

/// Appends the keys of a `discard`.
pub fn write(out: &mut Vec<u8>, discard: &Discard) {
    name(out, b",\"counter\":\"", discard.counter);
    out.extend_from_slice(b",\"count\":");
    number(out, discard.count);
    name(out, b",\"meaning\":\"", discard.meaning);
    if let Some(iface) = &discard.iface {
        out.extend_from_slice(b",\"iface\":");
        string(out, iface);
    }
    optional(out, b",\"queue\":", discard.queue);
    optional(out, b",\"backlog\":", discard.backlog);
    if let Some((count, most)) = discard.conntrack {
        optional(out, b",\"conntrack_count\":", Some(count));
        optional(out, b",\"conntrack_max\":", Some(most));
    }
    if discard.no_accept_us.is_some() {
        optional(out, b",\"no_accept_us\":", discard.no_accept_us);
    }
    if !discard.clients.is_empty() {
        out.extend_from_slice(b",\"clients\":");
        list(out, &discard.clients, |out, owner| write_short_owner(out, owner));
    }
}
