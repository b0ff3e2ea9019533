//! What a hook's file says of it.

use std::fmt;

use tracer_common::{audit::Audited, settings::LANES};

use super::needs::Need;

/// A hook, as the user side knows it. [`Descriptor::USUAL`] has what most hooks leave out.
#[derive(Debug)]
pub struct Descriptor {
    /// The name users see, and that `--backend` takes.
    pub name: &'static str,
    /// Its links, best first.
    pub chain: &'static [Link],
    /// The loss if no link attaches.
    pub without: Option<Lack>,
    /// The hook may be loaded and attached later; the loss until then.
    pub rests: Option<Lack>,
    /// Programs that stand in for those of its best link.
    pub lanes: &'static [Lanes],
    /// The calls that a program counts for the audit.
    pub audit: &'static [Watch],
    /// The events that need it.
    pub wanted: Wanted,
    /// It sees what a hook of connect() or accept() at the system call does not, and is needed only there.
    pub beside_system_calls: bool,
    /// Every trace needs it.
    pub required: bool,
    /// Its place among the hooks whose programs the verifier takes longest for: those are loaded first.
    pub verified: u8,
}

impl Descriptor {
    /// A hook that every trace attaches, without lanes and audit.
    pub const USUAL: Self = Self {
        name: "",
        chain: &[],
        without: None,
        rests: None,
        lanes: &[],
        audit: &[],
        wanted: Wanted::Always,
        beside_system_calls: false,
        required: false,
        verified: u8::MAX,
    };
}

/// What the user loses without a hook, or by one of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// A short name, for `summary.degraded`.
    pub name: &'static str,
    /// In one sentence.
    pub cost: &'static str,
}

/// The events that need a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any.
    Always,
    /// Drops.
    Drops,
    /// Retransmitted segments.
    Retransmits,
    /// Resets.
    Resets,
    /// Resets, on kernels whose tracepoint leaves out those without a full socket.
    ResetsForNobody,
}

/// The programs beside one inside which a task may be preempted (the kernel side's `lane`): they take the calls that the
/// kernel keeps from a program which is already running on the same CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// The program that they stand in for.
    pub first: &'static str,
    /// In the order in which the kernel is to call them, after the first.
    pub others: [&'static str; LANES as usize - 1],
}

/// A tracepoint whose calls a program of its own counts.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Its place in the count.
    pub audited: Audited,
    /// Its name in the stream, and the tracepoint of the counting program, unless it is a system call.
    pub name: &'static str,
    /// The counting program.
    pub counter: &'static str,
}

/// The program that counts the returns of system calls.
pub const SYS_EXIT: &str = "audit_sys_exit";

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
    /// The offsets that it has to know: without one of them it would load and attach and see nothing.
    pub needs: &'static [&'static [Need]],
    /// What it costs the user.
    pub costs: Option<Lack>,
}

/// A program that the link needs.
pub const fn needed(program: &'static str, attach: Attach) -> ProgramSpec {
    ProgramSpec { program, attach, optional: false }
}

/// A program that the link works without.
pub const fn optional(program: &'static str, attach: Attach) -> ProgramSpec {
    ProgramSpec { program, attach, optional: true }
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
