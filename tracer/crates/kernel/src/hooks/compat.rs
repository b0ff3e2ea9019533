//! System calls of 32-bit programs.

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, needed};
use super::needs::{FD, Need, SOCK, needs};

const COMPAT: &[Need] = needs![thread_status, regs_syscall, regs_compat_first, regs_compat_second];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "raw_syscalls",
    chain: &[
        Link {
            backend: Backend::TpBtf,
            needs: &[FD, SOCK, COMPAT],
            costs: None,
            programs: &[needed("compat__btf", Attach::TpBtf("sys_exit"))],
        },
        Link {
            backend: Backend::RawTp,
            needs: &[FD, SOCK, COMPAT],
            costs: None,
            programs: &[needed("compat__raw", Attach::RawTp("sys_exit"))],
        },
    ],
    without: Some(Lack {
        name: "no_compat",
        cost: "accept() and failing connect() calls of 32-bit programs are not seen",
    }),
    rests: Some(Lack {
        name: "compat_when_seen",
        cost: "no 32-bit program runs: accept() and failing calls of the first one are seen some \
                 30 ms after its start, those that a 64-bit program makes by `int 0x80` not at all \
                 (--backend raw_syscalls=tp_btf sees all, and slows every system call of the host)",
    }),
    beside_system_calls: true,
    verified: 2,
    ..Descriptor::USUAL
};
