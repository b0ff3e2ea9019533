//! One line of `--json`: what every object begins with, and then its own keys.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Event, Kind, Socket};

/// The version of the schema.
pub const VERSION: u8 = 1;

/// An object of the stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Line<'a, T> {
    /// The version of the schema: 1.
    pub v: u8,
    /// The kind.
    pub event: &'static str,
    /// Wall clock, RFC 3339, UTC, nanoseconds.
    pub time: &'a str,
    /// The kernel's `CLOCK_BOOTTIME` at the event, ns: order and subtract with this one.
    pub boot_ns: u64,
    /// The keys of the kind.
    #[serde(flatten)]
    pub body: T,
}

/// The keys of an event: those of its socket, then its own.
#[derive(Debug, Serialize)]
pub struct SocketEvent<'a> {
    /// The socket keys.
    #[serde(flatten)]
    pub socket: Option<&'a Socket<'a>>,
    /// The keys of the kind.
    #[serde(flatten)]
    pub kind: &'a Kind<'a>,
}

impl<'a> Line<'a, SocketEvent<'a>> {
    /// Makes the line of an event; `time` is its wall-clock time.
    #[must_use]
    pub const fn new(event: &'a Event<'a>, time: &'a str) -> Self {
        let body = SocketEvent { socket: event.socket.as_ref(), kind: &event.kind };
        Self { v: VERSION, event: event.kind.name(), time, boot_ns: event.boot_ns, body }
    }
}
