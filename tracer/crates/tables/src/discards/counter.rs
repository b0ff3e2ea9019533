//! The counters that a trace watches.

/// The subject and the source of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// /proc/net/netstat: of a listener's handshakes. `sk_drops` of the listener counts them, too.
    Listener,
    /// /proc/net/netstat.
    TcpExt,
    /// /proc/net/snmp: datagrams over IPv4. `sk_drops` of the socket counts them, too.
    Udp,
    /// /proc/net/snmp6: the same over IPv6.
    Udp6,
    /// /proc/net/stat/nf_conntrack.
    Conntrack,
    /// /proc/net/softnet_stat: the whole host's.
    Softnet,
    /// /proc/net/dev, and netlink where that file has two in one: a device's.
    Device,
    /// Netlink: the sum of all queueing disciplines of a device.
    Qdisc,
}

/// A watched counter.
#[derive(Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name in the stream: that of `nstat`, or of `tracer explain`.
    pub name: &'static str,
    /// Its name at the source.
    pub column: &'static str,
    /// Its subject.
    pub group: Group,
    /// Its meaning, as the end of a sentence that begins with a number.
    pub meaning: &'static str,
    /// Reasons of drop events for the same packets. Such a packet is counted once: by the event; the counter's count
    /// leaves it out.
    pub reasons: &'static [&'static str],
    /// For kernels without reasons (before 5.17): functions whose drops are the same packets.
    pub functions: &'static [&'static str],
}

const fn ext(name: &'static str, reasons: &'static [&'static str], meaning: &'static str) -> Counter {
    let (_, column) = name.split_at("TcpExt".len());
    Counter { name, column, group: Group::TcpExt, meaning, reasons, functions: &[] }
}

const fn listener(name: &'static str, reasons: &'static [&'static str], meaning: &'static str) -> Counter {
    Counter { group: Group::Listener, ..ext(name, reasons, meaning) }
}

const UDP_FUNCTIONS: &[&str] = &[
    "__udp_queue_rcv_skb",
    "udp_queue_rcv_one_skb",
    "udp_queue_rcv_skb",
    "__udpv6_queue_rcv_skb",
    "udpv6_queue_rcv_one_skb",
    "udpv6_queue_rcv_skb",
];

const fn udp(
    name: &'static str,
    column: &'static str,
    group: Group,
    reasons: &'static [&'static str],
    meaning: &'static str,
) -> Counter {
    Counter { name, column, group, meaning, reasons, functions: UDP_FUNCTIONS }
}

/// Functions in which queueing disciplines drop, and the caller of those at the way out.
const QUEUE_FUNCTIONS: &[&str] = &["__dev_queue_xmit", "__dev_xmit_skb", "kfree_skb_list", "kfree_skb_list_reason"];

/// A counter of unsent datagrams. The sender gets `ENOBUFS` if a queueing discipline or a filter of tc drops its
/// datagram.
const fn not_sent(name: &'static str, column: &'static str, group: Group) -> Counter {
    let meaning = "datagrams not sent: send buffer or queue full";
    Counter { name, column, group, meaning, reasons: &["TC_EGRESS"], functions: QUEUE_FUNCTIONS }
}

const fn conntrack(
    name: &'static str,
    column: &'static str,
    reasons: &'static [&'static str],
    meaning: &'static str,
) -> Counter {
    Counter { name, column, group: Group::Conntrack, meaning, reasons, functions: &["nf_hook_slow"] }
}

const fn device(name: &'static str, meaning: &'static str) -> Counter {
    Counter {
        name,
        column: name,
        group: Group::Device,
        meaning,
        reasons: &[],
        functions: &["__netif_receive_skb_core", "enqueue_to_backlog", "veth_xdp_rcv_skb", "veth_poll"],
    }
}

/// The reason without a meaning.
pub const UNSPECIFIED: &str = "NOT_SPECIFIED";
/// SYNs, and ACKs that end a handshake, that found the queue for accept() full.
pub const OVERFLOWS: &str = "TcpExtListenOverflows";
/// All that a listener discards, including the ones above.
pub const LISTEN_DROPS: &str = "TcpExtListenDrops";
/// Datagrams that found the receive buffer of their socket full.
pub const UDP_FULL: [&str; 2] = ["UdpRcvbufErrors", "Udp6RcvbufErrors"];
/// Packets that the receiving side of a device discarded.
pub const RX_DROPPED: &str = "rx_dropped";
/// Packets that found a device's ring full.
pub const RX_MISSED: &str = "rx_missed";
/// Packets that queueing disciplines discarded.
pub const QDISC_DROPS: &str = "qdisc_drops";
/// Packets that found a CPU's backlog full.
pub const SOFTNET_DROPPED: &str = "softnet_dropped";

/// All watched counters.
pub static COUNTERS: [Counter; 34] = [
    listener(OVERFLOWS, &["TCP_LISTEN_OVERFLOW"], "packets of handshakes discarded: the accept queue was full"),
    listener("TcpExtTCPReqQFullDrop", &[], "SYNs discarded: too many handshakes under way, and SYN cookies are off"),
    listener(LISTEN_DROPS, &[], "packets of handshakes discarded by a listener for another reason than a full queue"),
    ext("TcpExtTCPReqQFullDoCookies", &[], "SYNs answered with SYN cookies: too many handshakes under way"),
    ext("TcpExtTCPBacklogDrop", &["SOCKET_BACKLOG"], "segments discarded: the socket was busy and its backlog full"),
    ext("TcpExtRcvPruned", &["PROTO_MEM"], "segments discarded: the receive buffer was full"),
    ext(
        "TcpExtOfoPruned",
        &["TCP_OFO_QUEUE_PRUNE"],
        "times out-of-order data was discarded: the receive buffer was full",
    ),
    ext("TcpExtTCPRcvQDrop", &["PROTO_MEM"], "segments discarded: the receive queue was full"),
    ext("TcpExtTCPOFODrop", &["PROTO_MEM"], "out-of-order segments discarded: the receive buffer was full"),
    ext("TcpExtPAWSActive", &["TCP_RFC7323_PAWS"], "SYN-ACKs discarded: their timestamp was wrong"),
    ext("TcpExtPAWSEstab", &["TCP_RFC7323_PAWS"], "segments discarded: their timestamp was old"),
    ext("TcpExtPAWSOldAck", &["TCP_RFC7323_PAWS_ACK"], "ACKs discarded: their timestamp was old"),
    ext(
        "TcpExtPAWSTimewait",
        &["TCP_RFC7323_TW_PAWS"],
        "segments to TIME_WAIT sockets discarded: their timestamp was old",
    ),
    ext(
        "TcpExtTSEcrRejected",
        &["TCP_RFC7323_TSECR"],
        "segments discarded: they echoed a timestamp that was never sent",
    ),
    ext("TcpExtTCPMemoryPressures", &[], "times the memory of TCP ran short: buffers shrink"),
    ext("TcpExtTCPAbortOnMemory", &[], "connections ended: no memory for TCP, or too many orphans"),
    ext("TcpExtIPReversePathFilter", &["IP_RPFILTER"], "packets discarded by rp_filter: no route leads back"),
    ext("TcpExtTCPMD5NotFound", &["TCP_MD5NOTFOUND"], "segments discarded: they had no MD5 signature"),
    ext(
        "TcpExtTCPMD5Unexpected",
        &["TCP_MD5UNEXPECTED"],
        "segments discarded: they had an MD5 signature that nothing asks for",
    ),
    ext("TcpExtTCPMD5Failure", &["TCP_MD5FAILURE"], "segments discarded: their MD5 signature was wrong"),
    udp(UDP_FULL[0], "RcvbufErrors", Group::Udp, &["SOCKET_RCVBUFF"], "datagrams discarded: receive buffer full"),
    udp("UdpMemErrors", "MemErrors", Group::Udp, &["PROTO_MEM"], "datagrams discarded: the memory of UDP is used up"),
    not_sent("UdpSndbufErrors", "SndbufErrors", Group::Udp),
    udp(UDP_FULL[1], "Udp6RcvbufErrors", Group::Udp6, &["SOCKET_RCVBUFF"], "datagrams discarded: receive buffer full"),
    udp(
        "Udp6MemErrors",
        "Udp6MemErrors",
        Group::Udp6,
        &["PROTO_MEM"],
        "datagrams discarded: the memory of UDP is used up",
    ),
    not_sent("Udp6SndbufErrors", "Udp6SndbufErrors", Group::Udp6),
    conntrack(
        "conntrack_insert_failed",
        "insert_failed",
        &["NETFILTER_DROP"],
        "packets whose connection conntrack had already",
    ),
    conntrack("conntrack_drop", "drop", &["NETFILTER_DROP"], "packets dropped by conntrack: its table was full"),
    conntrack("conntrack_early_drop", "early_drop", &[], "connections thrown out of conntrack's table to make room"),
    Counter {
        name: SOFTNET_DROPPED,
        column: "dropped",
        group: Group::Softnet,
        meaning: "packets discarded: the backlog of a CPU was full",
        reasons: &["CPU_BACKLOG"],
        functions: &["enqueue_to_backlog"],
    },
    Counter {
        reasons: &["CPU_BACKLOG", "UNHANDLED_PROTO", "PTYPE_ABSENT", "FULL_RING"],
        ..device(RX_DROPPED, "received packets discarded by a device or on their way from it")
    },
    device(RX_MISSED, "received packets discarded: the ring of the device was full"),
    device("rx_fifo", "received packets discarded: the buffer of the device was full"),
    Counter {
        name: QDISC_DROPS,
        column: "drops",
        group: Group::Qdisc,
        meaning: "packets discarded by a queueing discipline",
        reasons: &["QDISC_DROP"],
        functions: QUEUE_FUNCTIONS,
    },
];

/// The counter of this name in the stream.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Counter> {
    COUNTERS.iter().find(|counter| counter.name == name)
}

impl Counter {
    /// Whether drop events with `reason`, or without one at `function`, stand for packets that it counts.
    #[must_use]
    pub fn tells_of(&self, reason: Option<&str>, function: &str) -> bool {
        let function = function.split('.').next().unwrap_or_default();
        match reason {
            None | Some(UNSPECIFIED) => self.functions.contains(&function),
            Some(reason) => self.reasons.contains(&reason) || self.counts_queues() && is_of_queue(reason),
        }
    }

    /// Whether it counts drops by queueing disciplines.
    fn counts_queues(&self) -> bool {
        self.group == Group::Qdisc || self.functions == QUEUE_FUNCTIONS
    }
}

/// Whether a queueing discipline has this reason: from 7.1 on each cause has a name of its own.
fn is_of_queue(reason: &str) -> bool {
    ["QDISC_", "FQ_", "CAKE_"].iter().any(|prefix| reason.starts_with(prefix))
}

/// Whether a counter counts drops with this reason: then they have to be seen, even if they are not shown.
#[must_use]
pub fn counts(reason: &str) -> bool {
    reason != UNSPECIFIED && COUNTERS.iter().any(|counter| counter.tells_of(Some(reason), ""))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_a_queue_drops_is_the_datagram_that_was_not_sent() {
        for name in ["UdpSndbufErrors", "Udp6SndbufErrors", QDISC_DROPS] {
            let counter = by_name(name).unwrap();
            for reason in ["QDISC_DROP", "QDISC_OVERLIMIT", "FQ_FLOW_LIMIT"] {
                assert!(counter.tells_of(Some(reason), ""), "{name} {reason}");
            }
            assert!(counter.tells_of(None, "__dev_queue_xmit") && !counter.tells_of(Some("NETFILTER_DROP"), ""));
        }
        assert!(!by_name(RX_DROPPED).unwrap().tells_of(Some("QDISC_DROP"), ""));
    }

    #[test]
    fn a_drop_without_a_reason_is_of_a_counter_only_where_that_counts() {
        let rx_dropped = by_name(RX_DROPPED).unwrap();
        for reason in [None, Some(UNSPECIFIED)] {
            assert!(rx_dropped.tells_of(reason, "__netif_receive_skb_core.constprop.0"));
            assert!(!rx_dropped.tells_of(reason, "ip6_mc_input") && !rx_dropped.tells_of(reason, ""));
        }
        assert!(rx_dropped.tells_of(Some("UNHANDLED_PROTO"), "ip6_mc_input"));
    }

    #[test]
    fn what_conntrack_only_classifies_is_no_discard() {
        assert_eq!(by_name("conntrack_invalid"), None);
    }
}
