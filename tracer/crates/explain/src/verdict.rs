//! How a connection ended, in the words of the stream ([`tracer_stream::Verdict`]).

use super::{Entry, Family};

const fn verdict(
    name: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Verdict, name, also: &[], class: None, meaning, causes, look }
}

/// The entries.
pub const TABLE: &[Entry] = &[
    verdict(
        "closed_local",
        "This side sent FIN first, and the connection ended in order.",
        &["The program closed, or ended", "An idle timeout of the program or its connection pool"],
        &["tracer --verdict closed_local -w"],
    ),
    verdict(
        "closed_remote",
        "The peer sent FIN first, and the connection ended in order.",
        &[
            "The peer was done, or its idle timeout ran out",
            "For a client: the server closed a connection that should have stayed",
        ],
        &["tracer --verdict closed_remote -w", "ss -tanp state close-wait"],
    ),
    verdict(
        "closed_both",
        "Both sides sent FIN before they saw the other's. The connection ended in order.",
        &["Both sides close after the last message of the protocol"],
        &["tracer --verdict closed_both -w"],
    ),
    verdict(
        "reset_local",
        "This side sent RST: the peer may have lost data that was on its way.",
        &["The program closed with unread data, or with SO_LINGER 0", "Data came after the program had closed"],
        &[
            "nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData TcpExtTCPAbortOnLinger TcpExtTCPAbortOnTimeout",
            "tracer --verdict reset_local -w",
        ],
    ),
    verdict(
        "reset_remote",
        "The peer, or something on the way, sent RST. The program sees ECONNRESET.",
        &[
            "The peer's program ended or closed with unread data",
            "A load balancer or firewall dropped the idle connection and answers with RST",
            "The peer restarted and does not know the connection",
        ],
        &[
            "tracer --verdict reset_remote -w",
            "tcpdump -vni DEV 'tcp[tcpflags] & tcp-rst != 0'  # the TTL shows who sent it",
        ],
    ),
    verdict(
        "refused",
        "The connection was refused: RST in answer to the SYN, or ICMP port unreachable.",
        &[
            "No process listens on that port or address",
            "The service is down, starts, or listens on 127.0.0.1 only",
            "A firewall rule with reject",
        ],
        &["ss -lnt  # at the destination", "tracer --verdict refused", "nft list ruleset"],
    ),
    verdict(
        "no_answer",
        "connect() was given up before its SYNs had an answer: the program closed the socket, or ended. `syns` says \
         how many were sent, `duration_us` for how long. `errno` is EINPROGRESS: connect() was still under way.",
        &[
            "A firewall drops silently, here, on the way or there",
            "The host is down, or the way back is broken",
            "A full accept queue: the kernel drops the SYN",
            "A time limit that is shorter than the way takes",
            "The loser of a race between addresses (happy eyeballs): nothing is wrong with the program then",
        ],
        &[
            "tracer --verdict no_answer,timed_out",
            "tracer drops",
            "ip route get ADDRESS",
            "tcpdump -ni DEV host ADDRESS",
        ],
    ),
    verdict(
        "timed_out",
        "No answer in time: to the SYN, to data, or to keepalive probes. The program sees ETIMEDOUT.",
        &[
            "A firewall drops silently",
            "The host is down, or the way back is broken",
            "A NAT or firewall forgot the connection",
            "A black hole for large packets (path MTU)",
        ],
        &[
            "tracer --verdict timed_out",
            "ip route get ADDRESS",
            "tracepath ADDRESS",
            "sysctl net.ipv4.tcp_syn_retries net.ipv4.tcp_retries2",
            "nstat -az TcpExtTCPTimeouts TcpExtTCPSynRetrans",
        ],
    ),
    verdict(
        "unreachable",
        "The network reported that the destination cannot be reached (ICMP), or the next hop does not answer ARP.",
        &["A router has no route", "The host is down on the local network", "A firewall rejects with ICMP"],
        &["ip route get ADDRESS", "ip neigh", "nstat -az IcmpInDestUnreachs Icmp6InDestUnreachs"],
    ),
    verdict(
        "failed_local",
        "connect() failed on this host, before anything was sent; or listen() did.",
        &[
            "No route",
            "EADDRINUSE of a listener: another one has the port",
            "No free local port",
            "Not permitted: a cgroup program, netfilter, a security module",
        ],
        &[
            "tracer --verdict failed_local  # with the errno",
            "ip route get ADDRESS",
            "sysctl net.ipv4.ip_local_port_range",
        ],
    ),
    verdict(
        "aborted",
        "The socket was destroyed from outside.",
        &[
            "`ss -K`, or an agent that does the same when a backend goes",
            "The network namespace was removed",
            "connect() to AF_UNSPEC",
            "A checkpoint (TCP_REPAIR, CRIU): nothing is sent, and the connection goes on elsewhere",
        ],
        &["tracer --verdict aborted", "ip netns list"],
    ),
    verdict(
        "listener_closed",
        "The listener was closed before accept() took the connection; the peer gets a RST.",
        &[
            "A server that is restarted without handing over its listener",
            "A server that does not drain its queue when it stops",
        ],
        &["tracer --verdict listener_closed", "sysctl net.ipv4.tcp_migrate_req"],
    ),
    verdict(
        "open_at_end",
        "The connection was still open when the trace ended.",
        &["Normal"],
        &["ss -tanp", "tracer --verdict open_at_end"],
    ),
    verdict(
        "unknown",
        "The evidence does not tell how the connection ended.",
        &[
            "Events were lost",
            "The connection began before the trace, or hooks are missing",
            "The kernel kept its end from tracer (missed, closes_recovered in the summary)",
        ],
        &["tracer doctor", "tracer --buffer 32M"],
    ),
];
