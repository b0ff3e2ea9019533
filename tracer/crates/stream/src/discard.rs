//! Discards that only the kernel's counters show.

use std::rc::Rc;

use super::Owner;

/// Packets that the kernel discarded without a tracepoint event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discard {
    /// The counter's name, as `tracer explain` knows it.
    pub counter: &'static str,
    /// Its increase, less the packets in drop events.
    pub count: u64,
    /// Its meaning.
    pub meaning: &'static str,
    /// The device, where the kernel counts by device. Hostile bytes.
    pub iface: Option<Rc<str>>,
    /// Of a listener: connections that wait for accept(), a moment after the last discard.
    pub queue: Option<u32>,
    /// Of a listener: how many may wait. The kernel takes one more.
    pub backlog: Option<u32>,
    /// Of conntrack: the connections in its table a moment later, and its limit.
    pub conntrack: Option<(u64, u64)>,
    /// Of a listener: the time since the last accept(), or since the trace began; `None` if the trace cannot know.
    pub no_accept_us: Option<u64>,
    /// All of them are SYNs. Else the last ACKs of handshakes may be among them.
    pub syns: bool,
    /// Processes of this host that wait for an answer from that listener, the first few.
    pub clients: Vec<Rc<Owner>>,
}
