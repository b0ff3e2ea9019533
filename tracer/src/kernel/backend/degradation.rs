//! The cost of a choice, or of a feature that this kernel lacks, to the user.

use tracer_common::settings::{ABSENT, Offsets};

use super::{Backend, Choice, Hook, needs_io_uring};
use crate::privilege::missing::Optional;

/// A limit of the trace on this host. The banner, the summary and `doctor` show it.
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
    /// Failing accept() calls are not hooked.
    NoAcceptFailures,
    /// io_uring is not hooked although it is needed.
    NoIoUring,
    /// bind() is not hooked.
    NoBind,
    /// listen() is not hooked.
    NoListen,
    /// Maps of sockets are not hooked.
    NoSockmap,
    /// Maps of sockets are hooked at the system call only.
    SockmapBySyscall,
    /// 32-bit system calls are not hooked although they are needed.
    NoCompat,
    /// 32-bit system calls are hooked once a 32-bit program starts.
    CompatWhenSeen,
    /// fork, exec, exit are not hooked.
    NoProcesses,
    /// Errors are not hooked.
    NoErrorReport,
    /// The end of sockets is not hooked.
    NoDestroy,
    /// Drops are not hooked.
    NoDrops,
    /// This kernel gives no reasons for drops.
    NoDropReasons,
    /// Retransmissions are not hooked.
    NoRetransmits,
    /// Resets are not hooked.
    NoResets,
    /// Resets without a socket are not hooked.
    NoResetsForNobody,
    /// The kernel gives no type information.
    NoBtf,
    /// A member of a kernel structure was not found.
    MissingMember(String),
    /// This process lacks a capability that a trace can use.
    NoCapability(Optional),
    /// This kernel does not filter system calls.
    NoSeccomp,
    /// /proc does not show the initial pid namespace.
    PidNamespace {
        /// Whether the numbers of processes in it are known.
        known: bool,
    },
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
            Self::NoAcceptFailures => "no_accept_failures".into(),
            Self::NoIoUring => "no_io_uring".into(),
            Self::NoBind => "no_bind".into(),
            Self::NoListen => "no_listen".into(),
            Self::NoSockmap => "no_sockmap".into(),
            Self::SockmapBySyscall => "sockmap_by_syscall".into(),
            Self::NoCompat => "no_compat".into(),
            Self::CompatWhenSeen => "compat_when_seen".into(),
            Self::NoProcesses => "no_processes".into(),
            Self::NoErrorReport => "no_error_report".into(),
            Self::NoDestroy => "no_destroy".into(),
            Self::NoDrops => "no_drops".into(),
            Self::NoDropReasons => "no_drop_reasons".into(),
            Self::NoRetransmits => "no_retransmits".into(),
            Self::NoResets => "no_resets".into(),
            Self::NoResetsForNobody => "no_resets_for_nobody".into(),
            Self::NoBtf => "no_btf".into(),
            Self::MissingMember(member) => format!("missing:{member}"),
            Self::NoCapability(lacks) => format!("no_{}", lacks.name().to_lowercase()),
            Self::NoSeccomp => "no_seccomp".into(),
            Self::PidNamespace { .. } => "pid_namespace".into(),
        }
    }

    /// Its cost, in one sentence.
    #[must_use]
    pub fn cost(&self) -> String {
        match self {
            Self::NoConnect => "connect() calls that fail before a SYN is sent are not seen".into(),
            Self::ConnectBySyscall => "TCP Fast Open sends that fail before a SYN is sent are not seen; every system \
                 call of the host takes the slower, traced path"
                .into(),
            Self::NoAccept => "no `accept` events; who accepted is looked up in /proc a moment later: the owners of \
                 short-lived connections stay their listeners"
                .into(),
            Self::AcceptBySyscall => "every system call of the host takes the slower, traced path".into(),
            Self::AcceptByKretprobe => "if very many threads block in accept() at once, some accepts are missed".into(),
            Self::NoAcceptFailures => "accept() calls that lack descriptors or memory are not shown".into(),
            Self::NoIoUring => "accepts through io_uring are not seen, nor its immediate connect failures".into(),
            Self::NoBind => "bind() calls that fail are not shown".into(),
            Self::NoListen => "a failed listen() shows as `closed_local`, without its errno".into(),
            Self::NoSockmap => "`tx_bytes` and `rx_bytes` leave out what BPF programs move between sockets (sockmap), \
                 and nothing says so"
                .into(),
            Self::SockmapBySyscall => "of sockets that a BPF program puts into a sockmap by itself, `tx_bytes` and \
                 `rx_bytes` leave out what is redirected, and nothing says so"
                .into(),
            Self::NoCompat => "accept() and failing connect() calls of 32-bit programs are not seen".into(),
            Self::CompatWhenSeen => {
                "no 32-bit program runs: accept() and failing calls of the first one are seen some \
                 30 ms after its start, those that a 64-bit program makes by `int 0x80` not at all \
                 (--backend raw_syscalls=tp_btf sees all, and slows every system call of the host)"
                    .into()
            }
            Self::NoProcesses => "-f follows no process; the programs of short-lived processes may stay unknown".into(),
            Self::NoErrorReport => "no `error` events; the close still carries the error, where it can be read".into(),
            Self::NoDestroy => "a close that is missed is not recovered".into(),
            Self::NoDrops => "dropped packets are not seen".into(),
            Self::NoDropReasons => "this kernel gives no reasons for drops: the call site stands for them; only \
                 rules of netfilter and closed TCP ports are told from losses"
                .into(),
            Self::NoRetransmits => "no `retransmit` events; `close` still counts retransmitted segments".into(),
            Self::NoResets => "no `reset` events; verdicts still show who reset a connection".into(),
            Self::NoResetsForNobody => "RST sent for closed ports and for ended connections is not seen".into(),
            Self::NoBtf => "no verdicts, errors, byte counts or namespaces; the programs of owners are looked up in \
                 /proc; 65,536 sockets are followed"
                .into(),
            Self::MissingMember(member) => format!("facts that need {member} are unknown"),
            Self::NoCapability(lacks) => lacks.cost.into(),
            Self::NoSeccomp => "the kernel cannot filter system calls (CONFIG_SECCOMP_FILTER): tracer keeps all of \
                 them while it runs"
                .into(),
            Self::PidNamespace { known: true } => "processes outside of this pid namespace have no number in it: what \
                 they open has no owner; in the host's (docker run --pid=host) all have one"
                .into(),
            Self::PidNamespace { known: false } => "the kernel's process numbers are not those of this pid namespace, \
                 and cannot be translated: nothing has an owner; run tracer in the host's (docker run --pid=host)"
                .into(),
        }
    }
}

/// The cost of the choice for one hook; `None` if there is none.
#[must_use]
pub const fn cost_of(choice: &Choice) -> Option<Degradation> {
    Some(match (choice.hook, choice.backend) {
        (Hook::Connect, None) => Degradation::NoConnect,
        (Hook::Connect, Some(Backend::Syscall)) => Degradation::ConnectBySyscall,
        (Hook::Accept, None) => Degradation::NoAccept,
        (Hook::Accept, Some(Backend::Syscall)) => Degradation::AcceptBySyscall,
        (Hook::Accept, Some(Backend::Kprobe)) => Degradation::AcceptByKretprobe,
        (Hook::AcceptFailure, None) => Degradation::NoAcceptFailures,
        (Hook::IoUring, None) => Degradation::NoIoUring,
        (Hook::Bind, None) => Degradation::NoBind,
        (Hook::Listen, None) => Degradation::NoListen,
        (Hook::Sockmap, None) => Degradation::NoSockmap,
        (Hook::Sockmap, Some(Backend::Syscall)) => Degradation::SockmapBySyscall,
        (Hook::Compat, None) => Degradation::NoCompat,
        (Hook::Compat, Some(_)) if choice.rests => Degradation::CompatWhenSeen,
        (Hook::Processes, None) => Degradation::NoProcesses,
        (Hook::ErrorReport, None) => Degradation::NoErrorReport,
        (Hook::Destroy, None) => Degradation::NoDestroy,
        (Hook::Drop, None) => Degradation::NoDrops,
        (Hook::Retransmit | Hook::RetransmitSynAck, None) => Degradation::NoRetransmits,
        (Hook::SendReset | Hook::ReceiveReset, None) => Degradation::NoResets,
        (Hook::SendResetForNobody, None) => Degradation::NoResetsForNobody,
        _ => return None,
    })
}

/// Whether the running kernel gives reasons for drops.
#[must_use]
pub fn gives_drop_reasons(offsets: &Offsets) -> bool {
    (3..ABSENT).contains(&offsets.kfree_skb_args) || offsets.kfree_format_reason != ABSENT
}

/// Whether the running kernel gives reasons for resets.
#[must_use]
pub fn gives_reset_reasons(offsets: &Offsets) -> bool {
    (3..ABSENT).contains(&offsets.send_reset_args) || offsets.send_reset_format_reason != ABSENT
}

/// The limits that follow from the choices and from the features that this kernel lacks. Pure.
#[must_use]
pub fn degradations(choices: &[Choice], has_btf: bool, offsets: &Offsets, missing: &[String]) -> Vec<Degradation> {
    let mut list: Vec<Degradation> = (!has_btf).then_some(Degradation::NoBtf).into_iter().collect();
    for cost in choices.iter().filter_map(cost_of) {
        // Two hooks may have the same cost.
        if !list.contains(&cost) {
            list.push(cost);
        }
    }
    // Attached, but the tracepoint does not name the request.
    let blind = offsets.io_complete_has_cqe == ABSENT && !list.contains(&Degradation::NoIoUring);
    if blind && needs_io_uring(choices) {
        list.push(Degradation::NoIoUring);
    }
    let drops = choices.iter().any(|choice| choice.hook == Hook::Drop && choice.backend.is_some());
    if drops && !gives_drop_reasons(offsets) {
        list.push(Degradation::NoDropReasons);
    }
    list.extend(missing.iter().filter(|member| !is_minor(member)).cloned().map(Degradation::MissingMember));
    list
}

/// Whether its absence costs nothing: the kernel has no MPTCP or no io_uring, so there is nothing to miss.
fn is_minor(member: &str) -> bool {
    ["mptcp", "io_kiocb", "io_uring", "io_connect", "inet_csk_accept", "rt6_info"]
        .iter()
        .any(|part| member.contains(part))
}
