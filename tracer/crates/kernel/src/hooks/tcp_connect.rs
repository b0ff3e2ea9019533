//! connect(), for attempts that no transition shows.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, SYS_EXIT, Watch, needed, optional};
use super::needs::{FD, SOCK, SYSCALL_ENTER, SYSCALL_EXIT};

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_connect",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[SOCK],
            costs: None,
            programs: &[
                needed("connect4__fexit", Attach::Fexit("tcp_v4_connect")),
                needed("connect4__fentry", Attach::Fentry("tcp_v4_connect")),
                optional("connect6__fexit", Attach::Fexit("tcp_v6_connect")),
                optional("connect6__fentry", Attach::Fentry("tcp_v6_connect")),
                optional("pre_connect4__fexit", Attach::Fexit("tcp_v4_pre_connect")),
                optional("pre_connect6__fexit", Attach::Fexit("tcp_v6_pre_connect")),
            ],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[SOCK],
            costs: None,
            programs: &[
                needed("connect4__kretprobe", Attach::Kprobe("tcp_v4_connect")),
                needed("connect4__kprobe", Attach::Kprobe("tcp_v4_connect")),
                optional("connect6__kretprobe", Attach::Kprobe("tcp_v6_connect")),
                optional("connect6__kprobe", Attach::Kprobe("tcp_v6_connect")),
                optional("pre_connect4__kretprobe", Attach::Kprobe("tcp_v4_pre_connect")),
                optional("pre_connect4__kprobe", Attach::Kprobe("tcp_v4_pre_connect")),
                optional("pre_connect6__kretprobe", Attach::Kprobe("tcp_v6_pre_connect")),
                optional("pre_connect6__kprobe", Attach::Kprobe("tcp_v6_pre_connect")),
            ],
        },
        Link {
            backend: Backend::Syscall,
            needs: &[FD, SYSCALL_ENTER, SYSCALL_EXIT, SOCK],
            costs: Some(Lack {
                name: "connect_by_syscall",
                cost: "TCP Fast Open sends that fail before a SYN is sent are not seen; every system \
                 call of the host takes the slower, traced path",
            }),
            programs: &[
                needed("connect__syscall_exit", Attach::Tracepoint("syscalls", "sys_exit_connect")),
                needed("connect__syscall_enter", Attach::Tracepoint("syscalls", "sys_enter_connect")),
            ],
        },
    ],
    without: Some(Lack { name: "no_connect", cost: "connect() calls that fail before a SYN is sent are not seen" }),
    lanes: &[
        Lanes { first: "connect4__fentry", others: ["connect4_entry__lane2", "connect4_entry__lane3"] },
        Lanes { first: "connect4__fexit", others: ["connect4_return__lane2", "connect4_return__lane3"] },
        Lanes { first: "connect6__fentry", others: ["connect6_entry__lane2", "connect6_entry__lane3"] },
        Lanes { first: "connect6__fexit", others: ["connect6_return__lane2", "connect6_return__lane3"] },
    ],
    audit: &[Watch { audited: Audited::ConnectReturn, name: "sys_exit_connect", counter: SYS_EXIT }],
    ..Descriptor::USUAL
};
