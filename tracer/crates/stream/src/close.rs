//! How a connection ended.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Icmp, Limited, Owner, errno, is_false};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This side closed first.
    ClosedLocal,
    /// The peer closed first.
    ClosedRemote,
    /// FIN crossed FIN.
    ClosedBoth,
    /// This side sent RST.
    ResetLocal,
    /// The peer sent RST.
    ResetRemote,
    /// The destination has no listener, or a rule rejected the SYN.
    Refused,
    /// connect() was given up: its owner closed the socket, or ended, before an answer came.
    NoAnswer,
    /// No answer, and the kernel gave up.
    TimedOut,
    /// The network reported that the destination is unreachable.
    Unreachable,
    /// connect() itself failed.
    FailedLocal,
    /// Destroyed from outside (`ss -K`, its namespace went).
    Aborted,
    /// The listener closed before accept().
    ListenerClosed,
    /// The trace ended first.
    OpenAtEnd,
    /// The evidence does not decide.
    Unknown,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ClosedLocal,
        Self::ClosedRemote,
        Self::ClosedBoth,
        Self::ResetLocal,
        Self::ResetRemote,
        Self::Refused,
        Self::NoAnswer,
        Self::TimedOut,
        Self::Unreachable,
        Self::FailedLocal,
        Self::Aborted,
        Self::ListenerClosed,
        Self::OpenAtEnd,
        Self::Unknown,
    ];

    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClosedLocal => "closed_local",
            Self::ClosedRemote => "closed_remote",
            Self::ClosedBoth => "closed_both",
            Self::ResetLocal => "reset_local",
            Self::ResetRemote => "reset_remote",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::FailedLocal => "failed_local",
            Self::Aborted => "aborted",
            Self::ListenerClosed => "listener_closed",
            Self::OpenAtEnd => "open_at_end",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the connection failed its owner; `--failed` selects these.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::ResetRemote
                | Self::Refused
                | Self::NoAnswer
                | Self::TimedOut
                | Self::Unreachable
                | Self::FailedLocal
                | Self::Aborted
                | Self::ListenerClosed
        )
    }
}

/// The end of a connection. Times in µs, counts from the kernel; `None` is unknown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Close {
    /// From the first event of the connection (`None` for one that is older than the trace).
    pub duration_us: Option<u64>,
    /// SYN to ESTABLISHED, successful handshakes of clients only.
    pub connect_us: Option<u64>,
    /// ESTABLISHED to accept().
    pub accept_wait_us: Option<u64>,
    /// Payload bytes that the peer acknowledged.
    pub tx_bytes: Option<u64>,
    /// Payload bytes received in order.
    pub rx_bytes: Option<u64>,
    /// Payload bytes that the program wrote and the peer never acknowledged.
    pub unacked_bytes: Option<u64>,
    /// Retransmitted segments.
    pub retransmits: Option<u32>,
    /// Packets of this connection that this host dropped.
    pub drops: Option<u64>,
    /// Smoothed round-trip time.
    pub srtt_us: Option<u32>,
    /// Least round-trip time.
    pub min_rtt_us: Option<u32>,
    /// The time from the last payload in either direction, or from the end of the handshake, to the end.
    pub idle_us: Option<u64>,
    /// This side asked and waited a second or longer in vain, or its data was never acknowledged.
    pub unanswered: Option<bool>,
    /// What limited this side as a sender.
    pub limited: Option<Limited>,
    /// The rate at which the peer last acknowledged payload, bytes a second.
    pub delivery_rate: Option<u64>,
    /// Payload bytes that were sent again.
    pub retransmitted_bytes: Option<u64>,
    /// Segments that came out of order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order: Option<u32>,
    /// The farthest that segments were reordered on the way, in segments; only if some were sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reordering: Option<u32>,
    /// Segments that the peer had twice; only if some were sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dsack: Option<u32>,
    /// How it ended.
    pub verdict: Verdict,
    /// The error behind the verdict, positive.
    #[serde(serialize_with = "errno::optional")]
    #[schemars(with = "Option<errno::Errno>")]
    pub errno: Option<i32>,
    /// Of a failed listen(): the owner of the listener that has the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Rc<Owner>>,
    /// The ICMP error behind the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// SYNs sent by a connection whose handshake did not end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syns: Option<u32>,
    /// Older than the trace.
    pub preexisting: bool,
    /// A transition was missed or the socket could not be followed: times may be unknown. Or [`Close::sockmap`].
    #[serde(skip_serializing_if = "is_false")]
    pub incomplete: bool,
    /// A BPF program's map of sockets had it: such a program moves payload past TCP and its counters, so the amount is
    /// unknown.
    #[serde(skip_serializing_if = "is_false")]
    pub sockmap: bool,
}

impl Close {
    /// An end without any known fact.
    pub const UNKNOWN: Self = Self {
        duration_us: None,
        connect_us: None,
        accept_wait_us: None,
        tx_bytes: None,
        rx_bytes: None,
        retransmits: None,
        drops: None,
        srtt_us: None,
        min_rtt_us: None,
        verdict: Verdict::Unknown,
        errno: None,
        held_by: None,
        icmp: None,
        syns: None,
        unanswered: None,
        unacked_bytes: None,
        idle_us: None,
        limited: None,
        delivery_rate: None,
        retransmitted_bytes: None,
        out_of_order: None,
        reordering: None,
        dsack: None,
        preexisting: false,
        incomplete: false,
        sockmap: false,
    };

    /// Whether the connection failed its owner; `--failed` selects these.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.verdict.is_failure() || self.errno.is_some() || self.unanswered == Some(true)
    }
}
