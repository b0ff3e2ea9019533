//! Finds which processes hold which sockets, from /proc/PID/fd.
//!
//! A scan reads all processes, each by the table of its main thread. It misses a thread with a table
//! of its own (`clone` without `CLONE_FILES`), which only kcmp(2) for each thread would show. A socket
//! that is only in flight (`SCM_RIGHTS`), in io_uring or in the kernel has no holder.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use super::dir::{self, Dir, Entries, bracketed};
use super::root::{ProcRoot, ReadError, denied, vanished};
use super::stat;

/// The holders of sockets, by inode. A socket takes 14 bytes, and 4 for each of its holders.
#[derive(Clone, Debug, Default)]
pub struct SocketHolders {
    /// Ascending.
    inodes: Vec<u64>,
    /// The end, in `pids`, of the holders of the socket at the same place; they begin at the end of
    /// the socket before.
    ends: Vec<u32>,
    pids: Vec<u32>,
    steps: Steps,
}

/// An index into ascending inodes: the kernel gives them out in sequence, so those of a host's
/// sockets are nearly evenly spread. 2 bytes for each inode.
#[derive(Clone, Debug, Default)]
struct Steps {
    least: u64,
    shift: u32,
    /// The number of inodes before each step.
    before: Vec<u32>,
}

impl Steps {
    fn of(inodes: &[u64]) -> Self {
        let (Some(least), Some(most)) = (inodes.first(), inodes.last()) else { return Self::default() };
        let wanted = u64::try_from(inodes.len() / 2).unwrap_or(u64::MAX).max(1);
        let shift = ((most - least) / wanted).checked_ilog2().map_or(0, |bits| bits + 1);
        let mut before = Vec::with_capacity(inodes.len() / 2 + 2);
        for (at, inode) in (0_u32..).zip(inodes) {
            let step = usize::try_from((inode - least) >> shift).unwrap_or(usize::MAX);
            while before.len() <= step {
                before.push(at);
            }
        }
        Self { least: *least, shift, before }
    }

    /// Returns the places of the inodes in the step of `inode`.
    fn places(&self, inode: u64, count: usize) -> Option<Range<usize>> {
        let step = usize::try_from(inode.checked_sub(self.least)? >> self.shift).ok()?;
        let start = *self.before.get(step)? as usize;
        Some(start..self.before.get(step + 1).map_or(count, |end| *end as usize))
    }
}

/// The extent and the failures of a scan.
#[derive(Debug, Default)]
pub struct Report {
    /// Processes whose descriptors were read.
    pub processes: u32,
    /// Processes whose descriptors this user may not see.
    pub denied: u32,
    /// Other failures.
    pub errors: Vec<ReadError>,
}

/// A process that holds a socket. All reads go through one descriptor of its directory, so a new
/// process with the same id cannot slip in.
pub(super) struct Holder {
    pub(super) start_ticks: u64,
    pub(super) pid: u32,
}

impl SocketHolders {
    /// Reads the descriptors of all processes, and keeps the sockets in `wanted` (all if `None`).
    #[must_use]
    pub fn scan(root: &ProcRoot, wanted: Option<&HashSet<u64>>) -> (Self, Report) {
        let mut report = Report::default();
        // Sockets with the place of their holder in `holders`.
        let mut sockets: Vec<(u64, u32)> = Vec::new();
        let mut holders: Vec<Holder> = Vec::new();
        let mut fds = Entries::new();
        let each = |pid, dir: io::Result<Dir>| {
            let before = sockets.len();
            let place = u32::try_from(holders.len()).unwrap_or(u32::MAX);
            let start = dir.and_then(|dir| {
                sockets_of(&dir, &mut fds, |inode| {
                    if wanted.is_none_or(|wanted| wanted.contains(&inode)) {
                        sockets.push((inode, place));
                    }
                })?;
                if sockets.len() == before { Ok(None) } else { start_of(&dir).map(Some) }
            });
            match start {
                Ok(start_ticks) => {
                    report.processes += 1;
                    holders.extend(start_ticks.map(|start_ticks| Holder { start_ticks, pid }));
                }
                Err(error) => {
                    sockets.truncate(before);
                    if denied(&error) {
                        report.denied += 1;
                    } else if !vanished(&error) {
                        report.errors.push(ReadError::new(root.process(pid), error));
                    }
                }
            }
        };
        if let Err(source) = dir::each_process(root.path(), each) {
            report.errors.push(ReadError::new(root.path(), source));
        }
        (Self::new(sockets, &holders), report)
    }

    /// Builds the index. `sockets` are pairs of inode and place in `holders`, in any order, with repetitions.
    pub(super) fn new(mut sockets: Vec<(u64, u32)>, holders: &[Holder]) -> Self {
        // Oldest first; within one tick, the least id first.
        let mut by_age: Vec<u32> = (0u32..).take(holders.len()).collect();
        let at = |place: u32| usize::try_from(place).ok().and_then(|place| holders.get(place));
        by_age.sort_by_key(|&place| at(place).map(|holder| (holder.start_ticks, holder.pid)));
        let mut rank = vec![0; holders.len()];
        for (age, &place) in (0u32..).zip(&by_age) {
            if let Some(rank) = rank.get_mut(place as usize) {
                *rank = age;
            }
        }
        for (_, place) in &mut sockets {
            *place = rank.get(*place as usize).copied().unwrap_or(*place);
        }
        // Not `sort_unstable`: the sockets of a process come in ascending runs.
        sockets.sort();
        sockets.dedup();

        let mut table = Self::default();
        table.pids.reserve_exact(sockets.len());
        table.inodes.reserve_exact(sockets.len());
        table.ends.reserve_exact(sockets.len());
        for (inode, age) in sockets {
            let Some(holder) = by_age.get(age as usize).and_then(|&place| at(place)) else {
                continue;
            };
            table.pids.push(holder.pid);
            let end = u32::try_from(table.pids.len()).unwrap_or(u32::MAX);
            match table.ends.last_mut().filter(|_| table.inodes.last() == Some(&inode)) {
                Some(last) => *last = end,
                None => {
                    table.inodes.push(inode);
                    table.ends.push(end);
                }
            }
        }
        table.inodes.shrink_to_fit();
        table.ends.shrink_to_fit();
        table.steps = Steps::of(&table.inodes);
        table
    }

    /// Returns the processes that hold the socket `inode`, the oldest first; empty if the scan saw none
    /// (as for inode 0, which no socket has).
    #[must_use]
    pub fn holders(&self, inode: u64) -> &[u32] {
        self.place(inode).and_then(|at| self.pids.get(self.range(at)?)).unwrap_or_default()
    }

    /// Returns the number of sockets with a holder.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Whether no socket has a holder.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    fn place(&self, inode: u64) -> Option<usize> {
        let places = self.steps.places(inode, self.inodes.len())?;
        let start = places.start;
        self.inodes.get(places)?.binary_search(&inode).ok().map(|at| start + at)
    }

    fn range(&self, at: usize) -> Option<Range<usize>> {
        let start = at.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
        Some(*start as usize..*self.ends.get(at)? as usize)
    }
}

/// Calls `socket` with the inode of every socket of a process.
pub(super) fn sockets_of(process: &Dir, fds: &mut Entries, mut socket: impl FnMut(u64)) -> io::Result<()> {
    let dir = process.dir(c"fd").map_err(|error| process.denied_or_gone(error))?;
    let mut failed = None;
    dir.names(fds, |fd| {
        if !fd.to_bytes().first().is_some_and(u8::is_ascii_digit) {
            return;
        }
        // The link of a socket is shorter.
        let mut text = [0; 64];
        match dir.link(fd, &mut text) {
            Ok(text) => {
                if let Some(inode) = bracketed(text, b"socket:") {
                    socket(inode);
                }
            }
            // Closed meanwhile.
            Err(error) if vanished(&error) => {}
            Err(error) => failed = Some(error),
        }
    })?;
    failed.map_or(Ok(()), |error| Err(process.denied_or_gone(error)))
}

/// Returns the start of a process, in clock ticks.
fn start_of(process: &Dir) -> io::Result<u64> {
    let no_stat = || io::Error::new(io::ErrorKind::InvalidData, "its stat has no start");
    Ok(stat::read(process.file(c"stat")?)?.ok_or_else(no_stat)?.start_ticks)
}

#[cfg(test)]
#[path = "fd_tests.rs"]
mod tests;
