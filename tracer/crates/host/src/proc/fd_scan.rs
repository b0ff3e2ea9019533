//! Finds the holders of all sockets with several threads, including holders that are single threads.
//!
//! A thread may have a file table of its own (`clone` without `CLONE_FILES`, `unshare`). kcmp(2) shows
//! that for one system call a thread, so only processes with several threads are checked, and only
//! tables that differ from the main thread's are read.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::dir::{self, Dir, Entries, decimal};
use super::fd::{Holder, Report, SocketHolders, sockets_of};
use super::root::{ProcRoot, ReadError, denied, vanished};
use super::stat;

/// `KCMP_FILES` of `enum kcmp_type` (`include/uapi/linux/kcmp.h`).
const KCMP_FILES: libc::c_int = 2;

/// A process that holds sockets, at the time of reading its descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderProcess {
    /// Its id.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_ticks: u64,
    /// `comm`. Hostile bytes, replaced where they are not UTF-8.
    pub comm: String,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Scan {
    /// The holders of each socket.
    pub holders: SocketHolders,
    /// The processes among them.
    pub processes: Vec<HolderProcess>,
    /// The extent and the failures.
    pub report: Report,
}

#[cfg(any(test, feature = "sample"))]
impl Scan {
    /// Makes a scan that found these processes, each with its id, name and the inodes of its sockets.
    #[must_use]
    pub fn sample(found: &[(u32, &str, &[u64])]) -> Self {
        let holders: Vec<Holder> = found.iter().map(|(pid, _, _)| Holder { start_ticks: 1, pid: *pid }).collect();
        let of = |(at, (_, _, inodes)): (u32, &(u32, &str, &[u64]))| -> Vec<(u64, u32)> {
            inodes.iter().map(|inode| (*inode, at)).collect()
        };
        let sockets = (0..).zip(found).flat_map(of).collect();
        let process =
            |(pid, comm, _): &(u32, &str, _)| HolderProcess { pid: *pid, start_ticks: 1, comm: (*comm).to_owned() };
        Self {
            holders: SocketHolders::new(sockets, &holders),
            processes: found.iter().map(process).collect(),
            report: Report::default(),
        }
    }
}

/// The result of one worker.
#[derive(Default)]
struct Part {
    /// Sockets with the place of their holder in `processes`.
    sockets: Vec<(u64, u32)>,
    processes: Vec<HolderProcess>,
    report: Report,
}

/// Reads the descriptors of all processes with `workers` threads.
#[must_use]
pub fn scan(root: &ProcRoot, workers: usize) -> Scan {
    let pids = match dir::pids(root.path()) {
        Ok(pids) => pids,
        Err(source) => {
            let mut scan = Scan::default();
            scan.report.errors.push(ReadError::new(root.path(), source));
            return scan;
        }
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut part = Part::default();
        let mut entries = Entries::new();
        while let Some(pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
            part.process(root, *pid, &mut entries);
        }
        part
    };
    let parts: Vec<Part> = thread::scope(|scope| {
        // A thread that does not start only costs time.
        let others: Vec<_> = (1..workers.max(1))
            .filter_map(|_| thread::Builder::new().name("fd".into()).spawn_scoped(scope, work).ok())
            .collect();
        let own = work();
        others.into_iter().filter_map(|other| other.join().ok()).chain([own]).collect()
    });
    join(parts)
}

/// Makes a scan of known holders, such as a BPF iterator gives: `(inode, pid)`, in any order.
#[must_use]
pub fn of_pairs(root: &ProcRoot, pairs: &[(u64, u32)]) -> Scan {
    // The pairs come mostly process by process.
    let mut pids: Vec<u32> = pairs.iter().map(|(_, pid)| *pid).collect();
    pids.dedup();
    pids.sort_unstable();
    pids.dedup();
    let mut part = Part::default();
    let places: Vec<Option<u32>> = pids
        .iter()
        .map(|pid| {
            let process = Dir::place_at(&root.process(*pid)).and_then(|dir| identity(&dir, *pid)).ok()?;
            part.processes.push(process);
            u32::try_from(part.processes.len() - 1).ok()
        })
        .collect();
    let mut last = (0, None);
    part.sockets.reserve_exact(pairs.len());
    for (inode, pid) in pairs {
        if last.0 != *pid {
            last = (*pid, pids.binary_search(pid).ok().and_then(|at| *places.get(at)?));
        }
        part.sockets.extend(last.1.map(|place| (*inode, place)));
    }
    part.report.processes = u32::try_from(pids.len()).unwrap_or(u32::MAX);
    join(vec![part])
}

fn join(parts: Vec<Part>) -> Scan {
    let mut whole = Part::default();
    for mut part in parts {
        let shift = u32::try_from(whole.processes.len()).unwrap_or(u32::MAX);
        if whole.sockets.is_empty() {
            whole.sockets = part.sockets;
        } else {
            whole.sockets.extend(part.sockets.iter().map(|(inode, place)| (*inode, place.saturating_add(shift))));
        }
        whole.processes.append(&mut part.processes);
        whole.report.processes += part.report.processes;
        whole.report.denied += part.report.denied;
        whole.report.errors.append(&mut part.report.errors);
    }
    let holders: Vec<Holder> =
        whole.processes.iter().map(|p| Holder { start_ticks: p.start_ticks, pid: p.pid }).collect();
    Scan { holders: SocketHolders::new(whole.sockets, &holders), processes: whole.processes, report: whole.report }
}

impl Part {
    fn process(&mut self, root: &ProcRoot, pid: u32, entries: &mut Entries) {
        let before = self.sockets.len();
        let place = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let mut read = || {
            let dir = Dir::place_at(&root.process(pid))?;
            sockets_of(&dir, entries, |inode| self.sockets.push((inode, place)))?;
            for thread in differing_threads(root, &dir, pid, entries)? {
                match dir.place(c"task").and_then(|task| task.place(&thread)) {
                    Ok(thread) => sockets_of(&thread, entries, |inode| self.sockets.push((inode, place)))?,
                    Err(error) if vanished(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if self.sockets.len() == before { Ok(None) } else { identity(&dir, pid).map(Some) }
        };
        match read() {
            Ok(process) => {
                self.report.processes += 1;
                self.processes.extend(process);
            }
            Err(error) => {
                self.sockets.truncate(before);
                if denied(&error) {
                    self.report.denied += 1;
                } else if !vanished(&error) {
                    self.report.errors.push(ReadError::new(root.process(pid), error));
                }
            }
        }
    }
}

/// Returns the threads of a process whose file table is not the main thread's.
fn differing_threads(root: &ProcRoot, process: &Dir, pid: u32, entries: &mut Entries) -> io::Result<Vec<CString>> {
    let mut differing = Vec::new();
    // kcmp() does not take the ids of another procfs.
    if root.path() != Path::new("/proc") || process.links(c"task")? <= 3 {
        return Ok(differing);
    }
    process.dir(c"task")?.names(entries, |name| {
        let Some(tid) = decimal(name.to_bytes()) else { return };
        // SAFETY: no pointers. Equal: 0; different: 1 to 3; not permitted, gone, no such call: -1.
        if tid != u64::from(pid) && unsafe { libc::syscall(libc::SYS_kcmp, pid, tid, KCMP_FILES, 0, 0) } > 0 {
            differing.push(name.to_owned());
        }
    })?;
    Ok(differing)
}

fn identity(process: &Dir, pid: u32) -> io::Result<HolderProcess> {
    let no_stat = || io::Error::new(io::ErrorKind::InvalidData, "its stat has no start");
    let stat = stat::read(process.file(c"stat")?)?.ok_or_else(no_stat)?;
    Ok(HolderProcess { pid, start_ticks: stat.start_ticks, comm: String::from_utf8_lossy(stat.comm()).into_owned() })
}
