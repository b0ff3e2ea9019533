//! One line of `--json`: what every object begins with, and then its own keys.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Event, Kind, Socket};

/// The version of the schema.
pub const VERSION: u8 = 1;

/// An object of the stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Line<'a, T> {
    /// The version of the schema.
    #[schemars(extend("const" = VERSION))]
    pub v: u8,
    /// The kind.
    pub event: &'static str,
    /// Wall clock, RFC 3339, UTC, nanoseconds.
    #[schemars(extend("pattern" = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{9}Z$"))]
    pub time: &'a str,
    /// The kernel's `CLOCK_BOOTTIME` at the event, ns: order and subtract with this one.
    pub boot_ns: u64,
    /// The keys of the kind.
    #[serde(flatten)]
    pub body: T,
}

/// An object of a command that reports no events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report<T> {
    /// The version of the schema.
    #[schemars(extend("const" = VERSION))]
    pub v: u8,
    /// The kind.
    pub event: &'static str,
    /// The keys of the kind.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Report<T> {
    /// Makes an object of a kind.
    #[must_use]
    pub const fn new(event: &'static str, body: T) -> Self {
        Self { v: VERSION, event, body }
    }
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
