//! The groups Ip (RFC 4293, /proc/net/snmp), IpExt (/proc/net/netstat) and Ip6 (/proc/net/snmp6).

use crate::Entry;

use super::counter;

const TRAFFIC: &[&str] = &["ip -s link", "nstat -az"];
const REASSEMBLY: &[&str] = &[
    "sysctl net.ipv4.ipfrag_time net.ipv4.ipfrag_high_thresh net.ipv6.ip6frag_time net.ipv6.ip6frag_high_thresh",
    "cat /proc/net/sockstat  # FRAG",
    "tcpdump -ni DEV 'ip[6:2] & 0x3fff != 0'",
];
const FRAGMENTING: &[&str] = &["ip link show  # mtu", "tracepath ADDRESS", "nstat -az IpFragFails Ip6FragFails"];
const ECN: &[&str] = &["sysctl net.ipv4.tcp_ecn", "tc -s qdisc  # ecn_mark", "ss -tin"];

/// The entries.
pub const TABLE: &[Entry] = &[
    counter(
        "IpForwarding",
        &["IpDefaultTTL"],
        "Settings that SNMP asks for, not counters: whether this host forwards IPv4 (1 yes, 2 no), and its default TTL.",
        &["Nothing: they change only by sysctl"],
        &["sysctl net.ipv4.ip_forward net.ipv4.ip_default_ttl"],
    ),
    counter("IpInReceives", &["Ip6InReceives"], "Packets received, wrong ones included.", &["Normal"], TRAFFIC),
    counter(
        "IpInHdrErrors",
        &["Ip6InHdrErrors"],
        "Packets dropped because of their header: version, length, checksum, options, TTL that ran out.",
        &["A routing loop (TTL), or traceroute through this router", "Damaged or crafted packets"],
        &["tcpdump -vni DEV", "nstat -az IcmpOutTimeExcds", "ethtool -S DEV"],
    ),
    counter(
        "IpInAddrErrors",
        &["Ip6InAddrErrors"],
        "Packets dropped because of their address: not for this host, and not to be forwarded.",
        &["Packets for others while forwarding is off", "An address that was removed"],
        &[
            "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
            "ip addr",
            "ip route get ADDRESS from SOURCE iif DEV",
        ],
    ),
    counter(
        "IpForwDatagrams",
        &["Ip6OutForwDatagrams"],
        "Packets that this host forwarded.",
        &["Normal for routers and hosts of containers"],
        &["sysctl net.ipv4.ip_forward", "ip route"],
    ),
    counter(
        "IpInUnknownProtos",
        &["Ip6InUnknownProtos"],
        "Packets of a protocol that this host does not handle.",
        &["A module that is not loaded", "A protocol scan"],
        &["tcpdump -ni DEV 'not tcp and not udp and not icmp'", "cat /proc/net/protocols"],
    ),
    counter(
        "IpInDiscards",
        &["Ip6InDiscards"],
        "Good packets that were dropped on the way in, mostly for lack of memory.",
        &["Memory was short", "A policy (IPsec) did not allow them"],
        &["cat /proc/pressure/memory", "cat /proc/net/xfrm_stat"],
    ),
    counter(
        "IpInDelivers",
        &["Ip6InDelivers"],
        "Packets handed to a protocol (TCP, UDP, ICMP …).",
        &["Normal"],
        TRAFFIC,
    ),
    counter(
        "IpOutRequests",
        &["Ip6OutRequests"],
        "Packets that local protocols asked to be sent.",
        &["Normal"],
        TRAFFIC,
    ),
    counter(
        "IpOutTransmits",
        &["Ip6OutTransmits"],
        "Packets handed to a device: own, forwarded, and their fragments.",
        &["Normal"],
        TRAFFIC,
    ),
    counter(
        "IpOutDiscards",
        &["Ip6OutDiscards"],
        "Good packets that were dropped on the way out: a full queue, memory, a rule.",
        &["The queue of the device is full", "A firewall rule on output", "The next hop does not answer ARP"],
        &["tc -s qdisc", "nft list ruleset", "ip neigh"],
    ),
    counter(
        "IpOutNoRoutes",
        &["Ip6OutNoRoutes"],
        "Packets that this host wanted to send and has no route for.",
        &["No default route", "A program uses IPv6 addresses on a host without IPv6"],
        &["ip route get ADDRESS", "ip -6 route", "ip rule"],
    ),
    counter(
        "IpExtInNoRoutes",
        &["Ip6InNoRoutes"],
        "Packets received for which there is no route.",
        &["A router without a default route", "Addresses behind an interface that is down"],
        &["ip route get ADDRESS from SOURCE iif DEV", "ip rule"],
    ),
    counter(
        "IpExtInTruncatedPkts",
        &["Ip6InTruncatedPkts"],
        "Packets shorter than their header says.",
        &["A broken driver or tunnel", "Crafted packets"],
        &["tcpdump -vni DEV", "ethtool -S DEV"],
    ),
    counter(
        "Ip6InTooBigErrors",
        &[],
        "IPv6 packets that did not fit the MTU of the way out; this host notified the sender (packet too big).",
        &["A tunnel with a smaller MTU"],
        FRAGMENTING,
    ),
    counter(
        "IpReasmReqds",
        &["Ip6ReasmReqds"],
        "Fragments received that have to be put together.",
        &["Large UDP datagrams (DNS, NFS, tunnels)"],
        REASSEMBLY,
    ),
    counter("IpReasmOKs", &["Ip6ReasmOKs"], "Packets put together from fragments.", &["Normal"], REASSEMBLY),
    counter(
        "IpReasmFails",
        &["Ip6ReasmFails", "IpReasmTimeout", "Ip6ReasmTimeout"],
        "Packets that could not be put together from fragments; Timeout: the rest did not come in time.",
        &[
            "Loss: one lost fragment loses the packet",
            "A firewall that drops fragments",
            "The memory for fragments is full",
        ],
        REASSEMBLY,
    ),
    counter(
        "IpExtReasmOverlaps",
        &[],
        "Fragments that overlap others. The whole packet is dropped.",
        &["An attack", "A broken sender or duplicate identifiers"],
        REASSEMBLY,
    ),
    counter(
        "IpFragOKs",
        &["Ip6FragOKs"],
        "Packets that were cut into fragments.",
        &["Datagrams larger than the MTU"],
        FRAGMENTING,
    ),
    counter(
        "IpFragFails",
        &["Ip6FragFails"],
        "Packets that did not fit the MTU and could not be cut, mostly because don't fragment is set.",
        &["Path MTU discovery at work", "A tunnel with a smaller MTU"],
        FRAGMENTING,
    ),
    counter("IpFragCreates", &["Ip6FragCreates"], "Fragments made.", &["Datagrams larger than the MTU"], FRAGMENTING),
    counter(
        "IpExtInOctets",
        &["IpExtOutOctets", "Ip6InOctets", "Ip6OutOctets"],
        "Bytes received (In) and sent (Out) in IP packets, headers included.",
        &["Normal"],
        TRAFFIC,
    ),
    counter(
        "IpExtInMcastPkts",
        &[
            "IpExtOutMcastPkts",
            "IpExtInMcastOctets",
            "IpExtOutMcastOctets",
            "Ip6InMcastPkts",
            "Ip6OutMcastPkts",
            "Ip6InMcastOctets",
            "Ip6OutMcastOctets",
        ],
        "Multicast packets and their bytes, received (In) and sent (Out).",
        &["Service discovery, routing protocols, neighbour discovery", "A stream with a subscriber"],
        &["ip maddr show", "tcpdump -ni DEV multicast"],
    ),
    counter(
        "IpExtInBcastPkts",
        &["IpExtOutBcastPkts", "IpExtInBcastOctets", "IpExtOutBcastOctets", "Ip6InBcastOctets", "Ip6OutBcastOctets"],
        "Broadcast packets and their bytes, received (In) and sent (Out). IPv6 has none: those stay 0.",
        &["DHCP, ARP-like discovery of programs", "A large flat network"],
        &["tcpdump -ni DEV broadcast"],
    ),
    counter(
        "IpExtInCsumErrors",
        &[],
        "IPv4 packets with a wrong header checksum.",
        &["Damage on the path", "A driver that offloads wrongly"],
        &["ethtool -S DEV", "tcpdump -vni DEV"],
    ),
    counter(
        "IpExtInNoECTPkts",
        &["Ip6InNoECTPkts"],
        "Packets received without ECN: only a drop can signal congestion.",
        &["Normal"],
        ECN,
    ),
    counter(
        "IpExtInECT0Pkts",
        &["IpExtInECT1Pkts", "Ip6InECT0Pkts", "Ip6InECT1Pkts"],
        "Packets received whose sender understands ECN (ECT1: of the L4S kind, mostly).",
        &["Normal with tcp_ecn"],
        ECN,
    ),
    counter(
        "IpExtInCEPkts",
        &["Ip6InCEPkts"],
        "Packets received that a router marked as congested.",
        &["A saturated link on the way to this host"],
        ECN,
    ),
];
