//! Hooks and the programs that serve them: the chains ([`chain()`]), the choice ([`choose`]) and its cost
//! ([`degradations`]).

mod chain;
mod choice;
mod degradation;
mod lanes;
mod needs;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::{
    chain::{ACCEPT_OF_4, Attach, Link, ProgramSpec, SECOND_SET_STATE, SET_STATE_AHEAD, chain},
    choice::{Choice, choose, needs_io_uring, needs_resets_for_nobody},
    degradation::{Degradation, cost_of, degradations, gives_drop_reasons, gives_reset_reasons},
    lanes::Lanes,
    needs::blind,
};

/// An occurrence in the kernel that the trace needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Transitions between TCP states.
    SetState,
    /// The end of every TCP socket.
    Destroy,
    /// connect(), for attempts that no transition shows.
    Connect,
    /// accept().
    Accept,
    /// accept(), for calls that lack descriptors or memory.
    AcceptFailure,
    /// accept and connect through io_uring.
    IoUring,
    /// bind(), for failing calls.
    Bind,
    /// listen(), for failing calls.
    Listen,
    /// Sockets put into a map of sockets.
    Sockmap,
    /// System calls of 32-bit programs.
    Compat,
    /// fork, exec, exit.
    Processes,
    /// Errors that the kernel reports on a socket.
    ErrorReport,
    /// Packets that the kernel drops.
    Drop,
    /// Retransmitted segments.
    Retransmit,
    /// Retransmitted SYN-ACKs.
    RetransmitSynAck,
    /// Sent RST.
    SendReset,
    /// Sent RST without a full socket, where the tracepoint does not report it.
    SendResetForNobody,
    /// Received RST.
    ReceiveReset,
}

impl Hook {
    /// All hooks, in the order in which they are attached: transitions last, so that the first connection seen is seen
    /// whole.
    pub const ALL: [Self; 18] = [
        Self::Processes,
        Self::Destroy,
        Self::ErrorReport,
        Self::Accept,
        Self::AcceptFailure,
        Self::Connect,
        Self::Bind,
        Self::Listen,
        Self::Sockmap,
        Self::IoUring,
        Self::Compat,
        Self::Drop,
        Self::Retransmit,
        Self::RetransmitSynAck,
        Self::SendReset,
        Self::SendResetForNobody,
        Self::ReceiveReset,
        Self::SetState,
    ];

    /// The name users see, and that `--backend` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetState => "inet_sock_set_state",
            Self::Destroy => "tcp_destroy_sock",
            Self::Connect => "tcp_connect",
            Self::Accept => "inet_csk_accept",
            Self::AcceptFailure => "sys_accept",
            Self::IoUring => "io_uring_complete",
            Self::Bind => "sys_bind",
            Self::Listen => "sys_listen",
            Self::Sockmap => "sk_psock_init",
            Self::Compat => "raw_syscalls",
            Self::Processes => "sched_process",
            Self::ErrorReport => "inet_sk_error_report",
            Self::Drop => "kfree_skb",
            Self::Retransmit => "tcp_retransmit_skb",
            Self::RetransmitSynAck => "tcp_retransmit_synack",
            Self::SendReset => "tcp_send_reset",
            Self::SendResetForNobody => "tcp_v4_send_reset",
            Self::ReceiveReset => "tcp_receive_reset",
        }
    }

    /// The hook with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// The link with this name, if this hook's chain has it.
    #[must_use]
    pub fn link_from_name(self, name: &str) -> Option<Backend> {
        chain(self).iter().map(|link| link.backend).find(|backend| backend.name() == name)
    }

    /// Whether every trace needs this hook.
    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::SetState)
    }
}

/// A way to serve a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// BTF tracepoint.
    TpBtf,
    /// fentry and fexit.
    Fentry,
    /// kprobe and kretprobe.
    Kprobe,
    /// Raw tracepoint.
    RawTp,
    /// Classic tracepoint.
    Tracepoint,
    /// Tracepoints of the system calls.
    Syscall,
}

impl Backend {
    /// The name users see, and that `--backend` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::RawTp => "raw_tp",
            Self::Tracepoint => "tracepoint",
            Self::Syscall => "syscall",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
