//! The facts of a process in /proc.

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
use tracer_stream::ProcessFacts;

/// Length of a clock tick in /proc. `USER_HZ` is 100 on every architecture that has BPF.
const TICK_NS: u64 = 10_000_000;
/// The most bytes kept of a command line, a path, a cgroup: a command line may be megabytes long.
const KEPT: usize = 4096;
/// The most bytes read of a status file: the uids are near its beginning.
const STATUS: u64 = 4096;
/// The identity of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Process id in the procfs.
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

/// Reads the facts of process `pid`: all of one process, even if its id is reused meanwhile.
///
/// `None` if there is no such process, or it ended before the last read. A fact that this user may not
/// read is `None`. Arguments beyond 4 KiB are cut off. If the first thread has exited, another thread
/// has the facts that the kernel no longer shows for the process. In the middle of an exec the
/// arguments may be missing and `comm` the old one: the kernel sets them after the memory.
///
/// This may hang: see [`Begun::arguments`].
#[must_use]
pub fn facts(root: &ProcRoot, pid: u32) -> Option<(ProcessIdentity, ProcessFacts)> {
    Begun::read(root, pid)?.arguments()
}

/// The facts of a process without its arguments: reading them never waits for the process's memory map.
#[derive(Debug)]
pub struct Begun {
    process: Process,
    /// Another thread, if the first one has exited.
    living: Option<Process>,
    identity: ProcessIdentity,
    facts: ProcessFacts,
}

impl Begun {
    /// Reads the facts; `None` if there is no such process.
    #[must_use]
    pub fn read(root: &ProcRoot, pid: u32) -> Option<Self> {
        let process = Process::new_with_root(root.process(pid)).ok()?;
        let first = stat_of(&process)?;
        let living = if first.is_zombie() { living_thread(root, pid) } else { None };
        let task = living.as_ref().unwrap_or(&process);
        let [real_uid, uid] = read(task, "status", STATUS).map_or([None; 2], |status| uids(&status));
        // Kernel threads and zombies have none; or this user may not read it.
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

    /// Returns the facts so far, marked as late: the arguments are unknown.
    #[must_use]
    pub fn late(&self) -> (ProcessIdentity, ProcessFacts) {
        (self.identity.clone(), ProcessFacts { late: true, ..self.facts.clone() })
    }

    /// Returns the facts without arguments.
    #[must_use]
    pub fn without_arguments(self) -> Option<(ProcessIdentity, ProcessFacts)> {
        self.still().map(|it| (it.identity, it.facts))
    }

    /// Reads the arguments, too. They are in the memory of the process, so this waits for its memory map: for ever, if
    /// another task holds it.
    #[must_use]
    pub fn arguments(mut self) -> Option<(ProcessIdentity, ProcessFacts)> {
        let task = self.living.as_ref().unwrap_or(&self.process);
        let mut text = read(task, "cmdline", KEPT as u64 + 1).unwrap_or_default();
        self.facts.cmdline_cut = text.len() > KEPT;
        text.truncate(KEPT);
        self.facts.cmdline = arguments(&text);
        self.still().map(|it| (it.identity, it.facts))
    }

    /// Returns itself; `None` if the id belongs to another process by now.
    fn still(self) -> Option<Self> {
        (stat_of(&self.process)?.start_ticks == self.identity.start_ticks).then_some(self)
    }
}

/// Returns the ids of all processes, in order.
///
/// # Errors
/// If the procfs cannot be read.
pub fn list(root: &ProcRoot) -> Result<impl Iterator<Item = u32> + use<>, ReadError> {
    let pids = dir::pids(root.path()).map_err(|source| ReadError::new(root.path(), source))?;
    Ok(pids.into_iter())
}

/// Returns the start of process `pid`, clock ticks since boot; `None` if there is no such process.
#[must_use]
pub fn start_of(root: &ProcRoot, pid: u32) -> Option<u64> {
    let file = fs::File::open(root.process(pid).join("stat")).ok()?;
    Some(stat::read(file).ok()??.start_ticks)
}

/// Converts a tick to `CLOCK_BOOTTIME` ns, the unit of the kernel's records: the beginning of the tick. (In a time
/// namespace whose offset is no whole number of ticks it is less exact.)
#[must_use]
pub fn start_ns(stat_ticks: u64) -> u64 {
    stat_ticks.saturating_mul(TICK_NS).saturating_add_signed(starts_ahead_ns().saturating_neg())
}

/// Returns how far starts in /proc are ahead of the kernel's own clock, ns: the offset of our time namespace, on
/// kernels that add it there (from 5.11 on; 5.10 adds it to /proc/uptime only).
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

/// Whether the start of this process in /proc, `told`, is `offset` ahead of the clock, which shows `now`: a process
/// cannot start in the future, and this one has not run for long.
fn is_ahead(told: u64, now: u64, offset: i64) -> bool {
    let age = i128::from(now) - i128::from(told);
    let age_if_ahead = age + i128::from(offset);
    age < 0 || (0..age).contains(&age_if_ahead)
}

fn stat_of(process: &Process) -> Option<Stat> {
    stat::read(process.open_relative("stat").ok()?).ok()?
}

/// Reads at most `limit` bytes of a file; `None` if it cannot be read.
fn read(process: &Process, name: &str, limit: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let file = process.open_relative(name).ok()?;
    // The kernel reads a command line from the process's memory: a read may fail midway.
    match file.take(limit).read_to_end(&mut text) {
        Ok(_) => Some(text),
        Err(_) => (!text.is_empty()).then_some(text),
    }
}

/// Returns real and effective uid: the first two numbers of the line `Uid:` of a status file. The process chooses the
/// line `Name:` before it, in which the kernel escapes newlines.
fn uids(status: &[u8]) -> [Option<u32>; 2] {
    let line = status.split(|&c| c == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t")).unwrap_or_default();
    let mut numbers = line.split(|&c| c == b'\t').map(|number| u32::try_from(decimal(number)?).ok());
    [numbers.next().flatten(), numbers.next().flatten()]
}

/// Returns a thread of a process whose first thread has exited: for a zombie /proc shows neither executable nor
/// arguments.
fn living_thread(root: &ProcRoot, pid: u32) -> Option<Process> {
    let threads = root.process(pid).join("task");
    let ids = dir::pids(&threads).ok()?;
    let is_living = |thread: &Process| stat_of(thread).is_some_and(|stat| !stat.is_zombie()) && thread.exe().is_ok();
    ids.into_iter()
        .filter(|id| *id != pid)
        .filter_map(|id| Process::new_with_root(threads.join(id.to_string())).ok())
        .find(is_living)
}

/// Cuts `text` to its first 4 KiB, in whole characters.
fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(KEPT));
    text
}

/// Parses the arguments in a /proc/PID/cmdline, empty ones too; `None` if there are none.
fn arguments(text: &[u8]) -> Option<Vec<String>> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    // A process that writes a title over its arguments zeroes the rest of the room.
    let title_end = text.iter().rposition(|&c| c != 0)? + 1;
    let title = text.get(..title_end)?;
    let text = if text.len() > title_end + 1 && !title.contains(&0) { title } else { text };
    Some(text.split(|&c| c == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
