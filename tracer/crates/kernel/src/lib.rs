//! The kernel as a trace meets it: hooks and their links, type information, the loaded object, its rings, maps and
//! iterators, and the audit.

mod attach;
pub mod audit;
pub mod backend;
pub mod btf;
mod compat;
pub mod cost;
pub mod debug_log;
mod descriptors;
pub mod detach;
pub mod folds;
pub mod format;
pub mod grace;
pub mod hooks;
mod info;
pub mod iterators;
pub mod load;
pub mod memlock;
pub mod memory;
pub mod object;
pub mod offsets;
pub mod plan;
pub mod probes;
pub mod reasons;
pub mod ring;
pub mod selection;
pub mod stacks;
pub mod symbols;
mod tasks;
pub mod types;

use std::{error::Error as _, io};

use aya::{EbpfError, maps::MapError};
use thiserror::Error;

use self::hooks::{Backend, Hook};
use crate::descriptors::DESCRIPTORS;
use tracer_privilege::{capabilities, missing};

/// The reason why there can be no trace. Each is one sentence with a remedy.
#[derive(Debug, Error)]
pub enum KernelError {
    /// Missing privileges.
    #[error("{0}")]
    NotPermitted(String, #[source] Option<Box<EbpfError>>),
    /// Too little memory.
    #[error(
        "there is not enough memory for the BPF maps: raise the memory limit of tracer's control group, or ask for \
         less with --buffer and --sockets"
    )]
    NoMemory(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too few of them.
    #[error("the limit of open files is {0}, and a trace needs {DESCRIPTORS}: raise it (ulimit -n {DESCRIPTORS})")]
    FewDescriptors(u64),
    /// bpf(2) is not there.
    #[error("this kernel has no bpf() system call: tracing needs Linux 5.8 or newer with CONFIG_BPF_SYSCALL")]
    NoBpf(#[source] EbpfError),
    /// No ring buffer.
    #[error("the kernel refuses a BPF ring buffer: tracing needs Linux 5.8 or newer")]
    Refused(#[source] EbpfError),
    /// The hook that every trace needs.
    #[error("{0}; `tracer doctor` shows what this kernel allows")]
    Required(String),
    /// The link given with `--backend`.
    #[error("{0}; without --backend tracer takes the best link that works, `tracer doctor` shows which")]
    Forced(String),
    /// The object lacks a part: it does not belong to this program.
    #[error("the embedded BPF object lacks {0}: rebuild it with `cargo xtask build-ebpf`")]
    Object(&'static str),
    /// A map operation failed.
    #[error("a BPF map operation failed")]
    Map(#[source] MapError),
    /// The ring cannot be polled.
    #[error("the BPF ring buffer cannot be polled")]
    Poll(#[source] io::Error),
}

impl KernelError {
    fn load(error: EbpfError) -> Self {
        match os_error(&error) {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted(why_not(), Some(Box::new(error))),
            Some(libc::ENOSYS) => Self::NoBpf(error),
            Some(libc::ENOMEM) => Self::NoMemory(error.into()),
            _ => Self::Refused(error),
        }
    }

    fn forced(hook: Hook, backend: Backend, refused: &[(Backend, String)]) -> Self {
        let why = refused.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
        Self::Forced(format!("{} cannot be served by {backend} here: {why}", hook.name()))
    }

    fn required(hook: Hook, refused: &[(Backend, String)]) -> Self {
        // Maps could be made, but no program could be loaded.
        if let Some(remedy) = missing::remedy() {
            return Self::NotPermitted(remedy, None);
        }
        let why: Vec<String> = refused.iter().map(|(backend, why)| format!("{backend}: {why}")).collect();
        Self::Required(format!("the kernel lets nothing attach to {} ({})", hook.name(), why.join("; ")))
    }
}

/// The reason why the kernel refuses the first map.
fn why_not() -> String {
    missing::remedy().unwrap_or_else(|| {
        let memlock = memlock::limit().map_or_else(String::new, |bytes| {
            format!(
                "; before Linux 5.11 maps count as locked memory, of which {} KiB are allowed here: add \
                 CAP_SYS_RESOURCE, or raise the limit (`ulimit -l unlimited`)",
                bytes / 1024
            )
        });
        format!(
            "the kernel refuses a BPF map although {} are there: a container's seccomp filter or a security module \
             may forbid it{memlock}",
            capabilities::names(missing::REQUIRED).replace(", ", " and ")
        )
    })
}

/// The system's error at the end of a chain of sources.
fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut current = Some(error);
    let mut found = None;
    while let Some(error) = current {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            found = Some(code);
        }
        current = error.source();
    }
    found
}

/// A refusal in few words: the system's error, and the verifier's last line if there is one.
fn reason(error: &aya::programs::ProgramError) -> String {
    if let aya::programs::ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        log::trace!("the verifier says:\n{log}");
        // Figures follow the complaint.
        let is_figure =
            |line: &str| ["processed", "verification time", "stack depth"].iter().any(|s| line.starts_with(s));
        let last = log.lines().rev().find(|line| !line.is_empty() && !is_figure(line));
        return match last {
            Some(line) => format!("load: {io_error} ({line})"),
            None => format!("load: {io_error}"),
        };
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}
