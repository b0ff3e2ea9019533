//! Reasons of `enum skb_drop_reason` of IPv4, IPv6, ICMP, UDP and fragments.

use crate::DropClass::{Loss, Noise, Policy, Refused};
use crate::Entry;

use super::drop;

const DAMAGED: &[&str] = &["ethtool -S DEV", "ethtool -k DEV | grep checksum", "tcpdump -vni DEV  # bad cksum"];
const MARTIAN: &[&str] =
    &["sysctl net.ipv4.conf.all.log_martians", "dmesg | grep -i martian", "ip route show table local"];
const FRAGMENTS4: &[&str] =
    &["nstat -az IpReasmFails IpReasmTimeout IpReasmReqds", "sysctl net.ipv4.ipfrag_time net.ipv4.ipfrag_high_thresh"];
const NDISC: &[&str] = &["tcpdump -vni DEV icmp6", "ip -6 neigh"];

/// The entries.
pub const TABLE: &[Entry] = &[
    drop(
        "SKB_DROP_REASON_PKT_TOO_SMALL",
        Loss,
        "The packet is shorter than its headers say.",
        &["A truncated or crafted packet", "A broken driver, tunnel or middlebox"],
        &["tcpdump -vni DEV", "ethtool -S DEV", "nstat -az IpExtInTruncatedPkts UdpInErrors TcpInErrs"],
    ),
    drop(
        "SKB_DROP_REASON_UDP_CSUM",
        Loss,
        "The UDP checksum is wrong: the datagram was damaged on the way.",
        &[
            "A virtual device or driver that offloads checksums wrongly",
            "Damage on the path",
            "NAT or a tunnel that changed the packet and not the checksum",
        ],
        &["nstat -az UdpInCsumErrors Udp6InCsumErrors", "ethtool -k DEV | grep checksum"],
    ),
    drop(
        "SKB_DROP_REASON_ICMP_CSUM",
        Loss,
        "The ICMP checksum is wrong.",
        &["Damage on the path", "A middlebox that changed the packet and not the checksum"],
        &["nstat -az IcmpInCsumErrors Icmp6InCsumErrors", "ethtool -S DEV"],
    ),
    drop(
        "SKB_DROP_REASON_IP_CSUM",
        Loss,
        "The checksum of the IPv4 header is wrong.",
        &["Damage on the path", "A device that offloads wrongly"],
        DAMAGED,
    ),
    drop(
        "SKB_DROP_REASON_IP_INHDR",
        Loss,
        "The IP header is wrong: version, length or options; or the TTL ran out while this host forwarded it.",
        &["A routing loop (TTL)", "traceroute through this router (TTL)", "A truncated or crafted packet"],
        &["nstat -az IpInHdrErrors Ip6InHdrErrors IcmpOutTimeExcds", "ip route get ADDRESS", "tcpdump -vni DEV"],
    ),
    drop(
        "SKB_DROP_REASON_OTHERHOST",
        Noise,
        "The packet is addressed to another host's MAC address. The device is in promiscuous mode, so it was seen.",
        &["tcpdump or a bridge put the device into promiscuous mode", "A switch that floods"],
        &["ip -d link show DEV  # promiscuity", "nstat -az"],
    ),
    drop(
        "SKB_DROP_REASON_IP_RPFILTER",
        Policy,
        "The reverse path filter: the route back to the source leaves by another device.",
        &[
            "Asymmetric routing, several uplinks, policy routing",
            "A VPN or container device without a route back",
            "A spoofed source address",
        ],
        &[
            "nstat -az TcpExtIPReversePathFilter",
            "sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter",
            "ip route get SOURCE",
        ],
    ),
    drop(
        "SKB_DROP_REASON_UNICAST_IN_L2_MULTICAST",
        Policy,
        "A unicast IP packet came in a broadcast or multicast frame, and drop_unicast_in_l2_multicast forbids that.",
        &["A cluster that shares one address by multicast MAC", "An attack on a wireless network (hole 196)"],
        &["sysctl net.ipv4.conf.all.drop_unicast_in_l2_multicast net.ipv6.conf.all.drop_unicast_in_l2_multicast"],
    ),
    drop(
        "SKB_DROP_REASON_IP_NOPROTO",
        Refused,
        "Nothing on this host handles that IP protocol. The answer is ICMP protocol unreachable.",
        &["A protocol whose module is not loaded (SCTP, GRE, ESP)", "A protocol scan"],
        &["nstat -az IpInUnknownProtos Ip6InUnknownProtos", "tcpdump -ni DEV 'not tcp and not udp and not icmp'"],
    ),
    drop(
        "SKB_DROP_REASON_IP_OUTNOROUTES",
        Loss,
        "This host sends a packet for which it has no route.",
        &[
            "The default route or the interface went",
            "A routing table or rule that does not match",
            "A namespace without routes",
        ],
        &["ip route get ADDRESS", "ip rule", "nstat -az IpOutNoRoutes Ip6OutNoRoutes"],
    ),
    drop(
        "SKB_DROP_REASON_IPV6DISABLED",
        Policy,
        "IPv6 is disabled on that device.",
        &["net.ipv6.conf.DEV.disable_ipv6 is set, and a sender uses IPv6 anyhow"],
        &["sysctl net.ipv6.conf.all.disable_ipv6 net.ipv6.conf.default.disable_ipv6", "ip -6 addr"],
    ),
    drop(
        "SKB_DROP_REASON_INVALID_PROTO",
        Noise,
        "The packet breaks a rule of its protocol that is there to prevent storms, such as an ICMP echo or timestamp \
         request to a broadcast address.",
        &["ping to a broadcast address", "An amplification attack"],
        &["sysctl net.ipv4.icmp_echo_ignore_broadcasts", "nstat -az IcmpInErrors"],
    ),
    drop(
        "SKB_DROP_REASON_IP_INADDRERRORS",
        Loss,
        "The route lookup for a received packet says that the host cannot be reached.",
        &["A route of type unreachable", "Forwarding is off, and the packet is for another host"],
        &[
            "ip route get ADDRESS from SOURCE iif DEV",
            "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
            "nstat -az IpInAddrErrors Ip6InAddrErrors",
        ],
    ),
    drop(
        "SKB_DROP_REASON_IP_INNOROUTES",
        Loss,
        "The route lookup for a received packet says that the network cannot be reached.",
        &["This router has no route to the destination", "IPv6: the destination is on the wrong side"],
        &["ip route get ADDRESS from SOURCE iif DEV", "nstat -az IpExtInNoRoutes Ip6InNoRoutes"],
    ),
    drop(
        "SKB_DROP_REASON_IP_LOCAL_SOURCE",
        Policy,
        "The source is an address of this host itself, yet the packet came from outside.",
        &["Two hosts with the same address", "A loop in the network sends packets back", "A spoofed packet"],
        &["sysctl net.ipv4.conf.all.accept_local", "ip neigh", "dmesg | grep -i martian"],
    ),
    drop(
        "SKB_DROP_REASON_IP_INVALID_SOURCE",
        Policy,
        "The source address cannot be one: multicast, broadcast, or 0.0.0.0.",
        &["A host without an address yet", "A spoofed or broken packet"],
        MARTIAN,
    ),
    drop(
        "SKB_DROP_REASON_IP_LOCALNET",
        Policy,
        "A loopback address (127.0.0.0/8) as source or destination on a device that is not loopback.",
        &["DNAT to 127.0.0.1 without route_localnet", "A spoofed packet"],
        &["sysctl net.ipv4.conf.all.route_localnet", "dmesg | grep -i martian"],
    ),
    drop(
        "SKB_DROP_REASON_IP_INVALID_DEST",
        Policy,
        "The destination address cannot be one: 0.0.0.0.",
        &["A program without a configured address", "A broken packet"],
        MARTIAN,
    ),
    drop(
        "SKB_DROP_REASON_PKT_TOO_BIG",
        Loss,
        "The packet is larger than the MTU of the way out and may not be fragmented. ICMP notifies the sender.",
        &[
            "A tunnel or VPN with a smaller MTU",
            "Path MTU discovery is blocked by a firewall that drops ICMP",
            "Different MTUs on one network",
        ],
        &[
            "ip link show",
            "tracepath ADDRESS",
            "nstat -az IpFragFails Ip6InTooBigErrors",
            "sysctl net.ipv4.tcp_mtu_probing",
        ],
    ),
    drop(
        "SKB_DROP_REASON_DUP_FRAG",
        Noise,
        "A fragment that is already there.",
        &["A path that duplicates packets", "A crafted fragment"],
        FRAGMENTS4,
    ),
    drop(
        "SKB_DROP_REASON_FRAG_REASM_TIMEOUT",
        Loss,
        "Not all fragments of a packet arrived in time, so those that did were discarded.",
        &[
            "Loss on the path: one lost fragment loses the packet",
            "A firewall that drops fragments",
            "The reassembly memory is full",
        ],
        FRAGMENTS4,
    ),
    drop(
        "SKB_DROP_REASON_FRAG_TOO_FAR",
        Loss,
        "More than ipfrag_max_dist other packets of the same source came between the fragments of this one.",
        &["A fast sender with much reordering", "Loss, so that identifiers wrap"],
        &["sysctl net.ipv4.ipfrag_max_dist", "nstat -az IpReasmFails"],
    ),
    drop(
        "SKB_DROP_REASON_IPV6_BAD_EXTHDR",
        Loss,
        "An extension header of IPv6 is malformed.",
        &["A crafted packet", "A broken middlebox"],
        &["nstat -az Ip6InHdrErrors", "tcpdump -vvni DEV ip6"],
    ),
    drop(
        "SKB_DROP_REASON_IPV6_TOO_MANY_EXTHDRS",
        Policy,
        "It has more IPv6 extension headers than this kernel accepts.",
        &["A crafted packet that is meant to cost time"],
        &["nstat -az Ip6InHdrErrors", "tcpdump -vvni DEV ip6"],
    ),
    drop(
        "SKB_DROP_REASON_IPV6_NDISC_FRAG",
        Policy,
        "A fragmented neighbour discovery message; suppress_frag_ndisc forbids them.",
        &["An attack that evades RA guard", "Very many options in a router advertisement"],
        &["sysctl net.ipv6.conf.all.suppress_frag_ndisc", "tcpdump -vni DEV icmp6"],
    ),
    drop(
        "SKB_DROP_REASON_IPV6_NDISC_HOP_LIMIT",
        Loss,
        "A neighbour discovery message whose hop limit is not 255: it was forwarded, or forged from afar.",
        &["A forged message", "A device that forwards link-local traffic"],
        NDISC,
    ),
    drop(
        "SKB_DROP_REASON_IPV6_NDISC_BAD_CODE",
        Loss,
        "A neighbour discovery message with an ICMPv6 code that is not 0.",
        &["A forged or broken message"],
        NDISC,
    ),
    drop(
        "SKB_DROP_REASON_IPV6_NDISC_BAD_OPTIONS",
        Loss,
        "The options of a neighbour discovery message are malformed.",
        &["A forged or broken message", "A router with a broken advertisement"],
        NDISC,
    ),
    drop(
        "SKB_DROP_REASON_IPV6_NDISC_NS_OTHERHOST",
        Noise,
        "A neighbour solicitation for an address of another host.",
        &["Normal multicast on a shared network"],
        NDISC,
    ),
    drop(
        "SKB_DROP_REASON_ARP_PVLAN_DISABLE",
        Noise,
        "An ARP request for an address that lies behind the device it came from. Answering it is the business of \
         proxy_arp_pvlan, which is off.",
        &["Normal ARP requests of other hosts on the network of a router"],
        &["sysctl net.ipv4.conf.all.proxy_arp_pvlan net.ipv4.conf.all.proxy_arp"],
    ),
];
