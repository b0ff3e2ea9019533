//! The groups Icmp (/proc/net/snmp) and Icmp6 (/proc/net/snmp6). `In` is received, `Out` is sent.

use crate::Entry;

use super::counter;

const BOTH: &[&str] =
    &["tcpdump -vni DEV 'icmp or icmp6'", "nstat -az IcmpInErrors IcmpOutErrors Icmp6InErrors Icmp6OutErrors"];
const NEIGHBOURS: &[&str] = &["ip -6 neigh", "ip -6 route", "tcpdump -vni DEV icmp6"];
const GROUPS: &[&str] = &["ip maddr show", "cat /proc/net/igmp6", "tcpdump -vni DEV icmp6"];

/// The entries.
pub const TABLE: &[Entry] = &[
    counter(
        "IcmpInMsgs",
        &["IcmpOutMsgs", "Icmp6InMsgs", "Icmp6OutMsgs"],
        "ICMP messages received (In) and sent or tried (Out).",
        &["Normal"],
        BOTH,
    ),
    counter(
        "IcmpInErrors",
        &["Icmp6InErrors"],
        "ICMP messages that were wrong, or quoted a packet that this host did not send.",
        &["Forged or damaged messages", "Errors for connections that are gone"],
        BOTH,
    ),
    counter(
        "IcmpOutErrors",
        &["Icmp6OutErrors"],
        "ICMP messages that could not be sent.",
        &["No route back", "Memory was short"],
        BOTH,
    ),
    counter(
        "IcmpInCsumErrors",
        &["Icmp6InCsumErrors"],
        "ICMP messages with a wrong checksum.",
        &["Damage on the path"],
        &["ethtool -S DEV", "tcpdump -vni DEV 'icmp or icmp6'"],
    ),
    counter(
        "IcmpOutRateLimitGlobal",
        &["IcmpOutRateLimitHost", "Icmp6OutRateLimitHost"],
        "ICMP messages not sent because of a rate limit: of this host as a whole (Global) or for one destination (Host).",
        &["A scan or a flood of packets for closed ports", "Many large packets through a router with a small MTU"],
        &[
            "sysctl net.ipv4.icmp_msgs_per_sec net.ipv4.icmp_ratelimit net.ipv6.icmp.ratelimit",
            "nstat -az IcmpOutDestUnreachs UdpNoPorts",
        ],
    ),
    counter(
        "IcmpInDestUnreachs",
        &["IcmpOutDestUnreachs", "Icmp6InDestUnreachs", "Icmp6OutDestUnreachs"],
        "Destination unreachable: no route, no host, no port, or prohibited. For IPv4 also fragmentation needed.",
        &["Closed UDP ports", "Firewalls that reject", "Path MTU discovery (IPv4)"],
        &["tcpdump -vni DEV 'icmp[0] == 3 or icmp6[0] == 1'", "tracer --verdict refused,unreachable"],
    ),
    counter(
        "Icmp6InPktTooBigs",
        &["Icmp6OutPktTooBigs"],
        "Packet too big: path MTU discovery of IPv6.",
        &["A tunnel or VPN with a smaller MTU"],
        &["ip -6 route get ADDRESS  # mtu", "tracepath ADDRESS"],
    ),
    counter(
        "IcmpInTimeExcds",
        &["IcmpOutTimeExcds", "Icmp6InTimeExcds", "Icmp6OutTimeExcds"],
        "Time exceeded: a TTL ran out, or fragments did not come in time.",
        &["traceroute", "A routing loop"],
        &["ip route get ADDRESS", "tcpdump -vni DEV 'icmp[0] == 11 or icmp6[0] == 3'"],
    ),
    counter(
        "IcmpInParmProbs",
        &["IcmpOutParmProbs", "Icmp6InParmProblems", "Icmp6OutParmProblems"],
        "Parameter problem: a header or option that was not understood.",
        &["Unknown IP options or extension headers", "Crafted packets"],
        BOTH,
    ),
    counter(
        "IcmpInSrcQuenchs",
        &["IcmpOutSrcQuenchs"],
        "Source quench, an obsolete request to slow down. Linux ignores it.",
        &["A very old device"],
        BOTH,
    ),
    counter(
        "IcmpInRedirects",
        &["IcmpOutRedirects", "Icmp6InRedirects", "Icmp6OutRedirects"],
        "Redirect: there is a better router on the same network.",
        &["A default route to the wrong one of two routers", "Forged messages"],
        &["sysctl net.ipv4.conf.all.accept_redirects net.ipv4.conf.all.send_redirects", "ip route show cache"],
    ),
    counter(
        "IcmpInEchos",
        &[
            "IcmpOutEchos",
            "IcmpInEchoReps",
            "IcmpOutEchoReps",
            "Icmp6InEchos",
            "Icmp6OutEchos",
            "Icmp6InEchoReplies",
            "Icmp6OutEchoReplies",
        ],
        "Echo requests and replies: ping.",
        &["Monitoring", "A ping flood"],
        &["sysctl net.ipv4.icmp_echo_ignore_all net.ipv6.icmp.echo_ignore_all", "tcpdump -ni DEV 'icmp or icmp6'"],
    ),
    counter(
        "IcmpInTimestamps",
        &[
            "IcmpOutTimestamps",
            "IcmpInTimestampReps",
            "IcmpOutTimestampReps",
            "IcmpInAddrMasks",
            "IcmpOutAddrMasks",
            "IcmpInAddrMaskReps",
            "IcmpOutAddrMaskReps",
        ],
        "Requests for the time or the netmask, and replies: hardly used any more.",
        &["A security scanner"],
        BOTH,
    ),
    counter(
        "Icmp6InGroupMembQueries",
        &[
            "Icmp6OutGroupMembQueries",
            "Icmp6InGroupMembResponses",
            "Icmp6OutGroupMembResponses",
            "Icmp6InGroupMembReductions",
            "Icmp6OutGroupMembReductions",
            "Icmp6InMLDv2Reports",
            "Icmp6OutMLDv2Reports",
        ],
        "Multicast listener discovery: queries of routers, reports and leave messages of hosts.",
        &["Normal: each interface reports its groups"],
        GROUPS,
    ),
    counter(
        "Icmp6InRouterSolicits",
        &["Icmp6OutRouterSolicits", "Icmp6InRouterAdvertisements", "Icmp6OutRouterAdvertisements"],
        "Router discovery: requests of hosts and advertisements of routers.",
        &["Normal; none received: no IPv6 router, or RAs are filtered"],
        &["sysctl net.ipv6.conf.all.accept_ra", "ip -6 route show proto ra", "tcpdump -vni DEV icmp6"],
    ),
    counter(
        "Icmp6InNeighborSolicits",
        &["Icmp6OutNeighborSolicits", "Icmp6InNeighborAdvertisements", "Icmp6OutNeighborAdvertisements"],
        "Neighbour discovery: the ARP of IPv6.",
        &["Normal; many requests without answers: a scan, or hosts that are gone"],
        NEIGHBOURS,
    ),
    counter(
        "IcmpMsgInType",
        &["IcmpMsgOutType", "Icmp6InType", "Icmp6OutType"],
        "ICMP messages by the number of their type, which the name ends with (such as IcmpMsgInType3). Only types that \
         occurred are listed.",
        &["See the IANA list of ICMP types: 3 unreachable, 8 echo; ICMPv6: 1 unreachable, 128 echo, 135 neighbour \
           solicitation"],
        BOTH,
    ),
];
