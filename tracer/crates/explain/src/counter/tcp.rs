//! The group Tcp of /proc/net/snmp (RFC 4022).

use crate::Entry;

use super::counter;

/// The entries.
pub const TABLE: &[Entry] = &[
    counter(
        "TcpRtoAlgorithm",
        &["TcpRtoMin", "TcpRtoMax", "TcpMaxConn"],
        "Constants that SNMP asks for, not counters: the algorithm of the retransmission timer, its limits in \
         milliseconds, and the limit of connections (-1: none).",
        &["Nothing: they do not change"],
        &["sysctl net.ipv4.tcp_rto_max_ms net.ipv4.tcp_rto_min_us"],
    ),
    counter(
        "TcpActiveOpens",
        &[],
        "Connections that this host began: SYNs, each counted once.",
        &["Normal"],
        &["tracer --event connect"],
    ),
    counter(
        "TcpPassiveOpens",
        &[],
        "Connections that came in: handshakes that were completed at a listener.",
        &["Normal"],
        &["tracer --event accept"],
    ),
    counter(
        "TcpAttemptFails",
        &[],
        "Connections that failed before they were established, in either direction.",
        &["Refused connections", "Half-open connections that timed out or were reset"],
        &["tracer --failed", "nstat -az TcpExtListenDrops TcpExtTCPSynRetrans"],
    ),
    counter(
        "TcpEstabResets",
        &[],
        "Established connections (or those in CLOSE_WAIT) that ended without FIN: a RST either way, a timeout.",
        &["Programs that reset instead of closing", "Peers that are gone"],
        &["tracer --verdict reset_local,reset_remote,timed_out", "nstat -az TcpOutRsts"],
    ),
    counter(
        "TcpCurrEstab",
        &[],
        "Connections in ESTABLISHED or CLOSE_WAIT now. Not a counter: it goes up and down.",
        &["Normal; steady growth: a leak"],
        &["ss -s", "ss -tanp state close-wait"],
    ),
    counter(
        "TcpInSegs",
        &[],
        "Segments received, wrong ones included.",
        &["Normal"],
        &["ip -s link", "nstat -az TcpInErrs"],
    ),
    counter(
        "TcpOutSegs",
        &[],
        "Segments sent, without retransmissions.",
        &["Normal"],
        &["nstat -az TcpRetransSegs", "ip -s link"],
    ),
    counter(
        "TcpRetransSegs",
        &[],
        "Segments sent again. Compare with TcpOutSegs: beyond 1 % users notice.",
        &["Loss on the path", "A peer that is gone", "Reordering that looks like loss"],
        &["ss -tin  # retrans", "nstat -az TcpExtTCPTimeouts TcpExtTCPFastRetrans TcpExtTCPSynRetrans", "tc -s qdisc"],
    ),
    counter(
        "TcpInErrs",
        &[],
        "Segments received in error: too short, wrong checksum.",
        &["Damage on the path", "A driver that offloads checksums wrongly"],
        &["nstat -az TcpInCsumErrors", "ethtool -S DEV"],
    ),
    counter(
        "TcpOutRsts",
        &[],
        "RSTs sent.",
        &["Connections to closed ports", "Programs that close with unread data or SO_LINGER 0", "A scan"],
        &["tracer --verdict reset_local,refused", "nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData"],
    ),
    counter(
        "TcpInCsumErrors",
        &[],
        "Segments with a wrong checksum.",
        &["Damage on the path", "A driver that offloads checksums wrongly"],
        &["ethtool -S DEV", "ethtool -k DEV | grep checksum"],
    ),
];
