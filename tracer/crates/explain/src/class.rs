//! The meaning of a drop for an operator: five classes.
//!
//! A reason belongs to the first class that holds:
//!
//! 1. `policy`: a configured rule decided so, and would decide the same again: netfilter, BPF, XDP, tc filters, socket
//!    filters, security modules, IPsec, signatures (TCP-MD5, TCP-AO, PSP), TTL security, validation of source
//!    addresses, a sysctl that forbids. The explanation is in the rules, not in the network.
//! 2. `refused`: the destination does not want it, now or later, and the sender is notified or could know: no socket,
//!    no such protocol, no such VNI. A full accept queue is not `refused`: the receiver wants the packet, the peer gets
//!    no notice (unless `tcp_abort_on_overflow`), it waits and tries again. That hurts as loss does. So do full receive
//!    buffers.
//! 3. `teardown`: a remnant of a connection, socket or device that ends.
//! 4. `noise`: its loss is harmless: duplicates, chatter for others, probes that are answered by other means, and the
//!    markers in the enumerations that are no reasons.
//! 5. `loss`: everything else. Full queues and buffers, damage, missing routes and neighbours, malformed packets (their
//!    sender meant something), deliberate drops of queue management (they slow a sender down), and reasons unknown to
//!    this program: the unknown may hurt.

use super::{Entry, Family};
pub use tracer_stream::DropClass;

/// The class of a drop reason by its name in BTF or tracefs, with or without `SKB_DROP_REASON_`. An unknown reason is
/// `loss`.
#[must_use]
pub fn of_reason(reason: &str) -> DropClass {
    super::drop_reason(reason).and_then(|entry| entry.class).unwrap_or(DropClass::Loss)
}

const fn class(
    name: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Class, name, also: &[], class: None, meaning, causes, look }
}

/// The entries.
pub const TABLE: &[Entry] = &[
    class(
        "loss",
        "A dropped packet that its receiver misses: it has to be sent again, or is lost for good.",
        &[
            "A queue or buffer is full",
            "No route, or no answer from the next hop",
            "Damaged or malformed packets",
            "A reason that tracer does not know",
        ],
        &["nstat -az TcpRetransSegs", "ip -s -s link", "tc -s qdisc"],
    ),
    class(
        "policy",
        "A rule dropped the packet: netfilter, BPF, XDP, tc, a security module, IPsec, source validation.",
        &["A firewall or network policy that works as it is written"],
        &["nft list ruleset", "bpftool net show", "tc -s filter show dev DEV ingress"],
    ),
    class(
        "refused",
        "The destination has no use for the packet: no socket, no such protocol. It usually notifies the sender.",
        &["The service is not running, or not on this address", "A scan"],
        &["ss -lntu", "tracer --verdict refused"],
    ),
    class(
        "teardown",
        "A packet that was left over when a connection, socket or device ended. Normal.",
        &["Closing with data in flight"],
        &["tracer --event close"],
    ),
    class(
        "noise",
        "A packet whose loss is harmless: a duplicate, or chatter for others.",
        &["Spurious retransmissions", "Broadcasts and multicasts without a receiver here"],
        &["tcpdump -eni DEV"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_explained() {
        for class in DropClass::ALL {
            assert!(TABLE.iter().any(|entry| entry.name == class.name()), "{class:?}");
        }
        assert_eq!(TABLE.len(), DropClass::ALL.len());
    }

    #[test]
    fn reasons_are_classified_as_documented() {
        for (reason, class) in [
            ("NETFILTER_DROP", DropClass::Policy),
            ("SKB_DROP_REASON_IP_RPFILTER", DropClass::Policy),
            ("TCP_MD5FAILURE", DropClass::Policy),
            ("XDP", DropClass::Policy),
            ("OVS_DROP_LAST_ACTION", DropClass::Policy),
            ("NO_SOCKET", DropClass::Refused),
            ("SKB_DROP_REASON_IP_NOPROTO", DropClass::Refused),
            ("TCP_LISTEN_OVERFLOW", DropClass::Loss),
            ("SOCKET_RCVBUFF", DropClass::Loss),
            ("QDISC_DROP_CONGESTED", DropClass::Loss),
            ("TCP_CLOSE", DropClass::Teardown),
            ("SKB_CONSUMED", DropClass::Teardown),
            ("QUEUE_PURGE", DropClass::Teardown),
            ("TCP_OLD_DATA", DropClass::Noise),
            ("OTHERHOST", DropClass::Noise),
            ("RX_DROP_U_DUP", DropClass::Noise),
            ("NOT_SPECIFIED", DropClass::Loss),
            ("A_REASON_OF_TOMORROW", DropClass::Loss),
            ("", DropClass::Loss),
        ] {
            assert_eq!(of_reason(reason), class, "{reason}");
        }
    }
}
