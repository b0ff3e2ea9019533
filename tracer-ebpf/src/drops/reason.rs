//! Which drops the filter leaves out by their reason: before anything is read of them, where the reason alone decides.

use tracer_common::{
    drops::{ReasonAction, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, reason_place},
    packet::{HAS_PORTS, Packet, TRUNCATED},
    settings::{WANT_LISTED_REASONS, WANT_SOME_REASONS},
};

use crate::{
    globals::wants,
    maps::{REASONS, SCRATCH},
};

const IPPROTO_TCP: u8 = 6;

// Both are global functions: the verifier follows their ways once, and not again for each way that leads on.

/// What becomes of a drop by this reason; `None`: it is left out.
#[inline(always)]
pub fn action(reason: u32) -> Option<u32> {
    if !wants(WANT_SOME_REASONS) {
        return Some(ReasonAction::Keep as u32);
    }
    let action = action_of_reason(reason);
    if action == ReasonAction::LeaveOut as u32 { None } else { Some(action) }
}

/// A [`ReasonAction`] by number.
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

/// Whether it is left out for what the packet is. `owner`: its socket, or 0.
#[inline(always)]
pub fn leaves_out(action: u32, owner: u64) -> bool {
    wants(WANT_SOME_REASONS) && packet_is_left_out(action, owner) != 0
}

/// 1 if the packet of this CPU is one that `action` leaves out.
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

/// A segment that neither asks for a connection nor belongs to one. The agent's `class` says the same.
#[inline(always)]
fn is_remains(packet: &Packet) -> bool {
    let (flow, flags) = (&packet.flow, packet.tcp_flags);
    let asks = flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
    flow.protocol == IPPROTO_TCP
        && flow.flags & (HAS_PORTS | TRUNCATED) == HAS_PORTS
        && !asks
        && flags & (TCP_RST | TCP_FIN | TCP_ACK) != 0
}
