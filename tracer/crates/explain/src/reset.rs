//! The reasons why this host sent a RST: `enum sk_rst_reason` (include/net/rstreason.h).

use super::{Entry, Family};

const fn reset(
    name: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Reset, name, also: &[], class: None, meaning, causes, look }
}

const MPTCP: &[&str] = &["ss -tinM", "ip mptcp monitor", "nstat -az MPTcpExtMPRstTx MPTcpExtMPRstRx"];
const CAPTURE: &[&str] = &["tcpdump -Sni DEV host ADDRESS and port PORT", "nstat -az TcpExtTCPChallengeACK TcpOutRsts"];

/// The entries.
pub const TABLE: &[Entry] = &[
    reset(
        "SK_RST_REASON_NOT_SPECIFIED",
        "A RST was sent, and the kernel gives no reason.",
        &["A case that has no reason of its own", "A drop reason that is not translated into a reset reason"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_NO_SOCKET",
        "A segment came for which there is no socket: no listener, no such connection. The sender sees connection \
         refused or reset.",
        &[
            "No process listens on that port or address",
            "The service just restarted, and old connections go on sending",
            "A port scan",
        ],
        &["ss -lnt", "tracer --verdict refused", "nstat -az TcpOutRsts"],
    ),
    reset(
        "SK_RST_REASON_TCP_INVALID_ACK_SEQUENCE",
        "An ACK acknowledges data that was not sent: in SYN_SENT or during the handshake that is answered with RST.",
        &["The peer still holds an old connection with the same ports", "A middlebox that answers on its own"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_TCP_RFC7323_PAWS",
        "A segment with a timestamp of the past, in a state in which that is answered with RST.",
        &["Hosts behind one NAT address with different timestamps", "A middlebox that rewrites timestamps"],
        &["nstat -az TcpExtPAWSEstab TcpExtPAWSActive", "sysctl net.ipv4.tcp_timestamps"],
    ),
    reset(
        "SK_RST_REASON_TCP_TOO_OLD_ACK",
        "An ACK that is older than a whole window.",
        &["An injection", "A middlebox with an old state"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_TCP_ACK_UNSENT_DATA",
        "An ACK for data that was not sent yet.",
        &["A middlebox that changes sequence numbers", "Rests of an older connection with the same ports"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_TCP_FLAGS",
        "Flags that make no sense in this state, such as an ACK to a listener that has sent nothing.",
        &["The service restarted, and the peer goes on with an old connection", "A scan"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_TCP_OLD_ACK",
        "An ACK that is old, but within the window, in a state in which that is answered with RST.",
        &["A duplicate of an earlier handshake"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_TCP_ABORT_ON_DATA",
        "Data arrived after the program had closed the connection, so no program can read it.",
        &["The program closed while the peer was still sending", "The peer answers after a timeout on this side"],
        &["nstat -az TcpExtTCPAbortOnData", "tracer --verdict reset_local"],
    ),
    reset(
        "SK_RST_REASON_TCP_TIMEWAIT_SOCKET",
        "A segment came for a connection in TIME_WAIT that does not fit it.",
        &["The peer has another idea of the connection", "Ports reused quickly by a host behind NAT"],
        &["ss -tan state time-wait", "nstat -az TcpExtPAWSTimewait"],
    ),
    reset(
        "SK_RST_REASON_INVALID_SYN",
        "A SYN within the window of a connection that is being set up.",
        &["The peer starts anew with the same port", "An injection"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_TCP_ABORT_ON_CLOSE",
        "The program closed the socket without having read everything. The RST tells the peer that its data was lost.",
        &[
            "A server that answers and closes without reading the request to its end",
            "A program that ended in the middle",
        ],
        &["nstat -az TcpExtTCPAbortOnClose", "tracer --verdict reset_local"],
    ),
    reset(
        "SK_RST_REASON_TCP_ABORT_ON_LINGER",
        "The program set TCP_LINGER2 to a negative value: FIN_WAIT2 is cut short. SO_LINGER with a time of 0 is \
         reported as TCP_STATE.",
        &["A program that avoids waiting for the peer's FIN"],
        &["nstat -az TcpExtTCPAbortOnLinger", "tracer --verdict reset_local"],
    ),
    reset(
        "SK_RST_REASON_TCP_ABORT_ON_MEMORY",
        "TCP is out of memory, or there are too many sockets that no process holds.",
        &["Very many connections in FIN_WAIT1 or LAST_ACK", "tcp_mem is at its limit"],
        &[
            "nstat -az TcpExtTCPAbortOnMemory",
            "cat /proc/net/sockstat",
            "sysctl net.ipv4.tcp_max_orphans net.ipv4.tcp_mem",
        ],
    ),
    reset(
        "SK_RST_REASON_TCP_STATE",
        "The connection was cut in a state in which TCP demands a RST: it was disconnected or destroyed, not closed in \
         order.",
        &[
            "SO_LINGER with a time of 0: a load balancer or test tool that avoids TIME_WAIT, a server that drops clients",
            "`ss -K`, or a program with the same right (SOCK_DESTROY)",
            "connect() to AF_UNSPEC",
            "FIN_WAIT2 that ran out of time",
        ],
        &["nstat -az TcpExtTCPAbortOnData", "tracer --verdict reset_local,aborted", "ss -tan"],
    ),
    reset(
        "SK_RST_REASON_TCP_KEEPALIVE_TIMEOUT",
        "The peer did not answer the keepalive probes.",
        &["The peer or the path is gone", "A firewall forgot the idle connection"],
        &["ss -tano", "sysctl net.ipv4.tcp_keepalive_time net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes"],
    ),
    reset(
        "SK_RST_REASON_TCP_DISCONNECT_WITH_DATA",
        "The connection was cut while it was closing (CLOSING, LAST_ACK), with data that had not been sent yet.",
        &["SO_LINGER with a time of 0 after the peer had closed", "connect() to AF_UNSPEC on a socket that is closing"],
        &["tracer --verdict reset_local", "ss -tano state last-ack"],
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_EUNSPEC",
        "MPTCP: a subflow was reset, without a closer reason.",
        &["The subflow is not usable any more"],
        MPTCP,
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_EMPTCP",
        "MPTCP: the options of the subflow are in error.",
        &["A middlebox changes or strips MPTCP options", "A join with a wrong key"],
        MPTCP,
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_ERESOURCE",
        "MPTCP: not enough resources for the subflow.",
        &["Memory was short"],
        MPTCP,
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_EPROHIBIT",
        "MPTCP: the subflow is not allowed.",
        &["The limit of subflows is reached", "The connection does not take more subflows"],
        &["ip mptcp limits show", "ip mptcp endpoint show", "nstat -az MPTcpExtMPJoinRejected"],
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_EWQ2BIG",
        "MPTCP: too much data waits on the subflow that other subflows have delivered already.",
        &["A path that was interrupted for some time"],
        MPTCP,
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_EBADPERF",
        "MPTCP: the subflow is too slow.",
        &["A path that is much worse than the others"],
        MPTCP,
    ),
    reset(
        "SK_RST_REASON_MPTCP_RST_EMIDDLEBOX",
        "MPTCP: a middlebox changed the data or the options.",
        &["A proxy or firewall that rewrites payload", "A checksum that does not fit"],
        MPTCP,
    ),
    reset(
        "SK_RST_REASON_ERROR",
        "Something unexpected failed while the segment was handled.",
        &["A function returned an error that has no reset reason"],
        CAPTURE,
    ),
    reset(
        "SK_RST_REASON_MAX",
        "The end mark of the enumeration, not a reason.",
        &["A tool that does not know this kernel's numbers"],
        CAPTURE,
    ),
];
