//! Which program serves which hook: an ordered chain of backends for each, best first, and the
//! choice among them by what could be loaded and attached. Never by version.

use std::fmt;

use tracer_common::settings::{ABSENT, Offsets};

/// Something that happens in the kernel and that the trace needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Transitions between TCP states.
    SetState,
    /// The end of every TCP socket.
    Destroy,
    /// connect(), for the attempts that no transition shows.
    Connect,
    /// accept().
    Accept,
    /// accept and connect through io_uring.
    IoUring,
    /// fork, exec, exit.
    Processes,
    /// Errors that the kernel reports on a socket.
    ErrorReport,
}

impl Hook {
    /// All of them, in the order in which they are attached: transitions last, so that the first
    /// connection seen is seen whole.
    pub const ALL: [Self; 7] =
        [Self::Processes, Self::Destroy, Self::ErrorReport, Self::Accept, Self::Connect, Self::IoUring, Self::SetState];

    /// The name users see, and that `--backend` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetState => "inet_sock_set_state",
            Self::Destroy => "tcp_destroy_sock",
            Self::Connect => "tcp_connect",
            Self::Accept => "inet_csk_accept",
            Self::IoUring => "io_uring_complete",
            Self::Processes => "sched_process",
            Self::ErrorReport => "inet_sk_error_report",
        }
    }

    /// Without this hook there is no trace.
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

/// How one program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To a BTF tracepoint.
    TpBtf(&'static str),
    /// To the entry of a function.
    Fentry(&'static str),
    /// To the return of a function.
    Fexit(&'static str),
    /// To the entry or return of a function (the program says which).
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
    /// Where it goes.
    pub attach: Attach,
    /// The link works without it (IPv6 may be absent or a module).
    pub optional: bool,
}

/// One link of a chain: programs that serve the hook together.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its name.
    pub backend: Backend,
    /// All must be attached, but the optional ones.
    pub programs: &'static [ProgramSpec],
}

const fn needed(program: &'static str, attach: Attach) -> ProgramSpec {
    ProgramSpec { program, attach, optional: false }
}

const fn optional(program: &'static str, attach: Attach) -> ProgramSpec {
    ProgramSpec { program, attach, optional: true }
}

/// The chain of a hook, best link first.
#[must_use]
pub const fn chain(hook: Hook) -> &'static [Link] {
    match hook {
        Hook::SetState => {
            const {
                &[
                    Link {
                        backend: Backend::TpBtf,
                        programs: &[needed("set_state__btf", Attach::TpBtf("inet_sock_set_state"))],
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
                            needed("accept_of_4__fexit", Attach::Fexit("inet_csk_accept")),
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
        Hook::IoUring => {
            const {
                &[Link {
                    backend: Backend::RawTp,
                    programs: &[needed("io_uring_complete__raw", Attach::RawTp("io_uring_complete"))],
                }]
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
    }
}

/// What became of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The hook.
    pub hook: Hook,
    /// The link that was attached; `None` if none could be.
    pub backend: Option<Backend>,
    /// The better links, and why each was refused.
    pub refused: Vec<(Backend, String)>,
}

/// Takes the first link that `attempt` succeeds with. `forced` restricts the chain to one backend.
pub fn choose(
    hook: Hook,
    forced: Option<Backend>,
    mut attempt: impl FnMut(&'static Link) -> Result<(), String>,
) -> Choice {
    let mut choice = Choice { hook, backend: None, refused: Vec::new() };
    for link in chain(hook).iter().filter(|link| forced.is_none_or(|backend| backend == link.backend)) {
        match attempt(link) {
            Ok(()) => {
                choice.backend = Some(link.backend);
                break;
            }
            Err(why) => choice.refused.push((link.backend, why)),
        }
    }
    choice
}

/// Something the trace cannot do here. Each one is shown in the banner, the summary and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degradation {
    /// connect() is not hooked.
    NoConnect,
    /// connect() is hooked at the system call only.
    ConnectBySyscall,
    /// accept() is not hooked.
    NoAccept,
    /// accept() is hooked at the system call only.
    AcceptBySyscall,
    /// accept() is a kretprobe.
    AcceptByKretprobe,
    /// io_uring is not hooked where it would be needed.
    NoIoUring,
    /// fork, exec, exit are not hooked.
    NoProcesses,
    /// Errors are not hooked.
    NoErrorReport,
    /// The end of sockets is not hooked.
    NoDestroy,
    /// The kernel gives no type information.
    NoBtf,
    /// A member of a kernel structure was not found.
    MissingMember(String),
}

impl Degradation {
    /// A short name, for `summary.degraded`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::NoConnect => "no_connect".into(),
            Self::ConnectBySyscall => "connect_by_syscall".into(),
            Self::NoAccept => "no_accept".into(),
            Self::AcceptBySyscall => "accept_by_syscall".into(),
            Self::AcceptByKretprobe => "accept_by_kretprobe".into(),
            Self::NoIoUring => "no_io_uring".into(),
            Self::NoProcesses => "no_processes".into(),
            Self::NoErrorReport => "no_error_report".into(),
            Self::NoDestroy => "no_destroy".into(),
            Self::NoBtf => "no_btf".into(),
            Self::MissingMember(member) => format!("missing:{member}"),
        }
    }

    /// What it costs, in one sentence.
    #[must_use]
    pub fn cost(&self) -> String {
        match self {
            Self::NoConnect => "connect() calls that fail before a SYN is sent are not seen".into(),
            Self::ConnectBySyscall => "TCP Fast Open sends that fail before a SYN is sent are not seen; every system \
                 call of the host takes the slower, traced path"
                .into(),
            Self::NoAccept => {
                "owners of accepted connections are looked up in /proc: short-lived ones stay unknown".into()
            }
            Self::AcceptBySyscall => "every system call of the host takes the slower, traced path".into(),
            Self::AcceptByKretprobe => "if very many threads block in accept() at once, some accepts are missed".into(),
            Self::NoIoUring => {
                "accepts through io_uring are looked up in /proc; its immediate connect failures are not seen".into()
            }
            Self::NoProcesses => "-f follows nobody; what short-lived processes executed may stay unknown".into(),
            Self::NoErrorReport => "no `error` events; verdicts still carry the error at the end".into(),
            Self::NoDestroy => "a close that is missed is not recovered".into(),
            Self::NoBtf => {
                "no byte counts, errors or namespaces; owners of accepted connections from /proc only".into()
            }
            Self::MissingMember(member) => format!("what needs {member} is unknown"),
        }
    }
}

/// What the choice for one hook costs; `None` if nothing.
#[must_use]
pub const fn cost_of(choice: &Choice) -> Option<Degradation> {
    Some(match (choice.hook, choice.backend) {
        (Hook::Connect, None) => Degradation::NoConnect,
        (Hook::Connect, Some(Backend::Syscall)) => Degradation::ConnectBySyscall,
        (Hook::Accept, None) => Degradation::NoAccept,
        (Hook::Accept, Some(Backend::Syscall)) => Degradation::AcceptBySyscall,
        (Hook::Accept, Some(Backend::Kprobe)) => Degradation::AcceptByKretprobe,
        (Hook::IoUring, None) => Degradation::NoIoUring,
        (Hook::Processes, None) => Degradation::NoProcesses,
        (Hook::ErrorReport, None) => Degradation::NoErrorReport,
        (Hook::Destroy, None) => Degradation::NoDestroy,
        _ => return None,
    })
}

/// What follows from the choices and from what this kernel lacks. Pure.
#[must_use]
pub fn degradations(choices: &[Choice], has_btf: bool, offsets: &Offsets, missing: &[String]) -> Vec<Degradation> {
    let mut list: Vec<Degradation> = (!has_btf).then_some(Degradation::NoBtf).into_iter().collect();
    list.extend(choices.iter().filter_map(cost_of));
    // Attached, but the tracepoint does not name the request.
    let blind = offsets.io_complete_has_cqe == ABSENT && !list.contains(&Degradation::NoIoUring);
    if blind && needs_io_uring(choices) {
        list.push(Degradation::NoIoUring);
    }
    list.extend(missing.iter().filter(|member| !is_minor(member)).cloned().map(Degradation::MissingMember));
    list
}

/// io_uring enters the kernel by no system call of its own: its own tracepoint is needed where the
/// functions behind the calls are not hooked themselves.
#[must_use]
pub fn needs_io_uring(choices: &[Choice]) -> bool {
    choices.iter().any(|choice| {
        matches!(choice.hook, Hook::Connect | Hook::Accept)
            && !matches!(choice.backend, Some(Backend::Fentry | Backend::Kprobe))
    })
}

/// Absent by configuration (no MPTCP, no io_uring): then there is nothing to miss.
fn is_minor(member: &str) -> bool {
    ["mptcp", "io_kiocb", "io_uring", "io_connect", "inet_csk_accept"].iter().any(|part| member.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(hook: Hook, backend: Option<Backend>) -> Choice {
        Choice { hook, backend, refused: Vec::new() }
    }

    fn all(connect: Option<Backend>, accept: Option<Backend>) -> Vec<Choice> {
        Hook::ALL
            .iter()
            .map(|hook| match hook {
                Hook::Connect => choice(*hook, connect),
                Hook::Accept => choice(*hook, accept),
                _ => choice(*hook, Some(chain(*hook)[0].backend)),
            })
            .collect()
    }

    #[test]
    fn the_first_link_that_attaches_is_taken_and_the_better_ones_say_why_not() {
        let choice = choose(Hook::Connect, None, |link| match link.backend {
            Backend::Fentry => Err("EPERM".to_owned()),
            Backend::Kprobe => Err("ENOENT".to_owned()),
            _ => Ok(()),
        });
        assert_eq!(choice.backend, Some(Backend::Syscall));
        let refused = [(Backend::Fentry, "EPERM".to_owned()), (Backend::Kprobe, "ENOENT".to_owned())];
        assert_eq!(choice.refused, refused);
    }

    #[test]
    fn a_better_link_is_never_passed_over() {
        for hook in Hook::ALL {
            for good in 0..chain(hook).len() {
                let mut index = 0;
                let choice = choose(hook, None, |_| {
                    index += 1;
                    if index > good { Ok(()) } else { Err("no".to_owned()) }
                });
                assert_eq!(choice.backend, Some(chain(hook)[good].backend));
            }
        }
    }

    #[test]
    fn a_forced_backend_is_the_only_one_tried() {
        let choice = choose(Hook::Accept, Some(Backend::Kprobe), |link| {
            assert_eq!(link.backend, Backend::Kprobe);
            Err("no".to_owned())
        });
        assert_eq!(choice.backend, None);
    }

    #[test]
    fn the_best_links_leave_nothing_to_say() {
        let offsets = Offsets { io_complete_has_cqe: 1, ..Offsets::NONE };
        let choices = all(Some(Backend::Fentry), Some(Backend::Fentry));
        assert_eq!(degradations(&choices, true, &offsets, &[]), []);
        assert!(!needs_io_uring(&choices));
    }

    #[test]
    fn every_loss_has_a_name() {
        let mut choices = all(Some(Backend::Syscall), None);
        for choice in &mut choices {
            if matches!(choice.hook, Hook::IoUring | Hook::Processes | Hook::Destroy | Hook::ErrorReport) {
                choice.backend = None;
            }
        }
        let missing = ["tcp_sock.srtt_us".to_owned(), "tcp_sock.is_mptcp".to_owned()];
        assert_eq!(
            degradations(&choices, false, &Offsets::NONE, &missing),
            [
                Degradation::NoBtf,
                Degradation::NoProcesses,
                Degradation::NoDestroy,
                Degradation::NoErrorReport,
                Degradation::NoAccept,
                Degradation::ConnectBySyscall,
                Degradation::NoIoUring,
                Degradation::MissingMember("tcp_sock.srtt_us".to_owned()),
            ]
        );
    }
}
