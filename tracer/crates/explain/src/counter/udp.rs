//! The groups Udp and UdpLite of /proc/net/snmp and snmp6 (RFC 4113). UDP-Lite has the same names.

use crate::Entry;

use super::counter;

/// The entries.
pub const TABLE: &[Entry] = &[
    counter(
        "UdpInDatagrams",
        &["Udp6InDatagrams", "UdpLiteInDatagrams", "UdpLite6InDatagrams"],
        "Datagrams that were handed to programs.",
        &["Normal"],
        &["ss -uanp"],
    ),
    counter(
        "UdpOutDatagrams",
        &["Udp6OutDatagrams", "UdpLiteOutDatagrams", "UdpLite6OutDatagrams"],
        "Datagrams sent.",
        &["Normal"],
        &["ss -uanp"],
    ),
    counter(
        "UdpNoPorts",
        &["Udp6NoPorts", "UdpLiteNoPorts", "UdpLite6NoPorts"],
        "Datagrams for a port on which no program listens. ICMP port unreachable answers.",
        &["A service that is down", "Late answers to a program that has gone on (DNS)", "A scan"],
        &["ss -lnup", "nstat -az IcmpOutDestUnreachs", "tcpdump -ni DEV 'icmp[0] == 3 and icmp[1] == 3'"],
    ),
    counter(
        "UdpInErrors",
        &["Udp6InErrors", "UdpLiteInErrors", "UdpLite6InErrors"],
        "Datagrams that could not be delivered: full buffer (RcvbufErrors), memory (MemErrors), checksum, and others.",
        &["A program that does not read fast enough", "Damage on the path"],
        &["nstat -az UdpRcvbufErrors UdpMemErrors UdpInCsumErrors", "ss -uamn  # d in skmem: drops of that socket"],
    ),
    counter(
        "UdpRcvbufErrors",
        &["Udp6RcvbufErrors", "UdpLiteRcvbufErrors", "UdpLite6RcvbufErrors"],
        "Datagrams dropped because the receive buffer of their socket was full.",
        &["A program that does not read fast enough", "A burst larger than the buffer"],
        &["ss -uamnp  # Recv-Q, and d in skmem", "sysctl net.core.rmem_max net.core.rmem_default"],
    ),
    counter(
        "UdpSndbufErrors",
        &["Udp6SndbufErrors", "UdpLiteSndbufErrors", "UdpLite6SndbufErrors"],
        "Datagrams that could not be sent because the send buffer, a queue or memory was full.",
        &["A link that is slower than the program sends", "A small SO_SNDBUF"],
        &["ss -uamn", "tc -s qdisc", "sysctl net.core.wmem_max net.core.wmem_default"],
    ),
    counter(
        "UdpMemErrors",
        &["Udp6MemErrors", "UdpLiteMemErrors", "UdpLite6MemErrors"],
        "Datagrams dropped because UDP is at its limit of memory for the whole host (udp_mem) or cgroup.",
        &["Many sockets whose programs do not read"],
        &["cat /proc/net/sockstat", "sysctl net.ipv4.udp_mem"],
    ),
    counter(
        "UdpInCsumErrors",
        &["Udp6InCsumErrors", "UdpLiteInCsumErrors", "UdpLite6InCsumErrors"],
        "Datagrams with a wrong checksum.",
        &["Damage on the path", "A driver that offloads checksums wrongly"],
        &["ethtool -S DEV", "ethtool -k DEV | grep checksum"],
    ),
    counter(
        "UdpIgnoredMulti",
        &["Udp6IgnoredMulti", "UdpLiteIgnoredMulti"],
        "Multicast and broadcast datagrams that no socket wanted. Harmless.",
        &["Service discovery of other hosts (mDNS, SSDP, DHCP)"],
        &["ip maddr show", "tcpdump -ni DEV 'udp and multicast'"],
    ),
];
