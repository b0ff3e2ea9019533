//! bind(), for failing calls.

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, needed};
use super::needs::{ARGUMENTS, FD, SOCK, SYSCALL_EXIT};

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "sys_bind",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[FD, SOCK],
            costs: None,
            programs: &[needed("bind__fexit", Attach::Fexit("__sys_bind"))],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[FD, SOCK, ARGUMENTS],
            costs: None,
            programs: &[needed("bind__kretprobe", Attach::Kprobe("__sys_bind"))],
        },
        Link {
            backend: Backend::Syscall,
            needs: &[FD, SOCK, ARGUMENTS, SYSCALL_EXIT],
            costs: None,
            programs: &[needed("bind__syscall", Attach::Tracepoint("syscalls", "sys_exit_bind"))],
        },
    ],
    without: Some(Lack { name: "no_bind", cost: "bind() calls that fail are not shown" }),
    ..Descriptor::USUAL
};
