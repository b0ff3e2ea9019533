//! Sockets put into a map of sockets.

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, needed};
use super::needs::{ARGUMENTS, FD, Need, SOCK, SYSCALL_EXIT, needs};

const USER_DATA: &[Need] = needs![sk_user_data];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "sk_psock_init",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[],
            costs: None,
            programs: &[needed("psock__fentry", Attach::Fentry("sk_psock_init"))],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[],
            costs: None,
            programs: &[needed("psock__kprobe", Attach::Kprobe("sk_psock_init"))],
        },
        Link {
            backend: Backend::Syscall,
            needs: &[FD, SOCK, ARGUMENTS, SYSCALL_EXIT, USER_DATA],
            costs: Some(Lack {
                name: "sockmap_by_syscall",
                cost: "of sockets that a BPF program puts into a sockmap by itself, `tx_bytes` and \
                 `rx_bytes` leave out what is redirected, and nothing says so",
            }),
            programs: &[needed("psock__syscall", Attach::Tracepoint("syscalls", "sys_exit_bpf"))],
        },
    ],
    without: Some(Lack {
        name: "no_sockmap",
        cost: "`tx_bytes` and `rx_bytes` leave out what BPF programs move between sockets (sockmap), \
                 and nothing says so",
    }),
    ..Descriptor::USUAL
};
