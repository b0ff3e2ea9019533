//! Counters outside of snmp and netstat that a trace watches, by the names that its `discard` events have:
//! /proc/net/stat/nf_conntrack, /proc/net/softnet_stat, the statistics of devices and of queueing disciplines.

use crate::Entry;

use super::counter;

/// The entries.
pub const TABLE: &[Entry] = &[
    counter(
        "conntrack_insert_failed",
        &[],
        "Packets whose connection was already in conntrack's table when it was to be added. Most are dropped.",
        &["Two packets of a new connection at once (DNS queries A and AAAA from one socket)", "Clashing source NAT"],
        &["conntrack -S", "nft list ruleset"],
    ),
    counter(
        "conntrack_drop",
        &[],
        "Packets that conntrack dropped because its table was full or memory was short.",
        &["More connections than nf_conntrack_max", "A scan or a flood", "Long timeouts"],
        &["sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max", "conntrack -S"],
    ),
    counter(
        "conntrack_early_drop",
        &[],
        "Connections that conntrack threw out of its full table to make room for new ones.",
        &["More connections than nf_conntrack_max"],
        &["sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max", "conntrack -S"],
    ),
    counter(
        "softnet_dropped",
        &[],
        "Packets for which the backlog of a CPU had no room. The whole host's.",
        &["More packets than one CPU can take (loopback, veth, RPS)", "A small net.core.netdev_max_backlog"],
        &["cat /proc/net/softnet_stat", "sysctl net.core.netdev_max_backlog"],
    ),
    counter(
        "rx_dropped",
        &[],
        "Received packets that a device, or the way from it into the stack, threw away: also those of protocols that nothing takes.",
        &["Frames of a protocol that this host does not speak (LLDP, spanning tree)", "A full backlog", "The driver"],
        &["ip -s -s link", "tcpdump -eni DEV"],
    ),
    counter(
        "rx_missed",
        &["rx_missed_errors"],
        "Received packets that the device threw away because its ring had no room.",
        &["A burst larger than the ring", "A CPU that does not empty it in time"],
        &["ip -s -s link", "ethtool -g DEV", "ethtool -S DEV"],
    ),
    counter(
        "rx_fifo",
        &["rx_fifo_errors"],
        "Received packets for which the device's own buffer had no room.",
        &["A burst larger than the buffer", "A slow bus"],
        &["ip -s -s link", "ethtool -S DEV"],
    ),
    counter(
        "qdisc_drops",
        &[],
        "Packets that the queueing disciplines of a device threw away.",
        &["A link slower than the traffic", "A limit (tbf, htb, police)", "Queue management (fq_codel)"],
        &["tc -s qdisc", "tracer explain QDISC_DROP"],
    ),
];
