//! Which drops the filter leaves out by their reason: before anything is read of them, where the reason alone decides.

use tracer_common::{
    drops::{ReasonAction, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, reason_place},
    packet::{HAS_PORTS, Packet, TRUNCATED},
    settings::{WANT_LISTED_REASONS, WANT_SOME_REASONS},
};

use crate::{globals::wants, maps::REASONS};

const IPPROTO_TCP: u8 = 6;

/// What becomes of a drop by this reason; `None`: it is left out.
#[inline(always)]
pub fn action(reason: u32) -> Option<u8> {
    if !wants(WANT_SOME_REASONS) {
        return Some(ReasonAction::Keep as u8);
    }
    let mut action = match REASONS.get_ptr(reason_place(reason)) {
        // SAFETY: a live array slot, written before the programs were attached.
        Some(action) => unsafe { *action },
        None => ReasonAction::Rest as u8,
    };
    if action == ReasonAction::Rest as u8 && wants(WANT_LISTED_REASONS) {
        action = ReasonAction::LeaveOut as u8;
    }
    if action == ReasonAction::LeaveOut as u8 { None } else { Some(action) }
}

/// Whether it is left out for what the packet is. `owner`: its socket, or 0.
#[inline(always)]
pub fn leaves_out(action: u8, packet: &Packet, owner: u64) -> bool {
    if !wants(WANT_SOME_REASONS) {
        return false;
    }
    if action == ReasonAction::LeaveOutButErrors as u8 {
        packet.inner.family == 0
    } else if action == ReasonAction::LeaveOutRemains as u8 {
        owner == 0 && is_remains(packet)
    } else {
        false
    }
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
