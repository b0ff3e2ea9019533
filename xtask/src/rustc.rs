//! rustc, called through xtask while the BPF objects are built.
//!
//! Cargo gives every crate a hash that goes into its symbols' names. For a crate beside the workspace (tracer-common)
//! that hash depends on the folder of the checkout; for all of them on cargo's version and the host. Names go into the
//! objects' BTF, so xtask replaces each hash by the package's name and version: the same sources then give the same
//! bytes anywhere.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Set if cargo is to call us as its `RUSTC_WRAPPER`.
pub const WRAPPER: &str = "XTASK_IS_RUSTC_WRAPPER";

/// Whether cargo called us in place of rustc.
#[must_use]
pub fn asked_for() -> bool {
    env::var_os(WRAPPER).is_some()
}

/// Replaces this process by rustc.
pub fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let Some(rustc) = args.next() else {
        eprintln!("xtask: called as rustc without rustc's path");
        return ExitCode::FAILURE;
    };
    let package = (env::var("CARGO_PKG_NAME"), env::var("CARGO_PKG_VERSION"));
    let args = args.map(|arg| match &package {
        (Ok(name), Ok(version)) => stable(arg, name, version),
        _ => arg,
    });
    let error = Command::new(&rustc).args(args).exec();
    eprintln!("xtask: cannot start {}: {error}", rustc.display());
    ExitCode::FAILURE
}

fn stable(arg: OsString, name: &str, version: &str) -> OsString {
    match arg.to_str() {
        Some(text) if text.starts_with("metadata=") => format!("metadata={name}-{version}").into(),
        _ => arg,
    }
}

/// Removes variables of a user's environment that would change the build.
pub fn clean(command: &mut Command) {
    for (key, _) in env::vars_os() {
        if shapes_the_build(&key) {
            command.env_remove(key);
        }
    }
}

fn shapes_the_build(key: &OsStr) -> bool {
    let key = key.to_string_lossy();
    let prefixes = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "CARGO_PKG_"];
    // cargo and rustup set their own toolchain's libraries and name there: wrong for another toolchain.
    let names = ["CARGO", "CARGO_ENCODED_RUSTFLAGS", "CARGO_INCREMENTAL", "CARGO_MANIFEST_DIR", "LD_LIBRARY_PATH"];
    key.starts_with("RUSTC")
        || matches!(key.as_ref(), "RUSTFLAGS" | "RUSTUP_TOOLCHAIN" | "AYA_BPF_TARGET_ARCH")
        || names.contains(&key.as_ref())
        || prefixes.iter().any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hash_is_replaced() {
        let replaced = |arg: &str| stable(arg.into(), "tracer-common", "0.1.0");
        assert_eq!(replaced("metadata=0123456789abcdef"), "metadata=tracer-common-0.1.0");
        assert_eq!(replaced("extra-filename=-0123456789abcdef"), "extra-filename=-0123456789abcdef");
        assert_eq!(replaced("tracer-common/src/lib.rs"), "tracer-common/src/lib.rs");
    }

    #[test]
    fn a_users_flags_do_not_reach_the_build() {
        for key in ["RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_PROFILE_RELEASE_LTO", "CARGO_TARGET_DIR", "LD_LIBRARY_PATH"] {
            assert!(shapes_the_build(OsStr::new(key)), "{key}");
        }
        for key in ["PATH", "HOME", "CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE"] {
            assert!(!shapes_the_build(OsStr::new(key)), "{key}");
        }
    }
}
