//! The group MPTcpExt of /proc/net/netstat (net/mptcp/mib.c; RFC 8684).

use crate::Entry;

use super::counter;

const MPTCP: &[&str] = &["ss -tinM", "ip mptcp monitor", "ip mptcp endpoint show", "ip mptcp limits show"];
const FALLBACKS: &[&str] = &[
    "ss -tinM",
    "tcpdump -vni DEV 'tcp[tcpflags] & tcp-syn != 0'  # mptcp options",
    "sysctl net.mptcp.enabled net.mptcp.blackhole_timeout",
];
const WINDOWS: &[&str] = &["ss -tmin", "ss -minM"];

/// The entries.
pub const TABLE: &[Entry] = &[
    counter(
        "MPTcpExtMPCapableSYNRX",
        &["MPTcpExtMPCapableSYNTX", "MPTcpExtMPCapableSYNACKRX", "MPTcpExtMPCapableACKRX"],
        "Steps of the MPTCP handshake: SYN received, SYN sent, SYN-ACK received, last ACK received, each with \
         MP_CAPABLE.",
        &["Normal where MPTCP is used"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPCapableFallbackACK",
        &["MPTcpExtMPCapableFallbackSYNACK", "MPTcpExtMPCapableDataFallback"],
        "Connections that fell back to TCP because the peer's answer lacked MP_CAPABLE: the last ACK (as server), the \
         SYN-ACK (as client), the first data.",
        &["The peer does not know MPTCP", "A middlebox strips the option"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtMPCapableSYNTXDrop",
        &["MPTcpExtMPCapableSYNTXDisabled", "MPTcpExtBlackhole"],
        "MPTCP was given up because SYNs with MP_CAPABLE get no answer: for one connection (Drop), by being disabled \
         after several (Disabled); Blackhole counts how often such a path was noticed.",
        &["A firewall that drops unknown TCP options"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtMPCapableEndpAttempt",
        &[],
        "Attempts to open a new connection at a port that only takes further subflows.",
        &["A client that uses the announced port for a new connection", "A scan"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPFallbackTokenInit",
        &[],
        "Connections that fell back to TCP because no token could be made.",
        &["Very many MPTCP connections", "Memory was short"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtMD5SigFallback",
        &["MPTcpExtMD5SigReset"],
        "Connections that fell back to TCP, or were reset, because TCP-MD5 and MPTCP exclude each other.",
        &["TCP-MD5 is configured on an MPTCP socket"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtDSSCorruptionFallback",
        &["MPTcpExtDSSCorruptionReset", "MPTcpExtDssFallback", "MPTcpExtDssReset", "MPTcpExtSimultConnectFallback"],
        "Connections that fell back to TCP, or subflows that were reset: the data mapping (DSS) was damaged or missing, \
         or both sides connected at the same time.",
        &["A middlebox that changes, splits or merges segments", "A proxy that answers in the peer's place"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtFallbackFailed",
        &[],
        "Connections that should have fallen back to TCP and could not, because they had more than one subflow already.",
        &["A middlebox on a path of a connection with several subflows"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtMPTCPRetrans",
        &[],
        "Data sent again at the level of MPTCP, on the same or another subflow.",
        &["A path that is slow or interrupted"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPJoinSynRx",
        &[
            "MPTcpExtMPJoinSynBackupRx",
            "MPTcpExtMPJoinSynAckRx",
            "MPTcpExtMPJoinSynAckBackupRx",
            "MPTcpExtMPJoinAckRx",
            "MPTcpExtMPJoinSynTx",
            "MPTcpExtMPJoinPortSynRx",
            "MPTcpExtMPJoinPortSynAckRx",
            "MPTcpExtMPJoinPortAckRx",
        ],
        "Steps of joining a further subflow (MP_JOIN): SYN, SYN-ACK and ACK received, SYN sent. Backup: with the backup \
         flag. Port: at a port of its own.",
        &["Normal where MPTCP is used"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPJoinNoTokenFound",
        &["MPTcpExtMPJoinNoIdFound", "MPTcpExtMPJoinNotEstablished"],
        "Joins of a subflow to a connection that this host does not know, by an address id that it does not know, or \
         before the connection is fully established.",
        &["The connection has ended meanwhile", "A load balancer sent the subflow to another server", "A scan"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPJoinSynAckHMacFailure",
        &["MPTcpExtMPJoinAckHMacFailure"],
        "Joins whose authentication failed.",
        &["A middlebox that rewrites the option", "A load balancer sent the subflow to another server", "An attack"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPJoinSynAckNoMPJoin",
        &["MPTcpExtMPJoinAckNoMPJoin", "MPTcpExtMPJoinAckNoCtx"],
        "Joins that failed because the SYN-ACK or the last ACK lacked MP_JOIN, or because what was remembered of the \
         handshake is gone.",
        &["A middlebox strips the option", "Another server answered"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPJoinRejected",
        &[],
        "Joins refused because the connection takes no more subflows.",
        &["The limit of subflows", "The connection fell back or is closing"],
        &["ip mptcp limits show", "ss -tinM"],
    ),
    counter(
        "MPTcpExtMPJoinSynTxCreatSkErr",
        &["MPTcpExtMPJoinSynTxBindErr", "MPTcpExtMPJoinSynTxConnectErr"],
        "Subflows that this host could not begin: no socket, the local address could not be bound, connect() failed.",
        &["An endpoint whose address is not there any more", "No route from that address"],
        &["ip mptcp endpoint show", "ip addr", "ip route get ADDRESS from SOURCE"],
    ),
    counter(
        "MPTcpExtMismatchPortSynRx",
        &["MPTcpExtMismatchPortAckRx"],
        "Joins (SYN, ACK) at a port that was not announced for that.",
        &["A peer with another idea of the ports", "A scan"],
        MPTCP,
    ),
    counter(
        "MPTcpExtDSSNotMatching",
        &["MPTcpExtDSSNoMatchTCP", "MPTcpExtNoDSSInWindow"],
        "Data whose mapping (DSS) does not fit what came before, does not fit the TCP segments, or is outside of the \
         window.",
        &["A middlebox that changes, splits or merges segments"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtDataCsumErr",
        &[],
        "Data whose MPTCP checksum was wrong.",
        &["A middlebox that changes the payload"],
        &["sysctl net.mptcp.checksum_enabled", "ss -tinM"],
    ),
    counter(
        "MPTcpExtInfiniteMapTx",
        &["MPTcpExtInfiniteMapRx", "MPTcpExtMPFailTx", "MPTcpExtMPFailRx"],
        "Fallback to TCP in the middle of a connection: the infinite mapping or MP_FAIL that announce it, sent (Tx) and \
         received (Rx).",
        &["A checksum error: a middlebox changes the payload"],
        FALLBACKS,
    ),
    counter(
        "MPTcpExtOFOQueue",
        &["MPTcpExtOFOQueueTail", "MPTcpExtOFOMerge"],
        "Data that came out of order across subflows: queued, appended at the end, merged.",
        &["Normal: paths differ in delay"],
        WINDOWS,
    ),
    counter(
        "MPTcpExtDuplicateData",
        &[],
        "Data that came twice, mostly by two subflows.",
        &["Retransmissions on another subflow"],
        MPTCP,
    ),
    counter(
        "MPTcpExtBacklogDrop",
        &["MPTcpExtRcvPruned", "MPTcpExtOFOPruned"],
        "Data dropped at the level of MPTCP: the backlog or the receive buffer was full, or what was out of order had to \
         go.",
        &["A program that does not read fast enough", "A small receive buffer for paths with different delay"],
        WINDOWS,
    ),
    counter(
        "MPTcpExtAddAddr",
        &["MPTcpExtAddAddrTx", "MPTcpExtEchoAdd", "MPTcpExtEchoAddTx", "MPTcpExtPortAdd"],
        "Addresses announced (ADD_ADDR) and confirmed (echo): received, and sent (Tx). Port: with a port.",
        &["Normal where MPTCP is used"],
        MPTCP,
    ),
    counter(
        "MPTcpExtAddAddrDrop",
        &["MPTcpExtAddAddrTxDrop", "MPTcpExtEchoAddTxDrop", "MPTcpExtRmAddrDrop", "MPTcpExtRmAddrTxDrop"],
        "Announcements or removals of addresses that were not taken (limits, a queue) or not sent (no room in the \
         header).",
        &["The limit of accepted addresses", "Many changes of addresses at once"],
        &["ip mptcp limits show", "ip mptcp endpoint show"],
    ),
    counter(
        "MPTcpExtRmAddr",
        &["MPTcpExtRmAddrTx", "MPTcpExtRmSubflow"],
        "Addresses withdrawn (RM_ADDR), received and sent (Tx), and subflows removed for that.",
        &["An interface went down, or an endpoint was deleted"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPPrioTx",
        &["MPTcpExtMPPrioRx"],
        "Changes of a subflow's priority (MP_PRIO), sent and received.",
        &["The backup flag of an endpoint was changed"],
        MPTCP,
    ),
    counter(
        "MPTcpExtMPFastcloseTx",
        &["MPTcpExtMPFastcloseRx", "MPTcpExtMPRstTx", "MPTcpExtMPRstRx"],
        "Connections (MP_FASTCLOSE) and subflows (MP_TCPRST) that were reset: by this side (Tx), by the peer (Rx).",
        &["A program closed with unread data", "Subflows that failed"],
        &["ss -tinM", "ip mptcp monitor", "tracer --verdict reset_local,reset_remote"],
    ),
    counter(
        "MPTcpExtSubflowStale",
        &["MPTcpExtSubflowRecover"],
        "Subflows that made no progress and were set aside, and those that came back.",
        &["A path that is interrupted"],
        &["sysctl net.mptcp.stale_loss_cnt", "ss -tinM"],
    ),
    counter(
        "MPTcpExtSndWndShared",
        &["MPTcpExtRcvWndShared", "MPTcpExtRcvWndConflictUpdate", "MPTcpExtRcvWndConflict"],
        "How often the window of the whole connection overrode that of a subflow, and conflicts between subflows about \
         it.",
        &["Normal with several subflows"],
        WINDOWS,
    ),
    counter(
        "MPTcpExtMPCurrEstab",
        &[],
        "MPTCP connections that are established now. It goes up and down.",
        &["Normal"],
        &["ss -M", "ss -s"],
    ),
    counter(
        "MPTcpExtWinProbe",
        &[],
        "Probes sent because the peer's MPTCP window is closed.",
        &["A peer that does not read"],
        WINDOWS,
    ),
];
