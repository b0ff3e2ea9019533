//! The source of a socket's owner (`owner_source`, [`tracer_stream::OwnerSource`]).

use super::{Entry, Family};

const LOOK: &[&str] = &["tracer --json", "tracer sockets", "tracer doctor"];

const fn source(name: &'static str, meaning: &'static str, causes: &'static [&'static str]) -> Entry {
    Entry { family: Family::Source, name, also: &[], class: None, meaning, causes, look: LOOK }
}

/// The entries.
pub const TABLE: &[Entry] = &[
    source("connect", "The owner called connect() for this connection.", &["A client's own socket"]),
    source("accept", "The owner called accept(), which gave it this connection.", &["A server's own connection"]),
    source("listen", "The owner called listen() on this socket.", &["A listener, or what belongs to it"]),
    source("bind", "The owner called bind(), which failed.", &["A service that does not start"]),
    source(
        "fd",
        "The owner holds the socket's file, according to the kernel's tables or /proc: another process may have opened it.",
        &["The socket is older than the trace", "The hooks did not see who opened it"],
    ),
    source(
        "listener",
        "The owner is the listener's: the connection waits for accept(), or ended before it.",
        &["The connection is not accepted yet"],
    ),
    source(
        "kernel",
        "The kernel opened the socket itself; there is no process.",
        &["NFS, SMB, iSCSI, RDS, WireGuard and other parts of the kernel with connections of their own"],
    ),
    source(
        "unknown",
        "The owner of the socket is unknown.",
        &["A packet without a socket", "The process was gone before tracer could ask"],
    ),
];
