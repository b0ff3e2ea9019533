//! The pid namespace whose numbers /proc shows: the user means these numbers, and tracer shows them.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::root::ProcRoot;

/// `PROC_PID_INIT_INO`
const INITIAL: u64 = 0xefff_fffc;

/// The namespace whose numbers /proc shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// The kernel's own; also the assumption without a /proc.
    Initial,
    /// The namespace with this inode number.
    Of(u32),
    /// A namespace that this user may not see.
    Unknown,
}

impl Numbers {
    /// Finds the namespace.
    #[must_use]
    pub fn look(root: &ProcRoot) -> Self {
        // `NSpid` has a number for each namespace from that of this /proc down to our own. If the former is not our own,
        // or not even above it, process 1 of this /proc is in it.
        let whose = if own_numbers(root) == Some(1) { "self/ns/pid" } else { "1/ns/pid" };
        if !root.path().join("1").exists() && !root.path().join("self").exists() {
            return Self::Initial;
        }
        match fs::metadata(root.path().join(whose)).map(|namespace| namespace.ino()) {
            Ok(INITIAL) => Self::Initial,
            Ok(inode) => u32::try_from(inode).map_or(Self::Unknown, Self::Of),
            // A /proc that shows a process of the initial namespace belongs to it.
            Err(_) if is_below_initial(root) => Self::Initial,
            Err(_) => Self::Unknown,
        }
    }
}

/// Whether this process or an ancestor is in the initial namespace, as far as this user can see.
fn is_below_initial(root: &ProcRoot) -> bool {
    let mut process = "self".to_owned();
    // More than the depth to which namespaces can be nested.
    for _ in 0..64 {
        let directory = root.path().join(&process);
        if fs::metadata(directory.join("ns/pid")).is_ok_and(|namespace| namespace.ino() == INITIAL) {
            return true;
        }
        let Ok(status) = fs::read(directory.join("status")) else { return false };
        let parent = String::from_utf8_lossy(&status)
            .lines()
            .find_map(|line| line.strip_prefix("PPid:").map(|parent| parent.trim().to_owned()));
        match parent {
            Some(parent) if parent != "0" => process = parent,
            _ => return false,
        }
    }
    false
}

/// Returns how many numbers of this process /proc shows.
fn own_numbers(root: &ProcRoot) -> Option<usize> {
    let status = BufReader::new(File::open(root.path().join("self/status")).ok()?);
    // Lines of bytes: the first one has the name, which may be any bytes.
    let line = status.split(b'\n').map_while(Result::ok).find(|line| line.starts_with(b"NSpid:"));
    // A kernel without pid namespaces has no such line, and one number.
    Some(line.map_or(1, |line| String::from_utf8_lossy(&line).split_whitespace().count() - 1))
}

/// Whether /proc is the host's own: the process ids there are the kernel's, and no process is missing.
#[must_use]
pub fn is_initial(root: &ProcRoot) -> bool {
    Numbers::look(root) == Numbers::Initial && root.path().join("self").exists()
}

/// Returns the number of this process in /proc.
#[must_use]
pub fn own(root: &ProcRoot) -> u32 {
    let link = fs::read_link(root.path().join("self")).ok();
    link.and_then(|link| link.to_str()?.parse().ok()).unwrap_or_else(std::process::id)
}

/// Returns the number in /proc of the process that has number `pid` in our own pid namespace.
///
/// # Errors
/// If there is no such process, or the look-up fails.
pub fn in_proc(root: &ProcRoot, pid: u32) -> io::Result<u32> {
    if own(root) == std::process::id() {
        return Ok(pid);
    }
    let process = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let about = fs::read_to_string(root.path().join(format!("self/fdinfo/{}", process.as_raw_fd())))?;
    let number = about.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|number| number.trim().parse().ok());
    number.filter(|number| *number != 0).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::proc::tree::Tree;

    #[test]
    fn whose_numbers_proc_shows_is_told_by_how_many_a_process_has() {
        let tree = Tree::new();
        let root = ProcRoot::new(tree.path());
        assert_eq!(Numbers::look(&root), Numbers::Initial, "nothing tells");
        tree.file("self/status", "Name:\tNSpid:\t7\nNSpid:\t40\n");
        assert_eq!(Numbers::look(&root), Numbers::Unknown, "it may not be looked at");
        tree.file("self/ns/pid", "");
        tree.file("1/ns/pid", "");
        let inode =
            |path: &str| Numbers::Of(u32::try_from(fs::metadata(root.path().join(path)).unwrap().ino()).unwrap());
        assert_eq!(Numbers::look(&root), inode("self/ns/pid"));
        tree.file("self/status", "NSpid:\t40\t2\n");
        assert_eq!(Numbers::look(&root), inode("1/ns/pid"), "of an outer one");
    }

    #[test]
    fn this_process_has_its_own_number() {
        let root = ProcRoot::default();
        assert_eq!(in_proc(&root, own(&root)).unwrap(), own(&root));
    }
}
