//! What a process is doing: its state, where it sleeps, its descriptors and their limit, its processor time.
//!
//! None of these files waits for the memory map of the process.

use std::io::Read as _;

use super::cgroup::cgroup_path;
use super::container::container;
use super::dir::{self, Dir, Entries, decimal};
use super::process;
use super::root::ProcRoot;
use super::stat::{self, Stat};
use super::unit::unit;

/// Milliseconds of a clock tick (`USER_HZ` is 100).
const TICK_MS: u64 = 10;
/// The most descriptors that are counted where the kernel does not tell their number.
const MOST_COUNTED: u64 = 65_536;
/// The most bytes read of a file.
const MOST_READ: u64 = 4096;

/// What a process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// Process id.
    pub pid: u32,
    /// Its start, `CLOCK_BOOTTIME` ns, rounded down to a tick.
    pub start_ns: u64,
    /// Its name. Hostile bytes, replaced where they are not UTF-8.
    pub comm: String,
    /// Its parent.
    pub parent: u32,
    /// The letter of its state; of another thread if the first one has exited.
    pub state: char,
    /// The kernel function in which that thread sleeps.
    pub wchan: Option<String>,
    /// Its open descriptors.
    pub descriptors: Option<u64>,
    /// How many it may have (`RLIMIT_NOFILE`, soft); `None` if there is no limit, too.
    pub descriptor_limit: Option<u64>,
    /// Its processor time, ms.
    pub cpu_ms: Option<u64>,
}

/// Reads what process `pid` is doing; `None` if there is no such process.
#[must_use]
pub fn read(root: &ProcRoot, pid: u32) -> Option<Doing> {
    let dir = Dir::place_at(&root.process(pid)).ok()?;
    let first = stat_of(&dir)?;
    let living = if first.is_zombie() { living_thread(root, &dir, pid) } else { None };
    let state = living.as_ref().map_or_else(|| first.state(), |(_, stat)| stat.state());
    let thread = living.as_ref().map_or(&dir, |(thread, _)| thread);
    Some(Doing {
        pid,
        start_ns: process::start_ns(first.start_ticks),
        comm: String::from_utf8_lossy(first.comm()).into_owned(),
        parent: first.parent()?,
        state,
        wchan: wchan(thread),
        descriptors: descriptors(root, thread),
        descriptor_limit: limit(thread),
        cpu_ms: first.cpu_ticks().map(|ticks| ticks.saturating_mul(TICK_MS)),
    })
}

/// Returns the ids of the container and the unit that the cgroup of process `pid` names.
#[must_use]
pub fn place(root: &ProcRoot, pid: u32) -> (Option<String>, Option<String>) {
    let file = Dir::place_at(&root.process(pid)).and_then(|dir| dir.file(c"cgroup"));
    let path = file.ok().and_then(|file| cgroup_path(std::io::BufReader::new(file)).ok()?);
    let container = path.as_deref().and_then(container).map(|container| container.id);
    (container, path.as_deref().and_then(unit))
}

fn stat_of(dir: &Dir) -> Option<Stat> {
    stat::read(dir.file(c"stat").ok()?).ok()?
}

fn text(dir: &Dir, name: &std::ffi::CStr) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    dir.file(name).ok()?.take(MOST_READ).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Returns a thread that has not exited.
fn living_thread(root: &ProcRoot, dir: &Dir, pid: u32) -> Option<(Dir, Stat)> {
    let tasks = dir.place(c"task").ok()?;
    let ids = dir::pids(&root.process(pid).join("task")).ok()?;
    ids.into_iter().filter(|id| *id != pid).find_map(|id| {
        let thread = tasks.place(&std::ffi::CString::new(id.to_string()).ok()?).ok()?;
        let stat = stat_of(&thread).filter(|stat| !stat.is_zombie())?;
        Some((thread, stat))
    })
}

/// Returns the function; `None` for `0`, of a thread that does not sleep or that this user may not look into.
fn wchan(thread: &Dir) -> Option<String> {
    let name = String::from_utf8(text(thread, c"wchan")?).ok()?;
    let name = name.trim_end();
    (!name.is_empty() && name != "0").then(|| name.to_owned())
}

/// Counts the open descriptors.
fn descriptors(root: &ProcRoot, thread: &Dir) -> Option<u64> {
    // The kernel tells their number as the size of the folder (from 6.2); another file system has sizes of its own.
    let is_proc = root.path() == std::path::Path::new("/proc");
    match thread.size(c"fd") {
        Ok(count) if is_proc && count > 0 => return Some(count),
        Ok(_) => {}
        Err(_) => return None,
    }
    let mut count = 0_u64;
    let is_number = |name: &std::ffi::CStr| decimal(name.to_bytes()).is_some();
    let fds = thread.dir(c"fd").ok()?;
    fds.names_until(&mut Entries::new(), |name| {
        count += u64::from(is_number(name));
        count < MOST_COUNTED
    })
    .ok()?;
    (count < MOST_COUNTED).then_some(count)
}

/// Returns the soft limit in a line `Max open files  1024  524288  files`.
fn limit(thread: &Dir) -> Option<u64> {
    let limits = text(thread, c"limits")?;
    let line = limits.split(|&c| c == b'\n').find_map(|line| line.strip_prefix(b"Max open files"))?;
    decimal(line.split(|&c| c == b' ').find(|word| !word.is_empty())?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::proc::tree::Tree;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max cpu time              unlimited            unlimited            seconds   \n\
        Max open files            128                  524288               files     \n\
        Max locked memory         8388608              8388608              bytes     \n";

    #[test]
    fn a_process_is_read_from_its_files() {
        let tree = Tree::new();
        tree.process(7, "a) S (b", 4711);
        tree.file("7/wchan", "futex_do_wait");
        tree.file("7/limits", LIMITS);
        tree.file("7/cgroup", "0::/system.slice/cart.service\n");
        for fd in 0..5 {
            tree.link(&format!("7/fd/{fd}"), "socket:[1]");
        }
        let root = ProcRoot::new(tree.path());
        let doing = read(&root, 7).unwrap();
        assert_eq!((doing.pid, doing.comm.as_str(), doing.parent, doing.state), (7, "a) S (b", 1, 'S'));
        assert_eq!(doing.wchan.as_deref(), Some("futex_do_wait"));
        assert_eq!((doing.descriptors, doing.descriptor_limit, doing.cpu_ms), (Some(5), Some(128), Some(570)));
        assert_eq!(place(&root, 7), (None, Some("cart.service".to_owned())));
        assert!(read(&root, 8).is_none());
        assert_eq!(place(&root, 8), (None, None));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let tree = Tree::new();
        tree.process(7, "cart", 4711);
        tree.file("7/wchan", "0");
        tree.file("7/limits", LIMITS.replace("128      ", "unlimited"));
        let doing = read(&ProcRoot::new(tree.path()), 7).unwrap();
        assert_eq!((doing.wchan, doing.descriptors, doing.descriptor_limit), (None, None, None));
    }

    #[test]
    fn a_process_without_its_first_thread_does_what_another_thread_does() {
        let tree = Tree::new();
        let stat =
            |pid, state: &str| crate::proc::tree::stat(pid, "cart", 4711).replace(") S ", &format!(") {state} "));
        tree.file("7/stat", stat(7, "Z"));
        tree.file("7/wchan", "0");
        tree.file("7/task/7/stat", stat(7, "Z"));
        tree.file("7/task/8/stat", stat(8, "Z"));
        tree.file("7/task/9/stat", stat(9, "D"));
        tree.file("7/task/9/wchan", "rpc_wait_bit_killable");
        let doing = read(&ProcRoot::new(tree.path()), 7).unwrap();
        assert_eq!((doing.state, doing.wchan.as_deref()), ('D', Some("rpc_wait_bit_killable")));
    }

    #[test]
    fn the_kernel_tells_the_same() {
        use std::process::{Command, Stdio};

        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (root, pid) = (ProcRoot::default(), child.id());
        let listed = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        // Its loader opens files before it waits for its input.
        let waits = |doing: &Doing| doing.state == 'S' && doing.wchan.as_ref().is_some_and(|at| at.contains("pipe"));
        let doing = std::iter::repeat_with(|| read(&root, pid).unwrap()).find(waits).unwrap();
        assert_eq!((doing.descriptors, doing.comm.as_str()), (Some(listed()), "cat"));
        assert_eq!(doing.start_ns, process::start_ns(process::start_of(&root, pid).unwrap()));
        assert_eq!(doing.parent, std::process::id());
        let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        assert_eq!(doing.descriptor_limit, soft);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
