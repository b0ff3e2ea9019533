//! Discards that only the kernel's counters show.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{Owner, process::Short};

/// Packets that the kernel discarded without a tracepoint event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Discard {
    /// The counter's name, as `tracer explain` knows it.
    pub counter: &'static str,
    /// Its increase, less the packets in drop events.
    pub count: u64,
    /// Its meaning.
    pub meaning: &'static str,
    /// The device, where the kernel counts by device. Hostile bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<Rc<str>>,
    /// Of a listener: connections that wait for accept(), a moment after the last discard.
    pub queue: Option<u32>,
    /// Of a listener: how many may wait. The kernel takes one more.
    pub backlog: Option<u32>,
    /// Of conntrack: the connections in its table a moment later, and its limit.
    #[serde(flatten, serialize_with = "conntrack")]
    #[schemars(with = "Option<Conntrack>")]
    pub conntrack: Option<(u64, u64)>,
    /// Of a listener: the time since the last accept(), or since the trace began; `None` if the trace cannot know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_accept_us: Option<u64>,
    /// All of them are SYNs. Else the last ACKs of handshakes may be among them.
    #[serde(skip)]
    pub syns: bool,
    /// Processes of this host that wait for an answer from that listener, the first few.
    #[serde(serialize_with = "clients", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Short<'static>>")]
    pub clients: Vec<Rc<Owner>>,
}

/// The table of connections of conntrack.
#[derive(Serialize, JsonSchema)]
struct Conntrack {
    /// Its entries, a moment later.
    conntrack_count: u64,
    /// Its limit.
    conntrack_max: u64,
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn conntrack<S: Serializer>(conntrack: &Option<(u64, u64)>, serializer: S) -> Result<S::Ok, S::Error> {
    let conntrack = conntrack.map(|(count, most)| Conntrack { conntrack_count: count, conntrack_max: most });
    conntrack.serialize(serializer)
}

fn clients<S: Serializer>(clients: &[Rc<Owner>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(clients.iter().map(|owner| Short::from(&**owner)))
}
