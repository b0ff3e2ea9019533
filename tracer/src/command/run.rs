//! `tracer run -- CMD`.

use std::{
    ffi::CString,
    io::{self, IsTerminal as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{ExitCode, ExitStatus},
};

use anyhow::{Context as _, bail};
use log::warn;
use rustix::{
    process::{Pid, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    destination::{Destination, Home},
    status::status,
    traced,
};
use crate::{
    cli::RunArgs,
    filter::{Host, Lookup as _},
    kernel::backend::Hook,
    proc::{pidns, root::ProcRoot},
    stderr,
    trace::{self, Ready, Seeding, Stop},
};

/// A shell's exit status for a command that is not found, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// Exit status if tracer itself failed.
pub const FAILED: u8 = 125;

/// Starts the command, traces it, and returns its exit status.
///
/// # Errors
/// If no trace is possible.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let RunArgs { filter, output, kernel, .. } = args;
    let filter = traced::filter_of_events(filter, output, kernel);
    let user = User::of(args.user.as_deref())?;
    let destination = Destination::open(output, Home::Stderr, &filter, kernel.sandbox())?;
    let own = pidns::own(&ProcRoot::default());
    let mut course = traced::course("the command and its descendants", filter, output, kernel);
    course.seeding = Seeding::ProcessesOnly;
    course.asks.follow_from = Some(own);
    let ready = course.open()?;
    if !ready.has(Hook::Processes) {
        bail!(
            "the command cannot be followed: {} is not hooked here, `tracer doctor` shows why; \
             `tracer live --pid PID` shows one process",
            Hook::Processes.name()
        );
    }
    let ended = match ready.run_command(destination, |ready| start(args, user, own, ready)) {
        Ok(ended) => ended,
        Err(error) => return error.downcast().map(|NotStarted(error)| cannot_start(args, &error)),
    };
    let command = match &ended.stop {
        Stop::Command(status) => Some(*status),
        _ => None,
    };
    let own = status(ended, output)?;
    Ok(match command {
        Some(status) if own == ExitCode::SUCCESS => ExitCode::from(code(status)),
        _ => own,
    })
}

/// The command cannot be started.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct NotStarted(io::Error);

/// Starts the command.
fn start(args: &RunArgs, user: Option<User>, own: u32, ready: &mut Ready) -> anyhow::Result<trace::Command> {
    let signals = Signals::catch()?;
    ready.say_banner();
    // The kernel side waits for the fork of this process, so the child is in the filter's set
    // before its first instruction.
    let child = spawn(args, user).map_err(NotStarted)?;
    ready.kernel().remove_pid(own)?;
    let pid = child.id().context("the command is gone before it began")?;
    let number = pidns::in_proc(&ready.root, pid).context("the command's number in /proc cannot be looked up")?;
    let start = Host::default().process(number).ok().flatten().map(|process| process.start_ns);
    ready.filter.follow_process(number, start);
    Ok(trace::Command { pid, end: Box::pin(supervise(child, signals)) })
}

fn cannot_start(args: &RunArgs, error: &io::Error) -> ExitCode {
    let name = args.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    stderr::line(format_args!("cannot start {name}: {error}"));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Returns the status as a shell does: 128+N for signal N.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code & 0xff).unwrap_or(FAILED)
}

/// The user that the command runs as.
#[derive(Debug, Clone)]
struct User {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
    name: String,
    home: String,
}

impl User {
    /// Returns the user of `--user`, or the caller of sudo; `None`: no change.
    fn of(name: Option<&str>) -> anyhow::Result<Option<Self>> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => match std::env::var("SUDO_USER") {
                Ok(name) if name != "root" => name,
                _ => return Ok(None),
            },
        };
        Self::by_name(&name).map(Some)
    }

    fn by_name(name: &str) -> anyhow::Result<Self> {
        let c_name = CString::new(name).context("a user's name has no zero byte")?;
        // SAFETY: a C string; the result is copied before anything else asks the user database.
        let entry = unsafe { libc::getpwnam(c_name.as_ptr()).as_ref() };
        let Some(entry) = entry else { bail!("there is no user {name:?}: name one of /etc/passwd with --user") };
        let mut groups = vec![0; 128];
        let mut count = 128;
        // SAFETY: room for `count` groups; a user with more groups loses the rest.
        unsafe { libc::getgrouplist(c_name.as_ptr(), entry.pw_gid, groups.as_mut_ptr(), &raw mut count) };
        groups.truncate(usize::try_from(count).unwrap_or(0).min(128));
        // SAFETY: a C string of the entry above.
        let home = unsafe { std::ffi::CStr::from_ptr(entry.pw_dir) }.to_string_lossy().into_owned();
        Ok(Self { uid: entry.pw_uid, gid: entry.pw_gid, groups, name: name.to_owned(), home })
    }
}

fn spawn(args: &RunArgs, user: Option<User>) -> io::Result<Child> {
    let mut words = args.command.iter();
    let mut command =
        std::process::Command::new(words.next().map_or(std::ffi::OsStr::new(""), |word| word.as_os_str()));
    command.args(words);
    if let Some(user) = user {
        command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.home);
        let become_user = move || {
            // SAFETY: three system calls with valid arguments, in the order in which each is still
            // permitted.
            let done = unsafe {
                libc::setgroups(user.groups.len(), user.groups.as_ptr()) == 0
                    && libc::setgid(user.gid) == 0
                    && libc::setuid(user.uid) == 0
            };
            if done { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(become_user) };
    }
    Command::from(command).spawn()
}

/// The signals to pass on.
struct Signals([(libc::c_int, Signal); 6]);

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let catch = |number| anyhow::Ok((number, signal(SignalKind::from_raw(number))?));
        Ok(Self([
            catch(libc::SIGINT)?,
            catch(libc::SIGTERM)?,
            catch(libc::SIGHUP)?,
            catch(libc::SIGQUIT)?,
            catch(libc::SIGUSR1)?,
            catch(libc::SIGUSR2)?,
        ]))
    }

    /// Waits for the next signal.
    async fn next(&mut self) -> libc::c_int {
        let [(a, int), (b, term), (c, hup), (d, quit), (e, usr1), (f, usr2)] = &mut self.0;
        tokio::select! {
            _ = int.recv() => *a,
            _ = term.recv() => *b,
            _ = hup.recv() => *c,
            _ = quit.recv() => *d,
            _ = usr1.recv() => *e,
            _ = usr2.recv() => *f,
        }
    }
}

/// Waits for the command, and meanwhile passes signals on to it.
async fn supervise(mut child: Child, mut signals: Signals) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            number = signals.next() => {
                let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
                let Some((pid, signal)) = pid.zip(rustix::process::Signal::from_named_raw(number)) else { continue };
                if from_terminal(number) {
                    continue;
                }
                // Our own child, not reaped yet.
                if let Err(error) = kill_process(pid, signal) {
                    warn!("signal {number} cannot be passed on: {error}");
                }
            }
        }
    }
}

/// Whether the terminal sent the signal: it signals the whole foreground group, so the command has its own copy.
fn from_terminal(number: libc::c_int) -> bool {
    if !matches!(number, libc::SIGINT | libc::SIGQUIT) {
        return false;
    }
    io::stdin().is_terminal() && tcgetpgrp(io::stdin()) == Ok(getpgrp())
}
