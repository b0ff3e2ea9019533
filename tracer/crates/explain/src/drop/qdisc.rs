//! Reasons of `enum qdisc_drop_reason`, a subsystem of its own in newer kernels
//! (include/net/dropreason-qdisc.h).

use crate::DropClass::{Loss, Noise};
use crate::{Entry, Family};

use super::{entry, link::QDISC};

const fn qdisc(
    name: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    entry(Family::Qdisc, name, &[], Loss, meaning, causes, look)
}

/// The entries.
pub const TABLE: &[Entry] = &[
    entry(
        Family::Qdisc,
        "QDISC_DROP_UNSPEC",
        &["__QDISC_DROP_REASON", "QDISC_DROP_MAX"],
        Noise,
        "A mark of the enumeration (no reason, the base of the numbers, their end), not a reason.",
        &["A tool that does not know this kernel's numbers", "A qdisc that forgot to set its reason"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_GENERIC",
        "The queue of the outgoing device did not take it, and does not say more.",
        &[
            "The queue is full: the link is slower than the traffic",
            "A class or filter of the qdisc has no place for it",
        ],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_OVERLIMIT",
        "The queue of the outgoing device is at its limit of packets or bytes.",
        &["The link is slower than the traffic", "A small limit"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_CONGESTED",
        "The queue's active management (CoDel, PIE, RED) dropped it to tell the sender to slow down.",
        &["The link is saturated: this is how senders without ECN learn of it"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_MAXFLOWS",
        "The qdisc has no free place for another flow.",
        &["More flows than the table holds (sfq)", "A scan or a flood with changing ports"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_FLOOD_PROTECTION",
        "Flood protection (BLUE in CAKE) dropped it: this flow does not slow down.",
        &["A flow without congestion control", "An attack"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_BAND_LIMIT",
        "The queue is at the limit for that priority band (fq).",
        &["The link is slower than the traffic in this band"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_HORIZON_LIMIT",
        "The packet asks to be sent later than the horizon of the queue allows (fq).",
        &["A program with wrong SO_TXTIME values or pacing", "A clock that was mixed up (TAI, realtime)"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_FLOW_LIMIT",
        "One flow is at the limit for a flow (fq, sfq).",
        &["A UDP sender that is faster than the link", "Many packets of one socket without pacing"],
        QDISC,
    ),
    qdisc(
        "QDISC_DROP_L4S_STEP_NON_ECN",
        "DualPI2's low latency queue waited too long, and the packet could not be marked because it has no ECN.",
        &["Traffic without ECN that was put into the L4S queue", "The link is saturated"],
        QDISC,
    ),
];
