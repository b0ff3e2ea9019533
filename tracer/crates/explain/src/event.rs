//! The kinds of events in the stream ([`tracer_stream::Kind`]).

use super::{Entry, Family};

const fn event(
    name: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Event, name, also: &[], class: None, meaning, causes, look }
}

/// The entries.
pub const TABLE: &[Entry] = &[
    event("listen", "A socket starts to listen.", &["A service starts"], &["tracer --event listen", "ss -lntp"]),
    event(
        "connect",
        "A process called connect() on a TCP socket; with errno if the call failed at once.",
        &["A client asks for a connection"],
        &["tracer --event connect"],
    ),
    event(
        "established",
        "The handshake of a connection is done, at the side that the role names.",
        &["A connect() that was answered", "A client that a listener let in"],
        &["tracer --event established"],
    ),
    event(
        "accept",
        "accept() returned a connection to a process; accept_wait_us is its time in the queue.",
        &["A service takes its next client"],
        &["tracer --event accept -w"],
    ),
    event(
        "open",
        "A connection or listener that is older than the trace, as the first look at the host found it.",
        &["It was opened before the trace began"],
        &["tracer --event open"],
    ),
    event(
        "state",
        "A socket went from one TCP state to another. Shown on request only.",
        &["Every step of a connection's life"],
        &["tracer --states", "tracer explain --list state"],
    ),
    event(
        "retransmit",
        "A segment, a SYN or a SYN-ACK was sent again because nothing had acknowledged it.",
        &["A packet or its acknowledgment was lost", "The peer is gone, or drops the segments", "A tail loss probe"],
        &["tracer --event retransmit", "ss -tin", "nstat -az TcpRetransSegs"],
    ),
    event(
        "reset",
        "This host sent or received a RST.",
        &[
            "No process listens at the port",
            "A program closed with unread data",
            "A firewall or load balancer ended the connection",
        ],
        &["tracer --event reset", "tracer explain --list reset"],
    ),
    event(
        "error",
        "The kernel reported an error on a socket; or accept() failed for lack of descriptors or memory, count times.",
        &["ICMP, a RST, or no answer", "The limit of open files is reached"],
        &["tracer --event error", "tracer explain --list errno"],
    ),
    event(
        "drop",
        "The kernel dropped a packet. netns is where the packet was, socket_netns where its socket is.",
        &["A firewall, no room, no route, no receiver: the reason says which"],
        &["tracer --event drop", "tracer drops", "tracer explain --list drop"],
    ),
    event(
        "finding",
        "A conclusion from several events, with commands for the next step. The summary repeats all of them.",
        &["Several events have the same cause"],
        &["tracer --event finding"],
    ),
    event(
        "close",
        "A connection or listener has ended: how, how long it took, how much was sent. Exactly one for each.",
        &["Either side closed or reset it, or the trace ended"],
        &["tracer --event close -w", "tracer explain --list verdict"],
    ),
    event(
        "lost",
        "Events could not be delivered; count is their number and class their kind.",
        &["More happens than the ring has room for", "The reader of the output is slow"],
        &["tracer --buffer 32M"],
    ),
    event(
        "discard",
        "The kernel's counters show discarded packets without a drop event. The event names the socket if the kernel counts by socket.",
        &["A full accept queue or receive buffer", "A full conntrack table", "A device or CPU without room"],
        &["tracer --event discard", "tracer net", "nstat -az"],
    ),
    event(
        "bind",
        "bind() failed: the port or the address is unavailable. held_by is the process that has the port, if known.",
        &[
            "Another process, or an earlier one that has not ended, has the port (EADDRINUSE)",
            "The address is not of this host (EADDRNOTAVAIL)",
            "A port below 1024 without the right to it (EACCES)",
        ],
        &["tracer --event bind", "ss -lntup", "tracer explain EADDRINUSE"],
    ),
    event(
        "process",
        "The known facts of a process, once, before its first event: executable, arguments, users, container, unit. Owners in other events refer to it by pid and start.",
        &["A process has its first event in the trace"],
        &["tracer --event process"],
    ),
    event(
        "summary",
        "The last line of a trace: the counts of events, the losses, the findings.",
        &["The trace has ended"],
        &["tracer --duration 10s --json"],
    ),
];
