//! Filters drops by their reason: before any read of the packet, where the reason alone decides.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::{
    drops::{REASON_PLACES, ReasonAction, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, reason_place},
    packet::{HAS_PORTS, Packet, TRUNCATED},
    settings::{WANT_LISTED_REASONS, WANT_SOME_REASONS},
};

use super::memory::SCRATCH;
use crate::globals::wants;

/// The [`tracer_common::drops::ReasonAction`] for each reason, with `WANT_SOME_REASONS`. The agent gives it the least
/// size without.
#[map]
pub static REASONS: Array<u8> = Array::with_max_entries(REASON_PLACES, 0);

const IPPROTO_TCP: u8 = 6;

// Both `extern` functions are global: the verifier follows their paths once, not again for each path that leads on.

/// Returns the action for a drop with this reason; `None` if the filter leaves it out.
#[inline(always)]
pub fn action(reason: u32) -> Option<u32> {
    if !wants(WANT_SOME_REASONS) {
        return Some(ReasonAction::Keep as u32);
    }
    let action = action_of_reason(reason);
    if action == ReasonAction::LeaveOut as u32 { None } else { Some(action) }
}

/// Returns the [`ReasonAction`] as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn action_of_reason(reason: u32) -> u32 {
    let mut action = match REASONS.get_ptr(reason_place(reason)) {
        // SAFETY: a live array slot, written before the programs were attached.
        Some(action) => unsafe { *action },
        None => ReasonAction::Rest as u8,
    };
    if action == ReasonAction::Rest as u8 && wants(WANT_LISTED_REASONS) {
        action = ReasonAction::LeaveOut as u8;
    }
    u32::from(action)
}

/// Whether `action` leaves the drop out because of its packet. `owner`: its socket, or 0.
#[inline(always)]
pub fn leaves_out(action: u32, owner: u64) -> bool {
    wants(WANT_SOME_REASONS) && packet_is_left_out(action, owner) != 0
}

/// Returns 1 if `action` leaves out the packet in this CPU's scratch.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn packet_is_left_out(action: u32, owner: u64) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr(0) else { return 0 };
    // SAFETY: this CPU's own place; the caller has marked it as busy.
    let packet = unsafe { &(*scratch).packet };
    let left_out = if action == ReasonAction::LeaveOutButErrors as u32 {
        packet.inner.family == 0
    } else if action == ReasonAction::LeaveOutRemains as u32 {
        owner == 0 && is_remains(packet)
    } else {
        false
    };
    u32::from(left_out)
}

/// Whether the packet is a segment that neither asks for a connection nor belongs to one. Matches the agent's `class`.
#[inline(always)]
fn is_remains(packet: &Packet) -> bool {
    let (flow, flags) = (&packet.flow, packet.tcp_flags);
    let asks = flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
    flow.protocol == IPPROTO_TCP
        && flow.flags & (HAS_PORTS | TRUNCATED) == HAS_PORTS
        && !asks
        && flags & (TCP_RST | TCP_FIN | TCP_ACK) != 0
}
