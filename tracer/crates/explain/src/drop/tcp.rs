//! Reasons of `enum skb_drop_reason` that TCP gives (net/ipv4/tcp_input.c, tcp_minisocks.c, tcp_ipv4.c).

use crate::DropClass::{Loss, Noise, Policy, Teardown};
use crate::Entry;

use super::drop;

const KEYS: &[&str] = &["ss -tine", "tcpdump -M SECRET -vni DEV port PORT"];
const NAT_CLOCKS: &[&str] = &["nstat -az TcpExtPAWSEstab TcpExtPAWSTimewait", "sysctl net.ipv4.tcp_timestamps"];

/// The entries.
pub const TABLE: &[Entry] = &[
    drop(
        "SKB_DROP_REASON_TCP_CSUM",
        Loss,
        "The TCP checksum is wrong: the segment was damaged on the way.",
        &[
            "A bad cable, port or memory on the path",
            "A virtual device or driver that offloads checksums wrongly",
            "A middlebox that rewrote the packet and not the checksum",
        ],
        &["nstat -az TcpInCsumErrors", "ethtool -k DEV | grep checksum", "ethtool -S DEV"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_AUTH_HDR",
        Policy,
        "The signature options are malformed: TCP-MD5 and TCP-AO together, or one of them twice.",
        &["A peer with another idea of the configuration", "A crafted packet"],
        KEYS,
    ),
    drop(
        "SKB_DROP_REASON_TCP_MD5NOTFOUND",
        Policy,
        "The socket requires an MD5 signature of this peer, and the segment has none.",
        &["Only one side has the BGP password configured", "A spoofed segment"],
        &["nstat -az TcpExtTCPMD5NotFound", "ss -tine"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_MD5UNEXPECTED",
        Policy,
        "The segment has an MD5 signature, and the socket has no key for this peer.",
        &["Only the peer has the BGP password configured", "The key is configured for another address"],
        &["nstat -az TcpExtTCPMD5Unexpected", "ss -tine"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_MD5FAILURE",
        Policy,
        "The MD5 signature does not fit the key.",
        &["The passwords differ", "NAT changed the addresses, which the signature covers"],
        &["nstat -az TcpExtTCPMD5Failure", "dmesg | grep -i md5"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_AONOTFOUND",
        Policy,
        "The socket requires a TCP-AO signature, and the segment has none.",
        &["Only one side has TCP-AO configured", "A spoofed segment"],
        &["nstat -az TcpExtTCPAORequired", "ss -tine"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_AOUNEXPECTED",
        Policy,
        "The segment has a TCP-AO signature, and the socket expects none.",
        &["Only the peer has TCP-AO configured"],
        &["nstat -az TcpExtTCPAOKeyNotFound", "ss -tine"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_AOKEYNOTFOUND",
        Policy,
        "The segment is signed with a TCP-AO key that this socket does not have.",
        &["Key ids differ between the two sides", "A key was rotated on one side only"],
        &["nstat -az TcpExtTCPAOKeyNotFound", "ss -tine"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_AOFAILURE",
        Policy,
        "The TCP-AO signature is wrong.",
        &["The secrets differ", "NAT changed what the signature covers"],
        &["nstat -az TcpExtTCPAOBad", "ss -tine"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_FLAGS",
        Noise,
        "The flags make no sense in this state: SYN with FIN to a listener, neither ACK nor SYN nor RST, no SYN in the \
         answer to a SYN.",
        &["A port scanner", "Rests of an older connection with the same ports"],
        &["tcpdump -ni DEV 'tcp[tcpflags] & (tcp-syn|tcp-fin) == (tcp-syn|tcp-fin)'"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_ABORT_ON_DATA",
        Teardown,
        "Data arrived for a connection that the program had closed already. No program can read it, so the connection is \
         reset.",
        &["The program closed while the peer was still sending", "The peer ignores the FIN"],
        &["nstat -az TcpExtTCPAbortOnData", "tracer --verdict reset_local"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_ZEROWINDOW",
        Loss,
        "Data arrived although the window was announced as closed: the receive buffer is full.",
        &["The program does not read", "The peer probes a closed window with data"],
        &["ss -tmin  # Recv-Q of the socket", "nstat -az TcpExtTCPZeroWindowDrop", "sysctl net.ipv4.tcp_rmem"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OLD_DATA",
        Noise,
        "The data was received before: a retransmission that was not needed.",
        &[
            "Our ACK was late or lost, and the peer sent again",
            "The peer's retransmission timer is short for this path",
            "A keepalive probe with one old byte",
        ],
        &["nstat -az TcpExtDelayedACKLost TcpExtTCPDSACKOldSent", "ss -tin"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OVERWINDOW",
        Loss,
        "The data begins beyond the window that was offered.",
        &[
            "A peer that ignores the window",
            "The window was shrunk under memory pressure",
            "Crafted or misrouted segments",
        ],
        &["ss -tmin", "nstat -az TcpExtTCPRcvQDrop TcpExtTCPZeroWindowDrop", "sysctl net.ipv4.tcp_shrink_window"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OFOMERGE",
        Noise,
        "All of its data is already in the queue of what arrived out of order.",
        &["The peer retransmitted more than was missing", "A path that duplicates packets"],
        &["nstat -az TcpExtTCPOFOMerge TcpExtTCPDSACKOfoSent"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_RFC7323_PAWS",
        Loss,
        "Its timestamp is older than what the connection has seen: PAWS takes it for a packet of the past.",
        &[
            "Several hosts behind one NAT address whose clocks of timestamps differ",
            "Packets that were delayed or duplicated for long",
            "A middlebox that rewrites timestamps",
        ],
        NAT_CLOCKS,
    ),
    drop(
        "SKB_DROP_REASON_TCP_RFC7323_PAWS_ACK",
        Noise,
        "A pure ACK with an old timestamp that came late. Newer ACKs have said all that it says.",
        &["Reordering on the path or between receive queues"],
        &["nstat -az TcpExtPAWSOldAck", "ss -tin"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_RFC7323_TW_PAWS",
        Loss,
        "A segment for a connection in TIME_WAIT has an older timestamp than that connection had.",
        &[
            "A client behind NAT reuses the ports of another one: its SYN is not answered as it expects",
            "Late duplicates of the old connection",
        ],
        &["nstat -az TcpExtPAWSTimewait", "ss -tan state time-wait", "sysctl net.ipv4.tcp_timestamps"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_RFC7323_TSECR",
        Loss,
        "The last ACK of the handshake echoes a timestamp that was never sent.",
        &["A middlebox that rewrites timestamps", "A spoofed ACK"],
        &["nstat -az TcpExtTSEcrRejected", "sysctl net.ipv4.tcp_timestamps"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_LISTEN_OVERFLOW",
        Loss,
        "The handshake is complete, but the listener's accept queue is full: the last ACK is dropped, and the client \
         believes itself connected. A SYN that is refused for the same cause is not reported as a drop; \
         TcpExtListenDrops counts both.",
        &[
            "The program does not call accept() fast enough: too few workers, blocked, stopped",
            "The backlog given to listen() or net.core.somaxconn is small for the bursts",
        ],
        &[
            "ss -lnt  # Recv-Q (waiting) against Send-Q (limit)",
            "nstat -az TcpExtListenOverflows TcpExtListenDrops",
            "sysctl net.core.somaxconn net.ipv4.tcp_abort_on_overflow",
        ],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OLD_SEQUENCE",
        Noise,
        "All of its sequence numbers are before the window: a duplicate.",
        &["A spurious retransmission", "A keepalive probe, or a window probe", "A path that duplicates packets"],
        &["nstat -az TcpExtTCPDSACKOldSent", "ss -tin"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_INVALID_SEQUENCE",
        Loss,
        "Its sequence number is outside of the window. Kernels that do not know TCP_OLD_SEQUENCE count old duplicates \
         here, too.",
        &[
            "A middlebox lost track of the connection, or rewrites sequence numbers",
            "A segment of an older connection with the same ports",
            "Old duplicates (where TCP_OLD_SEQUENCE does not exist)",
        ],
        &["nstat -az TcpExtTCPACKSkippedSeq TcpExtTCPChallengeACK", "tcpdump -Sni DEV host ADDRESS and port PORT"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_INVALID_END_SEQUENCE",
        Loss,
        "The segment begins within the window and ends beyond it.",
        &["A peer that sends more than the window allows", "The window was shrunk because memory was short"],
        &["nstat -az TcpExtBeyondWindow", "ss -tmin", "sysctl net.ipv4.tcp_shrink_window"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_INVALID_ACK_SEQUENCE",
        Loss,
        "It acknowledges a byte that is not between the oldest unacknowledged byte and the last one sent: mostly an \
         answer to a SYN that was not sent.",
        &["The peer still holds an old connection with these ports", "A middlebox that answers on its own"],
        &["tcpdump -Sni DEV host ADDRESS and port PORT", "nstat -az TcpExtTCPChallengeACK"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_RESET",
        Noise,
        "A RST was not accepted: its sequence number is within the window, but not the expected one, or it answers no \
         SYN of ours. A challenge ACK asks the peer to confirm.",
        &["Data was in flight when the peer reset", "A firewall that injects RSTs", "A blind reset attack"],
        &["nstat -az TcpExtTCPChallengeACK", "tcpdump -Sni DEV 'tcp[tcpflags] & tcp-rst != 0'"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_INVALID_SYN",
        Noise,
        "A SYN arrived for a connection that exists. A challenge ACK asks the peer to confirm.",
        &[
            "The peer restarted and uses the same port again, while this side still holds the old connection",
            "NAT gave the same port to another client",
        ],
        &["nstat -az TcpExtTCPSYNChallenge", "ss -tano dst ADDRESS"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_CLOSE",
        Teardown,
        "The socket has reached CLOSE by the time the packet is handled.",
        &["The last packets of a connection that just ended"],
        &["tracer --event close", "ss -tan"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_FASTOPEN",
        Loss,
        "A connection opened by TCP Fast Open got a segment that does not fit its handshake.",
        &["The client's SYN or the answer to it was changed on the way", "A duplicate of the SYN"],
        &["nstat -az TcpExtTCPFastOpenPassive TcpExtTCPFastOpenPassiveFail", "sysctl net.ipv4.tcp_fastopen"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OLD_ACK",
        Noise,
        "It acknowledges data that was acknowledged before. A later ACK overtook it.",
        &["Reordering on the path", "A duplicate"],
        &["ss -tin", "nstat -az TcpExtTCPTSReorder TcpExtTCPSACKReorder"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_TOO_OLD_ACK",
        Noise,
        "It acknowledges more than a whole window ago. RFC 5961 takes that for an injection, and a challenge ACK \
         answers.",
        &["A blind injection", "A middlebox with an old state", "A very late packet"],
        &["nstat -az TcpExtTCPChallengeACK", "sysctl net.ipv4.tcp_challenge_ack_limit"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_ACK_UNSENT_DATA",
        Loss,
        "It acknowledges data that was not sent yet.",
        &[
            "A middlebox that changes sequence numbers or answers for the peer",
            "A connection restored with wrong numbers (TCP_REPAIR)",
            "An injection",
        ],
        &[
            "nstat -az TcpExtTCPChallengeACK TcpExtTCPACKSkippedChallenge",
            "tcpdump -Sni DEV host ADDRESS and port PORT",
        ],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE",
        Loss,
        "The queue of data that arrived out of order was thrown away because memory ran out. The peer has to send it \
         again.",
        &["The receive buffer is full behind one lost segment", "tcp_mem or the memory cgroup is at its limit"],
        &["nstat -az TcpExtOfoPruned TcpExtRcvPruned TcpExtPruneCalled", "sysctl net.ipv4.tcp_rmem net.ipv4.tcp_mem"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_OFO_DROP",
        Noise,
        "A segment that waited out of order is no longer needed: its data has arrived in order meanwhile.",
        &["Retransmissions that overlap"],
        &["nstat -az TcpExtTCPOFOQueue TcpExtTCPOFODrop", "ss -tin"],
    ),
];
