//! listen(), for failing calls.

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, needed};
use super::needs::{FD, SOCK, SYSCALL_ENTER, SYSCALL_EXIT};

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "sys_listen",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[FD, SOCK],
            costs: None,
            programs: &[
                needed("listen__fexit", Attach::Fexit("__sys_listen")),
                needed("listen__fentry", Attach::Fentry("__sys_listen")),
            ],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[FD, SOCK],
            costs: None,
            programs: &[
                needed("listen__kretprobe", Attach::Kprobe("__sys_listen")),
                needed("listen__kprobe", Attach::Kprobe("__sys_listen")),
            ],
        },
        Link {
            backend: Backend::Syscall,
            needs: &[FD, SOCK, SYSCALL_ENTER, SYSCALL_EXIT],
            costs: None,
            programs: &[
                needed("listen__syscall_exit", Attach::Tracepoint("syscalls", "sys_exit_listen")),
                needed("listen__syscall_enter", Attach::Tracepoint("syscalls", "sys_enter_listen")),
            ],
        },
    ],
    without: Some(Lack { name: "no_listen", cost: "a failed listen() shows as `closed_local`, without its errno" }),
    ..Descriptor::USUAL
};
