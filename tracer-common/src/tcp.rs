//! TCP states as `inet_sock_set_state` reports them.
//!
//! The numbers are UAPI: `BPF_TCP_*` in `include/uapi/linux/bpf.h`, which the kernel asserts to be
//! equal to its own `enum` in `include/net/tcp_states.h`.

/// A TCP state, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// Data flows both ways.
    Established = 1,
    /// SYN sent, waiting for the answer.
    SynSent = 2,
    /// SYN received, waiting for the last ACK of the handshake.
    SynRecv = 3,
    /// We sent FIN first.
    FinWait1 = 4,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2 = 5,
    /// Both directions are done; a mini-socket lingers.
    TimeWait = 6,
    /// No connection.
    Close = 7,
    /// The peer sent FIN first.
    CloseWait = 8,
    /// We answered the peer's FIN with ours.
    LastAck = 9,
    /// Waiting for connections.
    Listen = 10,
    /// FIN crossed FIN.
    Closing = 11,
    /// A request socket.
    NewSynRecv = 12,
}

impl TcpState {
    /// Returns the state with the kernel's number `n`.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            12 => Self::NewSynRecv,
            _ => return None,
        })
    }

    /// Returns the name that `ss` and the kernel's documentation use, with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW_SYN_RECV",
        }
    }
}
