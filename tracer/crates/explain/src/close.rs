//! The facts in a `close` beside its verdict ([`tracer_stream::Close`]).

use super::{Entry, Family};

const fn key(
    name: &'static str,
    also: &'static [&'static str],
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Close, name, also, class: None, meaning, causes, look }
}

/// The entries.
pub const TABLE: &[Entry] = &[
    key(
        "unanswered",
        &[],
        "The connection ended without the answer that was waited for: the client sent, received nothing after that, \
         waited a second or longer and closed; or, of either side, bytes were never acknowledged. Null where the \
         evidence does not tell.",
        &[
            "The server hangs, or its time limit is longer than the client's",
            "The host is gone, or a firewall forgot the connection (unacked_bytes is not 0)",
            "The client had nothing more to say and waited before it closed",
        ],
        &["tracer --failed", "ss -tanpo  # at the server: Recv-Q is data that the program does not read"],
    ),
    key(
        "unacked_bytes",
        &[],
        "Payload that the program wrote and the peer never acknowledged, according to the sequence numbers at the end.",
        &["The peer or the way to it is gone", "The connection was reset while data was on its way"],
        &["tracer --failed -w", "ss -tine dst ADDRESS"],
    ),
    key(
        "idle_us",
        &["idle"],
        "The time from the last payload in either direction, or from the end of the handshake, to the end of the \
         connection; in steps of the kernel's tick, 1 to 10 ms. Null where the length of the tick is not known.",
        &[
            "Keep-alive of a connection pool",
            "An idle timeout of a program, a load balancer or a firewall",
            "No answer",
        ],
        &["tracer --event close --json | jq 'select(.idle_us > 60000000)'"],
    ),
    key(
        "limited",
        &["app_us", "network_us", "peer_window_us", "send_buffer_us"],
        "The kernel's split of the life of a connection on this side, which sends: app_us had nothing to send, network_us \
         had data under way (the congestion window, loss, the way), in peer_window_us the peer's receive window was full, \
         in send_buffer_us the send buffer of this side was. `by` is the largest. In steps of the kernel's tick. app_us is \
         null for a connection that is older than the trace.",
        &[
            "app: the program writes little or late",
            "network: a slow or lossy link, a long round trip",
            "peer_window: the peer's program does not read fast enough, or its receive buffer is small",
            "send_buffer: SO_SNDBUF or net.ipv4.tcp_wmem is too small for the round trip",
        ],
        &["ss -ti dst ADDRESS  # busy, rwnd_limited, sndbuf_limited", "sysctl net.ipv4.tcp_wmem net.ipv4.tcp_rmem"],
    ),
    key(
        "delivery_rate",
        &[],
        "The rate at which the peer last acknowledged payload, in bytes a second: the kernel's last sample, not the mean. \
         Null before the first one.",
        &["The speed of the slowest link on the way", "A sender that had little to send"],
        &["ss -ti dst ADDRESS"],
    ),
    key(
        "retransmitted_bytes",
        &["reordering", "out_of_order", "dsack"],
        "Payload that was sent again. Beside it: `out_of_order` counts segments that came here out of order, `reordering` \
         is how far segments were reordered on the way (3 is the kernel's initial value), `dsack` counts those that the \
         peer had twice, which need not have been sent again.",
        &["Loss on the way", "Reordering (several links, a slow time-out) that looks like loss"],
        &["tracer --event retransmit,drop", "ss -ti dst ADDRESS"],
    ),
    key(
        "syns",
        &[],
        "SYNs that the kernel sent for a connection that was never established, the first one included. Firewalls of \
         this host may have dropped some.",
        &["No answer: the kernel sends again after 1, 3, 7 … seconds"],
        &["sysctl net.ipv4.tcp_syn_retries net.ipv4.tcp_syn_linear_timeouts", "nstat -az TcpExtTCPSynRetrans"],
    ),
    key(
        "sockmap",
        &[],
        "A BPF program has or had the socket in a map of sockets, and may have moved payload past TCP: the kernel's \
         counters leave that out, so that tx_bytes and rx_bytes are not known.",
        &[
            "A proxy or service mesh that shortcuts connections of one host",
            "A program that steers connections to sockets",
        ],
        &["bpftool map show", "bpftool prog show"],
    ),
    key(
        "incomplete",
        &[],
        "Not all of the connection was seen or can be known: a transition was missed, the table of sockets was full, or \
         a sockmap took part.",
        &["The trace began or ended in the middle", "More sockets than --sockets", "See sockmap"],
        &["tracer --event close --json | jq 'select(.incomplete)'"],
    ),
    key(
        "icmp",
        &[],
        "The ICMP error that ended connect(): type, code, meaning, and the source address that the message bears. \
         Anybody can send one; the kernel believes it if it quotes the SYN.",
        &[
            "A firewall that rejects",
            "A router without a route",
            "A host that does not answer ARP or neighbour discovery",
        ],
        &["ip route get ADDRESS", "tcpdump -vni DEV 'icmp or icmp6'"],
    ),
];
