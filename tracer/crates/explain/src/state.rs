//! The states of a TCP socket (include/net/tcp_states.h, RFC 9293).

use super::{Entry, Family};

const fn state(
    name: &'static str,
    also: &'static [&'static str],
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::State, name, also, class: None, meaning, causes, look }
}

/// The entries. `also` has the names of `ss` where they differ by more than a hyphen.
pub const TABLE: &[Entry] = &[
    state(
        "ESTABLISHED",
        &["ESTAB"],
        "The handshake is done, and data may flow both ways.",
        &["Normal", "After idle hours the peer may be gone: only keepalive detects that"],
        &["ss -tino state established", "tracer --event open,established"],
    ),
    state(
        "SYN_SENT",
        &[],
        "connect() has sent a SYN and waits for the answer.",
        &["Normal for one round trip", "Longer: a firewall drops silently, the host is down, or there is no way back"],
        &[
            "ss -tanop state syn-sent",
            "sysctl net.ipv4.tcp_syn_retries",
            "nstat -az TcpExtTCPSynRetrans",
            "tracer --verdict timed_out",
        ],
    ),
    state(
        "SYN_RECV",
        &[],
        "A SYN has come, the answer is out, and the last ACK of the handshake is missing.",
        &[
            "Normal for one round trip",
            "Many: a SYN flood, or the way back to the clients is broken",
            "The accept queue is full",
        ],
        &[
            "ss -tan state syn-recv",
            "nstat -az TcpExtListenDrops TcpExtSyncookiesSent",
            "sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog",
        ],
    ),
    state(
        "FIN_WAIT1",
        &["FIN-WAIT-1"],
        "This side has closed and sent FIN, which is not acknowledged yet.",
        &[
            "Normal for one round trip",
            "Longer: the peer is gone, or its window is closed and data waits before the FIN",
        ],
        &["ss -tano state fin-wait-1", "sysctl net.ipv4.tcp_orphan_retries net.ipv4.tcp_max_orphans"],
    ),
    state(
        "FIN_WAIT2",
        &["FIN-WAIT-2"],
        "This side has closed, the FIN is acknowledged, and the peer has not closed yet.",
        &["The peer still sends (half closed), or forgot to close", "With no process: it ends after tcp_fin_timeout"],
        &["ss -tano state fin-wait-2", "sysctl net.ipv4.tcp_fin_timeout"],
    ),
    state(
        "TIME_WAIT",
        &[],
        "Both sides have closed. The side that closed first waits a minute, so that late packets do no harm to a new \
         connection with the same ports.",
        &[
            "Normal, and cheap: some hundred bytes each",
            "Very many: a client that opens a connection per request, and may run out of ports",
        ],
        &[
            "ss -tan state time-wait | awk '{print $4}' | sort | uniq -c | sort -n | tail",
            "sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse net.ipv4.tcp_max_tw_buckets",
        ],
    ),
    state(
        "CLOSE",
        &["UNCONN", "CLOSED"],
        "No connection: not connected yet, or over.",
        &["Normal", "A program keeps file descriptors of dead connections"],
        &["ss -tan state closed", "ls -l /proc/PID/fd"],
    ),
    state(
        "CLOSE_WAIT",
        &[],
        "The peer has closed, and the program on this side has not.",
        &[
            "A program that forgot close(), or is stuck: the number grows until it runs out of file descriptors",
            "For a moment: normal",
        ],
        &["ss -tanp state close-wait", "ls /proc/PID/fd | wc -l", "tracer -p PID --event close"],
    ),
    state(
        "LAST_ACK",
        &[],
        "The peer closed first, this side followed, and the ACK of our FIN is missing.",
        &["Normal for one round trip", "Longer: the peer is gone"],
        &["ss -tano state last-ack", "sysctl net.ipv4.tcp_orphan_retries"],
    ),
    state(
        "LISTEN",
        &[],
        "A server's socket that waits for connections.",
        &["Normal. In `ss -l` Recv-Q is how many connections wait for accept(), Send-Q how many may"],
        &["ss -lntp", "nstat -az TcpExtListenOverflows TcpExtListenDrops", "sysctl net.core.somaxconn"],
    ),
    state(
        "CLOSING",
        &[],
        "Both sides closed at the same time: the FINs crossed, and the ACK of ours is missing.",
        &["Rare and short", "Longer: the peer is gone"],
        &["ss -tano state closing"],
    ),
    state(
        "NEW_SYN_RECV",
        &[],
        "A half-open connection as the kernel keeps it since 4.4: a small request instead of a socket. `ss` shows it as \
         SYN-RECV.",
        &["As SYN_RECV"],
        &[
            "ss -tan state syn-recv",
            "nstat -az TcpExtListenDrops TcpExtTCPReqQFullDrop",
            "sysctl net.ipv4.tcp_synack_retries",
        ],
    ),
    state(
        "BOUND_INACTIVE",
        &[],
        "Not a state of a connection: the name by which `ss` asks for TCP sockets that are bound and neither listen nor \
         are connected.",
        &["A program that called bind() and neither listen() nor connect() yet"],
        &["ss -tanB  # a recent iproute2"],
    ),
];
