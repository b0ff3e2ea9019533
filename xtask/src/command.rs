//! Starts other programs: shows each command line, and names the command in a failure.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, iter};

/// Runs to the end with our own stdin, stdout and stderr, after showing the command line.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", line(command));
    quietly(command)
}

/// Like [`run`], without showing the command line.
///
/// # Errors
/// As for [`run`].
pub fn quietly(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{status}: {}", line(command));
    }
    Ok(())
}

/// The command's stdout; its stderr is ours.
///
/// # Errors
/// When it cannot be started, fails, or writes something that is not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!("{}: {}", output.status, line(command));
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", line(command)))
}

/// The first line of its stdout, or `None` if it does not exist or fails. Silent.
#[must_use]
pub fn probe(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()?;
    Some(text.lines().next().unwrap_or_default().to_owned())
}

/// The command line for people: the program and its arguments, without the environment.
#[must_use]
pub fn line(command: &Command) -> String {
    iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{word}'") }
}

/// The path of a program: in PATH, or among the administrator's programs, which an ordinary user's PATH often leaves
/// out.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| executable(file))
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The cargo that started us, so that a `+toolchain` on the command line stays in effect.
#[must_use]
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
