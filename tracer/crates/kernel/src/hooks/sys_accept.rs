//! accept(), for calls that lack descriptors or memory.

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, needed};
use super::needs::{ARGUMENTS, FD, SOCK, SYSCALL_EXIT};

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "sys_accept",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[FD, SOCK],
            costs: None,
            programs: &[needed("accept_failed__fexit", Attach::Fexit("__sys_accept4"))],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[FD, SOCK, ARGUMENTS],
            costs: None,
            programs: &[needed("accept_failed__kretprobe", Attach::Kprobe("__sys_accept4"))],
        },
        Link {
            backend: Backend::Syscall,
            needs: &[FD, SOCK, ARGUMENTS, SYSCALL_EXIT],
            costs: None,
            programs: &[
                needed("accept_failed__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept")),
                needed("accept_failed__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept4")),
            ],
        },
    ],
    without: Some(Lack {
        name: "no_accept_failures",
        cost: "accept() calls that lack descriptors or memory are not shown",
    }),
    ..Descriptor::USUAL
};
