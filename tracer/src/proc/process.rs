//! What /proc knows of one process.

use std::fs;
use std::io::{BufReader, Read};
use std::sync::OnceLock;

use procfs::process::Process;

use super::cgroup::cgroup_path;
use super::container::container;
use super::dir::{self, decimal};
use super::root::{ProcRoot, ReadError};
use super::stat::{self, Stat};
use super::unit::unit;
use crate::clock;
use crate::stream::ProcessFacts;

/// Length of a clock tick in /proc. `USER_HZ` is 100 on every architecture that has BPF.
const TICK_NS: u64 = 10_000_000;
/// Bytes of a command line, a path, a cgroup that are kept: a command line may be megabytes long.
const KEPT: usize = 4096;
/// Bytes of a status file that are read: what is looked for is in its beginning.
const STATUS: u64 = 4096;
/// Which process it is, and who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Process id, as the procfs shows it.
    pub pid: u32,
    /// Start, clock ticks (10 ms) since boot.
    pub start_ticks: u64,
    /// Start, `CLOCK_BOOTTIME` ns, rounded down to a tick.
    pub start_ns: u64,
    /// `comm`. Hostile bytes, replaced where they are not UTF-8.
    pub comm: String,
    /// Effective uid; `None` where it could not be read.
    pub uid: Option<u32>,
    /// Real uid.
    pub real_uid: Option<u32>,
}

/// The facts of process `pid`: all of one process, also when its id is reused meanwhile.
///
/// `None` if there is no such process, or it ended before everything was read. What this user may
/// not read is `None` in the facts. Arguments beyond 4 KiB are cut off. Where the first thread has exited another one
/// tells what the kernel no longer tells of the process. In the middle of an exec the
/// arguments may be missing and `comm` the old one: the kernel sets them after the memory.
///
/// This may hang: see [`Begun::arguments`].
#[must_use]
pub fn facts(root: &ProcRoot, pid: u32) -> Option<(ProcessIdentity, ProcessFacts)> {
    Begun::read(root, pid)?.arguments()
}

/// What is known of a process without its arguments: none of it waits for the memory map of the process.
#[derive(Debug)]
pub struct Begun {
    process: Process,
    /// Another thread than the first one, where that has exited.
    living: Option<Process>,
    identity: ProcessIdentity,
    facts: ProcessFacts,
}

impl Begun {
    /// Reads it; `None` if there is no such process.
    #[must_use]
    pub fn read(root: &ProcRoot, pid: u32) -> Option<Self> {
        let process = Process::new_with_root(root.process(pid)).ok()?;
        let first = stat_of(&process)?;
        let living = if first.is_zombie() { living_thread(root, pid) } else { None };
        let task = living.as_ref().unwrap_or(&process);
        let [real_uid, uid] = read(task, "status", STATUS).map_or([None; 2], |status| uids(&status));
        // A kernel thread has none, a zombie none any more; or it may not be read.
        let exe = task.exe().ok().map(|path| bounded(path.to_string_lossy().into_owned()));
        let cgroup = task.open_relative("cgroup").ok().and_then(|file| cgroup_path(BufReader::new(file)).ok()?);
        let container = cgroup.as_deref().and_then(container);
        let unit = cgroup.as_deref().and_then(unit);
        let cgroup = cgroup.map(bounded);
        let identity = ProcessIdentity {
            pid,
            start_ticks: first.start_ticks,
            start_ns: start_ns(first.start_ticks),
            comm: String::from_utf8_lossy(first.comm()).into_owned(),
            uid,
            real_uid,
        };
        let facts = ProcessFacts { exe, cgroup, container, unit, ..ProcessFacts::default() };
        Some(Self { process, living, identity, facts })
    }

    /// So much, said to be late: the arguments are not known.
    #[must_use]
    pub fn late(&self) -> (ProcessIdentity, ProcessFacts) {
        (self.identity.clone(), ProcessFacts { late: true, ..self.facts.clone() })
    }

    /// So much, and no more is wanted.
    #[must_use]
    pub fn without_arguments(self) -> Option<(ProcessIdentity, ProcessFacts)> {
        self.still().map(|it| (it.identity, it.facts))
    }

    /// The arguments, too. They are read from the memory of the process, so this waits for its memory map: for ever,
    /// if somebody holds it.
    #[must_use]
    pub fn arguments(mut self) -> Option<(ProcessIdentity, ProcessFacts)> {
        let task = self.living.as_ref().unwrap_or(&self.process);
        let mut text = read(task, "cmdline", KEPT as u64 + 1).unwrap_or_default();
        self.facts.cmdline_cut = text.len() > KEPT;
        text.truncate(KEPT);
        self.facts.cmdline = arguments(&text);
        self.still().map(|it| (it.identity, it.facts))
    }

    /// `None` if the id is another process's by now.
    fn still(self) -> Option<Self> {
        (stat_of(&self.process)?.start_ticks == self.identity.start_ticks).then_some(self)
    }
}

/// The processes, in the order of their ids.
///
/// # Errors
/// The procfs cannot be read.
pub fn list(root: &ProcRoot) -> Result<impl Iterator<Item = u32> + use<>, ReadError> {
    let pids = dir::pids(root.path()).map_err(|source| ReadError::new(root.path(), source))?;
    Ok(pids.into_iter())
}

/// Start of process `pid`, clock ticks since boot; `None` if there is no such process.
#[must_use]
pub fn start_of(root: &ProcRoot, pid: u32) -> Option<u64> {
    let file = fs::File::open(root.process(pid).join("stat")).ok()?;
    Some(stat::read(file).ok()??.start_ticks)
}

/// The beginning of a tick, `CLOCK_BOOTTIME` ns as the kernel's records have it. (In a time namespace whose
/// offset is no whole number of ticks it is less exact than that.)
#[must_use]
pub fn start_ns(stat_ticks: u64) -> u64 {
    stat_ticks.saturating_mul(TICK_NS).saturating_add_signed(starts_ahead_ns().saturating_neg())
}

/// What starts in /proc are ahead of the kernel's own clock, ns: the offset of our time namespace, on kernels
/// that add it there (from 5.11 on; 5.10 adds it to /proc/uptime only).
fn starts_ahead_ns() -> i64 {
    static AHEAD: OnceLock<i64> = OnceLock::new();
    *AHEAD.get_or_init(|| {
        let offset = clock::namespace_offset_ns();
        if offset == 0 {
            return 0;
        }
        let own = fs::File::open("/proc/self/stat").ok().and_then(|file| stat::read(file).ok()?);
        let told = own.map(|own| own.start_ticks.saturating_mul(TICK_NS));
        told.filter(|told| is_ahead(*told, clock::boot_ns(), offset)).map_or(0, |_| offset)
    })
}

/// Whether the start of this process, `told` as /proc has it, is `offset` ahead of the clock that says `now`:
/// a process has not started in the future, and this one has not run for long.
fn is_ahead(told: u64, now: u64, offset: i64) -> bool {
    let age = i128::from(now) - i128::from(told);
    let age_if_ahead = age + i128::from(offset);
    age < 0 || (0..age).contains(&age_if_ahead)
}

fn stat_of(process: &Process) -> Option<Stat> {
    stat::read(process.open_relative("stat").ok()?).ok()?
}

/// At most `limit` bytes of a file; `None` if it cannot be read.
fn read(process: &Process, name: &str, limit: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let file = process.open_relative(name).ok()?;
    // A command line is read from the process's memory: a read may fail after a part of it.
    match file.take(limit).read_to_end(&mut text) {
        Ok(_) => Some(text),
        Err(_) => (!text.is_empty()).then_some(text),
    }
}

/// Real and effective uid: the first two numbers of the line `Uid:` of a status file. `Name:`, the line before it that a
/// process can choose, has its newlines escaped.
fn uids(status: &[u8]) -> [Option<u32>; 2] {
    let line = status.split(|&c| c == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t")).unwrap_or_default();
    let mut numbers = line.split(|&c| c == b'\t').map(|number| u32::try_from(decimal(number)?).ok());
    [numbers.next().flatten(), numbers.next().flatten()]
}

/// A thread of a process whose first one has exited: of a zombie /proc shows neither executable nor arguments.
fn living_thread(root: &ProcRoot, pid: u32) -> Option<Process> {
    let threads = root.process(pid).join("task");
    let ids = dir::pids(&threads).ok()?;
    let is_living = |thread: &Process| stat_of(thread).is_some_and(|stat| !stat.is_zombie()) && thread.exe().is_ok();
    ids.into_iter()
        .filter(|id| *id != pid)
        .filter_map(|id| Process::new_with_root(threads.join(id.to_string())).ok())
        .find(is_living)
}

/// The first 4 KiB of `text`, whole characters.
fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(KEPT));
    text
}

/// The arguments in a /proc/PID/cmdline, empty ones too; `None` if there are none.
fn arguments(text: &[u8]) -> Option<Vec<String>> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    // A process that wrote a title over its arguments leaves the rest of the room zeroed.
    let title_end = text.iter().rposition(|&c| c != 0)? + 1;
    let title = text.get(..title_end)?;
    let text = if text.len() > title_end + 1 && !title.contains(&0) { title } else { text };
    Some(text.split(|&c| c == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
