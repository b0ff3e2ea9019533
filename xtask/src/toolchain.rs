//! The two toolchains that can build the BPF objects, and a search for them.

use crate::tree::Tree;
use crate::{command, linker, rustc};
use clap::ValueEnum;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kind of toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Debian's rustc-web with libstd-rust-web-dev-bpf: `core` comes built for BPF
    Debian,
    /// rustup's nightly with rust-src: `core` is built with -Z build-std
    Nightly,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debian => "debian",
            Self::Nightly => "nightly",
        })
    }
}

/// A complete toolchain.
#[derive(Debug)]
pub struct Toolchain {
    /// Its kind.
    pub kind: Kind,
    /// The output of `rustc --version` after its name.
    pub rustc: String,
    /// The version of the LLVM in rustc.
    pub llvm: String,
    /// Like [`linker::version`].
    pub linker_version: String,
    /// bpf-linker.
    pub linker: PathBuf,
    /// llvm-objcopy, which strips the objects.
    pub objcopy: PathBuf,
    /// rustc's sysroot.
    pub sysroot: PathBuf,
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// The folder that Debian's libstd-rust-web-dev-bpf installs.
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";

impl Toolchain {
    /// The toolchain of one kind.
    ///
    /// # Errors
    /// A sentence that names the first missing piece.
    pub fn find(kind: Kind, tree: &Tree) -> Result<Self, String> {
        match kind {
            Kind::Debian => {
                for (path, package) in
                    [(DEBIAN_RUSTC, "rustc-web"), (DEBIAN_CARGO, "cargo-web"), (DEBIAN_CORE, "libstd-rust-web-dev-bpf")]
                {
                    if !Path::new(path).exists() {
                        return Err(format!("{path} is not there (Debian's package {package})"));
                    }
                }
            }
            Kind::Nightly => {
                if command::find("rustup").is_none() {
                    return Err("rustup is not installed".into());
                }
            }
        }
        let verbose = command_text(kind, &["--version", "--verbose"])
            .ok_or_else(|| format!("the {kind} toolchain's rustc does not start"))?;
        let sysroot: PathBuf =
            command_text(kind, &["--print=sysroot"]).ok_or("rustc does not tell its sysroot")?.trim().into();
        if kind == Kind::Nightly && !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            return Err("nightly has no rust-src (rustup component add rust-src --toolchain nightly)".into());
        }
        let linker = linker::find(tree).ok_or_else(|| format!("{} is not installed", linker::version()))?;
        let objcopy = objcopy().ok_or("llvm-objcopy is not installed (it comes with LLVM)")?;
        let llvm = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or("unknown");
        Ok(Self {
            kind,
            rustc: verbose.lines().next().map_or("unknown", |line| line.trim_start_matches("rustc ")).to_owned(),
            llvm: llvm.to_owned(),
            linker_version: linker::version(),
            linker,
            objcopy,
            sysroot,
        })
    }

    /// `cargo` of this toolchain in an environment that is the same for everyone.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut command = match self.kind {
            Kind::Debian => Command::new(DEBIAN_CARGO),
            Kind::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
        };
        rustc::clean(&mut command);
        if self.kind == Kind::Debian {
            // `core` is already built; the unstable features that aya-ebpf needs are allowed by name.
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

fn command_text(kind: Kind, args: &[&str]) -> Option<String> {
    let mut command = match kind {
        Kind::Debian => Command::new(DEBIAN_RUSTC),
        Kind::Nightly => {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", "rustc"]);
            command
        }
    };
    rustc::clean(&mut command);
    let output = command.args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

fn objcopy() -> Option<PathBuf> {
    let debian = Path::new(linker::DEBIAN_LLVM).join("bin/llvm-objcopy");
    if debian.is_file() {
        return Some(debian);
    }
    command::find("llvm-objcopy").or_else(|| (19..30).rev().find_map(|n| command::find(&format!("llvm-objcopy-{n}"))))
}
