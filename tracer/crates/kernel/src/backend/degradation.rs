//! The cost of a choice, or of a feature that this kernel lacks, to the user.

use tracer_common::settings::{ABSENT, Offsets};

use super::{Choice, needs_io_uring};
use crate::hooks::{Hook, Lack};
use tracer_privilege::missing::Optional;

/// A limit of the trace on this host. The banner, the summary and `doctor` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degradation {
    /// A hook is absent, rests, or is served by a link that costs something.
    Hook(Lack),
    /// This kernel gives no reasons for drops.
    NoDropReasons,
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
            Self::Hook(loss) => loss.name.into(),
            Self::NoDropReasons => "no_drop_reasons".into(),
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
            Self::Hook(loss) => loss.cost.into(),
            Self::NoDropReasons => "this kernel gives no reasons for drops: the call site stands for them; only \
                 rules of netfilter and closed TCP ports are told from losses"
                .into(),
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
pub fn cost_of(choice: &Choice) -> Option<Degradation> {
    let descriptor = choice.hook.descriptor();
    let loss = match choice.backend {
        None => descriptor.without,
        Some(_) if choice.rests => descriptor.rests,
        Some(backend) => descriptor.chain.iter().find(|link| link.backend == backend)?.costs,
    };
    loss.map(Degradation::Hook)
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
    if offsets.io_complete_has_cqe == ABSENT && needs_io_uring(choices) {
        let loss = Hook::IoUring.descriptor().without.map(Degradation::Hook);
        let unsaid = loss.filter(|loss| !list.contains(loss));
        list.extend(unsaid);
    }
    let drops = choices.iter().any(|choice| choice.hook == Hook::Drop && choice.backend.is_some());
    if drops && !gives_drop_reasons(offsets) {
        list.push(Degradation::NoDropReasons);
    }
    list.extend(missing.iter().filter(|member| !is_minor(member)).cloned().map(Degradation::MissingMember));
    list
}

/// The limits that have come since the start, when they were `before`: a hook that rested could not be attached.
#[must_use]
pub fn degradations_since(before: &[Degradation], choices: &[Choice]) -> Vec<Degradation> {
    choices.iter().filter_map(cost_of).filter(|cost| !before.contains(cost)).collect()
}

/// Whether its absence costs nothing: the kernel has no MPTCP or no io_uring, so there is nothing to miss.
fn is_minor(member: &str) -> bool {
    ["mptcp", "io_kiocb", "io_uring", "io_connect", "inet_csk_accept", "rt6_info"]
        .iter()
        .any(|part| member.contains(part))
}
