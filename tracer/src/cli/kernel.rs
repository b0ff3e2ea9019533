//! Options for hooks, type information and limits. They are rarely needed, so only `--help` shows
//! them.

use std::fmt::Write as _;

use crate::{
    kernel::backend::{Backend, Hook, chain},
    privilege::Sandbox,
    trace::running::Types,
};

/// Options for hooks and other kernel features.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Kernel")]
pub struct KernelArgs {
    /// Serve a hook by this link of its chain, or not at all
    #[arg(long, value_name = "HOOK=LINK", value_parser = backend, hide_short_help = true,
          long_help = backend_help())]
    pub backend: Vec<(Hook, Backend)>,

    /// Read the kernel's type information from this file
    ///
    /// A file of raw BTF for a kernel that has none of its own, or `none`, to act as if the kernel had
    /// none. tracer refuses a file that contradicts the running kernel.
    #[arg(long, value_name = "FILE|none", value_parser = types, hide_short_help = true,
          value_hint = clap::ValueHint::FilePath)]
    pub btf: Option<Types>,

    /// Follow at most this many sockets
    ///
    /// Beyond that, events of a connection have only what each shows by itself, and its end says
    /// `incomplete`. 262144 by default, 65536 before Linux 6.1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24), hide_short_help = true)]
    pub sockets: Option<u32>,

    /// Keep all privileges
    ///
    /// By default, once everything is attached, each thread keeps only the capabilities and system calls
    /// that it still needs: see `tracer doctor`.
    #[arg(long, hide_short_help = true)]
    pub no_sandbox: bool,
}

impl KernelArgs {
    /// Returns whether threads give up unneeded privileges.
    #[must_use]
    pub const fn sandbox(&self) -> Sandbox {
        if self.no_sandbox { Sandbox::Off } else { Sandbox::On }
    }

    /// Returns a hook for which the user gave two different links, if any.
    #[must_use]
    pub fn torn(&self) -> Option<Hook> {
        let other = |(hook, backend): &&(Hook, Backend)| self.backend.iter().any(|(h, b)| h == hook && b != backend);
        self.backend.iter().find(other).map(|(hook, _)| *hook)
    }
}

/// Reads `HOOK=LINK`.
fn backend(text: &str) -> Result<(Hook, Backend), String> {
    let wrong = || format!("write HOOK=LINK, such as {}={}", Hook::SetState.name(), Backend::RawTp);
    let (hook, link) = text.split_once('=').ok_or_else(wrong)?;
    let known = Hook::from_name(hook)
        .ok_or_else(|| format!("there is no hook `{hook}`; there are {}", Hook::ALL.map(Hook::name).join(", ")))?;
    let backend =
        known.link_from_name(link).ok_or_else(|| format!("{hook} has no link `{link}`; it has {}", links(known)))?;
    Ok((known, backend))
}

fn links(hook: Hook) -> String {
    chain(hook).iter().map(|link| link.backend.name()).collect::<Vec<_>>().join(", ")
}

fn backend_help() -> String {
    let mut text = "Serve a hook by this link of its chain, or not at all\n\n\
                    Otherwise the first link that the kernel takes is used. May be given for several hooks. The links, \
                    best first:\n"
        .to_owned();
    for hook in Hook::ALL {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {:<22} {}", hook.name(), links(hook));
    }
    text
}

/// Reads the value of `--btf`.
#[expect(clippy::unnecessary_wraps, reason = "clap takes a function that may fail")]
fn types(text: &str) -> Result<Types, String> {
    Ok(if text == "none" { Types::None } else { Types::File(text.into()) })
}
