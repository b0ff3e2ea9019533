//! accept().

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, SYS_EXIT, Watch, needed, optional};
use super::needs::{FD, SOCK, SYSCALL_EXIT};

/// Beside `accept__fexit`, for kernels that pass four arguments.
pub const ACCEPT_OF_4: &str = "accept_of_4__fexit";

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "inet_csk_accept",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[],
            costs: None,
            programs: &[
                needed("accept__fexit", Attach::Fexit("inet_csk_accept")),
                optional(ACCEPT_OF_4, Attach::Fexit("inet_csk_accept")),
            ],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[],
            costs: Some(Lack {
                name: "accept_by_kretprobe",
                cost: "if very many threads block in accept() at once, some accepts are missed",
            }),
            programs: &[needed("accept__kretprobe", Attach::Kprobe("inet_csk_accept"))],
        },
        Link {
            backend: Backend::Syscall,
            needs: &[FD, SYSCALL_EXIT, SOCK],
            costs: Some(Lack {
                name: "accept_by_syscall",
                cost: "every system call of the host takes the slower, traced path",
            }),
            programs: &[
                needed("accept__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept")),
                needed("accept__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept4")),
            ],
        },
    ],
    without: Some(Lack {
        name: "no_accept",
        cost: "no `accept` events; who accepted is looked up in /proc a moment later: the owners of \
                 short-lived connections stay their listeners",
    }),
    lanes: &[Lanes { first: "accept__fexit", others: ["accept__lane2", "accept__lane3"] }],
    audit: &[Watch { audited: Audited::AcceptReturn, name: "sys_exit_accept", counter: SYS_EXIT }],
    ..Descriptor::USUAL
};
