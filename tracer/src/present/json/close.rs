//! The keys of a `close`.

use super::super::number::append as number;
use super::{address, name, optional, write_errno, write_owner};
use crate::stream::{Close, Icmp};

/// Appends the keys, each with a comma before it.
pub fn write(out: &mut Vec<u8>, close: &Close) {
    optional(out, b",\"duration_us\":", close.duration_us);
    optional(out, b",\"connect_us\":", close.connect_us);
    optional(out, b",\"accept_wait_us\":", close.accept_wait_us);
    optional(out, b",\"tx_bytes\":", close.tx_bytes);
    optional(out, b",\"rx_bytes\":", close.rx_bytes);
    optional(out, b",\"unacked_bytes\":", close.unacked_bytes);
    optional(out, b",\"retransmits\":", close.retransmits);
    optional(out, b",\"drops\":", close.drops);
    optional(out, b",\"srtt_us\":", close.srtt_us);
    optional(out, b",\"min_rtt_us\":", close.min_rtt_us);
    optional(out, b",\"idle_us\":", close.idle_us);
    out.extend_from_slice(match close.unanswered {
        Some(true) => b",\"unanswered\":true",
        Some(false) => b",\"unanswered\":false",
        None => b",\"unanswered\":null",
    });
    name(out, b",\"verdict\":\"", close.verdict.name());
    write_errno(out, close.errno);
    if let Some(owner) = &close.held_by {
        out.extend_from_slice(b",\"held_by\":");
        write_owner(out, owner);
    }
    if let Some(icmp) = &close.icmp {
        write_icmp(out, icmp);
    }
    if close.syns.is_some() {
        optional(out, b",\"syns\":", close.syns);
    }
    out.extend_from_slice(if close.preexisting { b",\"preexisting\":true" } else { b",\"preexisting\":false" });
    if close.incomplete {
        out.extend_from_slice(b",\"incomplete\":true");
    }
    if close.sockmap {
        out.extend_from_slice(b",\"sockmap\":true");
    }
}

fn write_icmp(out: &mut Vec<u8>, icmp: &Icmp) {
    out.extend_from_slice(b",\"icmp\":{\"type\":");
    number(out, icmp.kind.into());
    out.extend_from_slice(b",\"code\":");
    number(out, icmp.code.into());
    match icmp.meaning() {
        Some(meaning) => name(out, b",\"meaning\":\"", meaning),
        None => out.extend_from_slice(b",\"meaning\":null"),
    }
    address(out, b",\"from\":", Some(icmp.from));
    out.push(b'}');
}
