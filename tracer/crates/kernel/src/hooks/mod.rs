//! The hooks: one file each, beside the one of its programs in `tracer-ebpf/src/hooks`, and the list of them.

mod compat;
mod descriptor;
mod inet_csk_accept;
mod inet_sk_error_report;
mod inet_sock_set_state;
mod io_uring_complete;
mod kfree_skb;
mod needs;
mod sched_process;
mod sk_psock_init;
mod sys_accept;
mod sys_bind;
mod sys_listen;
mod tcp_connect;
mod tcp_destroy_sock;
mod tcp_receive_reset;
mod tcp_retransmit_skb;
mod tcp_retransmit_synack;
mod tcp_send_reset;
mod tcp_v4_send_reset;

use tracer_common::offsets::{ABSENT, Offsets, Source};

pub use self::{
    descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, ProgramSpec, SYS_EXIT, Wanted, Watch},
    inet_csk_accept::ACCEPT_OF_4,
    inet_sock_set_state::{SECOND_SET_STATE, SET_STATE_AHEAD},
    needs::Need,
};

macro_rules! hooks {
    ($($(#[$doc:meta])* $hook:ident: $file:ident,)*) => {
        /// An occurrence in the kernel that the trace needs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Hook {
            $($(#[$doc])* $hook,)*
        }

        impl Hook {
            /// All hooks, in the order in which they are attached.
            ///
            /// Processes come first, so that the owner of every call is known. A hook that is needed beside system calls
            /// comes after those of connect() and accept(), which decide that. Transitions come last, so that the first
            /// connection seen is seen whole.
            pub const IN_ORDER_OF_ATTACHMENT: [Self; [$(stringify!($hook)),*].len()] = [$(Self::$hook),*];

            /// What the hook's file says of it.
            #[must_use]
            pub const fn descriptor(self) -> &'static Descriptor {
                match self {
                    $(Self::$hook => const { &$file::HOOK },)*
                }
            }
        }
    };
}

hooks! {
    /// fork, exec, exit.
    Processes: sched_process,
    /// The end of every TCP socket.
    Destroy: tcp_destroy_sock,
    /// Errors that the kernel reports on a socket.
    ErrorReport: inet_sk_error_report,
    /// accept().
    Accept: inet_csk_accept,
    /// accept(), for calls that lack descriptors or memory.
    AcceptFailure: sys_accept,
    /// connect(), for attempts that no transition shows.
    Connect: tcp_connect,
    /// bind(), for failing calls.
    Bind: sys_bind,
    /// listen(), for failing calls.
    Listen: sys_listen,
    /// Sockets put into a map of sockets.
    Sockmap: sk_psock_init,
    /// accept and connect through io_uring.
    IoUring: io_uring_complete,
    /// System calls of 32-bit programs.
    Compat: compat,
    /// Packets that the kernel drops.
    Drop: kfree_skb,
    /// Retransmitted segments.
    Retransmit: tcp_retransmit_skb,
    /// Retransmitted SYN-ACKs.
    RetransmitSynAck: tcp_retransmit_synack,
    /// Sent RST.
    SendReset: tcp_send_reset,
    /// Sent RST without a full socket, where the tracepoint does not report it.
    SendResetForNobody: tcp_v4_send_reset,
    /// Received RST.
    ReceiveReset: tcp_receive_reset,
    /// Transitions between TCP states.
    SetState: inet_sock_set_state,
}

impl Hook {
    /// All hooks, where their order does not matter.
    pub const ALL: [Self; Self::IN_ORDER_OF_ATTACHMENT.len()] = Self::IN_ORDER_OF_ATTACHMENT;

    /// The name users see, and that `--backend` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.descriptor().name
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
        self.descriptor().required
    }

    /// Whether it reports packets, which have a ring of their own.
    #[must_use]
    pub fn is_of_packets(self) -> bool {
        self.descriptor().wanted != Wanted::Always
    }
}

/// The chain of a hook, best link first.
#[must_use]
pub const fn chain(hook: Hook) -> &'static [Link] {
    hook.descriptor().chain
}

/// The reason why the link `backend` of `hook` would be blind here; `None` if it sees.
#[must_use]
pub fn blind(hook: Hook, backend: Backend, offsets: &Offsets) -> Option<String> {
    let link = chain(hook).iter().find(|link| link.backend == backend)?;
    let missing = link.needs.iter().copied().flatten().find(|need| (need.offset)(offsets) == ABSENT)?;
    let source = Offsets::FIELDS.iter().find(|field| field.name == missing.field)?.source;
    Some(match source {
        Source::Helper(name) => format!("it needs the kernel's {}", name.replace("BPF_FUNC_", "bpf_")),
        _ => format!("it needs the offset of {source}, which is not known here"),
    })
}

impl Lanes {
    fn all() -> impl Iterator<Item = &'static Self> {
        Hook::ALL.into_iter().flat_map(|hook| hook.descriptor().lanes)
    }

    /// The lanes beside a program, if it has any.
    #[must_use]
    pub fn of(program: &str) -> Option<&'static Self> {
        Self::all().find(|lanes| lanes.first == program)
    }

    /// The lanes that include a program, unless it is the first.
    #[must_use]
    pub fn with(program: &str) -> Option<&'static Self> {
        Self::all().find(|lanes| lanes.others.contains(&program))
    }
}

#[cfg(test)]
mod tests;
