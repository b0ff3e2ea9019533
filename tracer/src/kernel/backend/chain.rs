//! The programs that serve each hook: an ordered chain of links, best first.

use super::{Backend, Hook};

/// The way in which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To a BTF tracepoint.
    TpBtf(&'static str),
    /// To the entry of a function.
    Fentry(&'static str),
    /// To the return of a function.
    Fexit(&'static str),
    /// To the entry or return of a function (depending on the program).
    Kprobe(&'static str),
    /// To a raw tracepoint.
    RawTp(&'static str),
    /// To a classic tracepoint, category and name.
    Tracepoint(&'static str, &'static str),
}

/// One program of a link.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec {
    /// Its name in the object.
    pub program: &'static str,
    /// Its target.
    pub attach: Attach,
    /// The link works without it (IPv6 may be absent or a module).
    pub optional: bool,
}

/// One link of a chain: programs that serve the hook together.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its name.
    pub backend: Backend,
    /// Its programs; all but the optional ones must be attached.
    pub programs: &'static [ProgramSpec],
}

const fn needed(program: &'static str, attach: Attach) -> ProgramSpec {
    ProgramSpec { program, attach, optional: false }
}

const fn optional(program: &'static str, attach: Attach) -> ProgramSpec {
    ProgramSpec { program, attach, optional: true }
}

/// Handles calls that the kernel keeps from `set_state__btf` and its lanes, if a task may be preempted inside them: no
/// call is nested in this one. It is attached before them, so the kernel calls it before them.
pub const SET_STATE_AHEAD: &str = "set_state__ahead";
/// Handles calls that the kernel keeps from `set_state__btf` otherwise; it is attached after it, so the kernel calls it
/// after it.
pub const SECOND_SET_STATE: &str = "set_state_again__btf";

/// Beside `accept__fexit`, for kernels that pass four arguments.
pub const ACCEPT_OF_4: &str = "accept_of_4__fexit";

/// The chain of a hook, best link first.
#[must_use]
pub const fn chain(hook: Hook) -> &'static [Link] {
    match hook {
        Hook::SetState => {
            const {
                &[
                    Link {
                        backend: Backend::TpBtf,
                        programs: &[
                            optional(SET_STATE_AHEAD, Attach::Tracepoint("sock", "inet_sock_set_state")),
                            needed("set_state__btf", Attach::TpBtf("inet_sock_set_state")),
                            optional(SECOND_SET_STATE, Attach::TpBtf("inet_sock_set_state")),
                        ],
                    },
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("set_state__raw", Attach::RawTp("inet_sock_set_state"))],
                    },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("set_state__classic", Attach::Tracepoint("sock", "inet_sock_set_state"))],
                    },
                ]
            }
        }
        Hook::Destroy => {
            const {
                &[
                    Link {
                        backend: Backend::TpBtf,
                        programs: &[needed("destroy__btf", Attach::TpBtf("tcp_destroy_sock"))],
                    },
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("destroy__raw", Attach::RawTp("tcp_destroy_sock"))],
                    },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("destroy__classic", Attach::Tracepoint("tcp", "tcp_destroy_sock"))],
                    },
                ]
            }
        }
        Hook::ErrorReport => {
            const {
                &[
                    Link {
                        backend: Backend::TpBtf,
                        programs: &[needed("error_report__btf", Attach::TpBtf("inet_sk_error_report"))],
                    },
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("error_report__raw", Attach::RawTp("inet_sk_error_report"))],
                    },
                ]
            }
        }
        Hook::Connect => {
            const {
                &[
                    Link {
                        backend: Backend::Fentry,
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
                        programs: &[
                            needed("connect__syscall_exit", Attach::Tracepoint("syscalls", "sys_exit_connect")),
                            needed("connect__syscall_enter", Attach::Tracepoint("syscalls", "sys_enter_connect")),
                        ],
                    },
                ]
            }
        }
        Hook::Accept => {
            const {
                &[
                    Link {
                        backend: Backend::Fentry,
                        programs: &[
                            needed("accept__fexit", Attach::Fexit("inet_csk_accept")),
                            optional(ACCEPT_OF_4, Attach::Fexit("inet_csk_accept")),
                        ],
                    },
                    Link {
                        backend: Backend::Kprobe,
                        programs: &[needed("accept__kretprobe", Attach::Kprobe("inet_csk_accept"))],
                    },
                    Link {
                        backend: Backend::Syscall,
                        programs: &[
                            needed("accept__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept")),
                            needed("accept__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept4")),
                        ],
                    },
                ]
            }
        }
        Hook::AcceptFailure => {
            const {
                &[
                    Link {
                        backend: Backend::Fentry,
                        programs: &[needed("accept_failed__fexit", Attach::Fexit("__sys_accept4"))],
                    },
                    Link {
                        backend: Backend::Kprobe,
                        programs: &[needed("accept_failed__kretprobe", Attach::Kprobe("__sys_accept4"))],
                    },
                    Link {
                        backend: Backend::Syscall,
                        programs: &[
                            needed("accept_failed__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept")),
                            needed("accept_failed__syscall", Attach::Tracepoint("syscalls", "sys_exit_accept4")),
                        ],
                    },
                ]
            }
        }
        Hook::IoUring => {
            const {
                &[Link {
                    backend: Backend::RawTp,
                    programs: &[
                        needed("io_uring_complete__raw", Attach::RawTp("io_uring_complete")),
                        needed("io_uring_failed__raw", Attach::RawTp("io_uring_complete")),
                    ],
                }]
            }
        }
        Hook::Bind => {
            const {
                &[
                    Link { backend: Backend::Fentry, programs: &[needed("bind__fexit", Attach::Fexit("__sys_bind"))] },
                    Link {
                        backend: Backend::Kprobe,
                        programs: &[needed("bind__kretprobe", Attach::Kprobe("__sys_bind"))],
                    },
                    Link {
                        backend: Backend::Syscall,
                        programs: &[needed("bind__syscall", Attach::Tracepoint("syscalls", "sys_exit_bind"))],
                    },
                ]
            }
        }
        Hook::Listen => {
            const {
                &[
                    Link {
                        backend: Backend::Fentry,
                        programs: &[
                            needed("listen__fexit", Attach::Fexit("__sys_listen")),
                            needed("listen__fentry", Attach::Fentry("__sys_listen")),
                        ],
                    },
                    Link {
                        backend: Backend::Kprobe,
                        programs: &[
                            needed("listen__kretprobe", Attach::Kprobe("__sys_listen")),
                            needed("listen__kprobe", Attach::Kprobe("__sys_listen")),
                        ],
                    },
                    Link {
                        backend: Backend::Syscall,
                        programs: &[
                            needed("listen__syscall_exit", Attach::Tracepoint("syscalls", "sys_exit_listen")),
                            needed("listen__syscall_enter", Attach::Tracepoint("syscalls", "sys_enter_listen")),
                        ],
                    },
                ]
            }
        }
        Hook::Sockmap => {
            const {
                &[
                    Link {
                        backend: Backend::Fentry,
                        programs: &[needed("psock__fentry", Attach::Fentry("sk_psock_init"))],
                    },
                    Link {
                        backend: Backend::Kprobe,
                        programs: &[needed("psock__kprobe", Attach::Kprobe("sk_psock_init"))],
                    },
                    Link {
                        backend: Backend::Syscall,
                        programs: &[needed("psock__syscall", Attach::Tracepoint("syscalls", "sys_exit_bpf"))],
                    },
                ]
            }
        }
        Hook::Compat => {
            const {
                &[
                    Link { backend: Backend::TpBtf, programs: &[needed("compat__btf", Attach::TpBtf("sys_exit"))] },
                    Link { backend: Backend::RawTp, programs: &[needed("compat__raw", Attach::RawTp("sys_exit"))] },
                ]
            }
        }
        Hook::Processes => {
            const {
                &[Link {
                    backend: Backend::RawTp,
                    programs: &[
                        needed("exit__raw", Attach::RawTp("sched_process_exit")),
                        needed("exec__raw", Attach::RawTp("sched_process_exec")),
                        needed("fork__raw", Attach::RawTp("sched_process_fork")),
                    ],
                }]
            }
        }
        Hook::Drop => {
            const {
                &[
                    Link { backend: Backend::TpBtf, programs: &[needed("kfree_skb__btf", Attach::TpBtf("kfree_skb"))] },
                    Link { backend: Backend::RawTp, programs: &[needed("kfree_skb__raw", Attach::RawTp("kfree_skb"))] },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("kfree_skb__classic", Attach::Tracepoint("skb", "kfree_skb"))],
                    },
                ]
            }
        }
        Hook::Retransmit => {
            const {
                &[
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("retransmit__raw", Attach::RawTp("tcp_retransmit_skb"))],
                    },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("retransmit__classic", Attach::Tracepoint("tcp", "tcp_retransmit_skb"))],
                    },
                ]
            }
        }
        Hook::RetransmitSynAck => {
            const {
                &[
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("synack__raw", Attach::RawTp("tcp_retransmit_synack"))],
                    },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("synack__classic", Attach::Tracepoint("tcp", "tcp_retransmit_synack"))],
                    },
                ]
            }
        }
        Hook::SendReset => {
            const {
                &[
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("send_reset__raw", Attach::RawTp("tcp_send_reset"))],
                    },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("send_reset__classic", Attach::Tracepoint("tcp", "tcp_send_reset"))],
                    },
                ]
            }
        }
        Hook::SendResetForNobody => {
            const {
                &[
                    Link {
                        backend: Backend::Fentry,
                        programs: &[
                            needed("closed_port4__fentry", Attach::Fentry("tcp_v4_send_reset")),
                            optional("closed_port6__fentry", Attach::Fentry("tcp_v6_send_reset")),
                        ],
                    },
                    Link {
                        backend: Backend::Kprobe,
                        programs: &[
                            needed("closed_port4__kprobe", Attach::Kprobe("tcp_v4_send_reset")),
                            optional("closed_port6__kprobe", Attach::Kprobe("tcp_v6_send_reset")),
                        ],
                    },
                ]
            }
        }
        Hook::ReceiveReset => {
            const {
                &[
                    Link {
                        backend: Backend::RawTp,
                        programs: &[needed("receive_reset__raw", Attach::RawTp("tcp_receive_reset"))],
                    },
                    Link {
                        backend: Backend::Tracepoint,
                        programs: &[needed("receive_reset__classic", Attach::Tracepoint("tcp", "tcp_receive_reset"))],
                    },
                ]
            }
        }
    }
}
