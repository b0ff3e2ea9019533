//! Segments that the kernel answered with a reset of no socket. Where the kernel gives no reasons for drops (before
//! 5.17, c504e5c2f964), the answer shows which of the segments that `tcp_v4_rcv` drops found no socket.

use std::collections::VecDeque;

use tracer_common::{
    drops::{DropRecord, SEGMENT_RECEIVED, SOCKET_REQUEST, SOCKET_TIME_WAIT, SegmentRecord},
    packet::HAS_PORTS,
    record::Tuple,
};

use super::attribution::oriented;

/// The functions that answer a segment and then drop it.
const RECEIVERS: [&str; 2] = ["tcp_v4_rcv", "tcp_v6_rcv"];
/// Answers that are remembered: a drop follows its answer at once, on the same CPU.
const MOST: usize = 256;
/// How long a drop may come after its answer: equal drops may be counted that long before they are emitted.
const LONGEST_NS: u64 = 1_500_000_000;

/// The last answers, newest first.
#[derive(Debug, Default)]
pub struct Answered(VecDeque<(Tuple, u64)>);

impl Answered {
    /// Remembers the reset, unless a socket sent it.
    pub fn add(&mut self, record: &SegmentRecord) {
        let by_socket = record.state != 0 || record.socket_flags & (SOCKET_REQUEST | SOCKET_TIME_WAIT) != 0;
        if by_socket || record.flags & SEGMENT_RECEIVED != 0 {
            return;
        }
        self.0.truncate(MOST - 1);
        self.0.push_front((record.tuple, record.header.boot_ns));
    }

    /// Whether the packet that `function` dropped was answered.
    #[must_use]
    pub fn has(&self, record: &DropRecord, function: &str) -> bool {
        let flow = &record.packet.flow;
        if self.0.is_empty() || flow.flags & HAS_PORTS == 0 || !RECEIVERS.contains(&function) {
            return false;
        }
        let tuple = oriented(flow, record.netns, false);
        let now = record.header.boot_ns;
        self.0.iter().any(|(answered, at)| {
            (answered.laddr, answered.lport) == (tuple.laddr, tuple.lport)
                && (answered.raddr, answered.rport) == (tuple.raddr, tuple.rport)
                && (answered.family, answered.netns) == (tuple.family, tuple.netns)
                && *at <= now
                && now - at < LONGEST_NS
        })
    }
}
