//! The network namespaces of the host.
//!
//! The search finds the namespaces of all processes, and those bound to a file: in the directories of named
//! namespaces, or anywhere in this mount namespace; and within a budget those of further threads and of open
//! descriptors (`netns_kept.rs`). It misses a namespace that only a socket or a mount in another mount namespace
//! keeps alive: nothing in /proc leads to it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::dir::{self, Dir, bracketed};
use super::mountinfo::network_namespaces;
use super::netns_kept;
use super::root::{ProcRoot, ReadError, denied, vanished};

/// Why something about a network namespace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file exists, but is no network namespace.
    #[error("{path:?} is not a network namespace")]
    NotNetns {
        /// The file.
        path: PathBuf,
    },
    /// Another mount covers the namespace's mount point.
    #[error("the network namespace mounted at {path:?} is hidden by another mount")]
    Hidden {
        /// The mount point.
        path: PathBuf,
    },
    /// setns() failed.
    #[error("cannot enter the network namespace {path:?}")]
    Enter {
        /// The namespace's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread that should enter the namespace did not start or ended badly.
    #[error("no thread to enter the network namespace {path:?}")]
    Thread {
        /// The namespace's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A network namespace, and a way to it: a process, a file, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    /// Its inode number, `ns.inum` (an `unsigned int` in the kernel).
    pub inode: u32,
    /// The name of its file in a directory of named namespaces. Hostile bytes.
    pub name: Option<String>,
    /// The process in it with the least id. If it has no main thread, a thread: /proc has a directory for threads, too.
    pub pid: Option<u32>,
    /// A file that it is bound to.
    pub path: Option<PathBuf>,
}

/// The result of [`find`].
#[derive(Debug, Default)]
pub struct Found {
    /// Every namespace once: first those of processes, by process id.
    pub namespaces: Vec<Netns>,
    /// Processes whose namespace this user may not see.
    pub denied: u32,
    /// Threads beyond the budget.
    pub unread_threads: u64,
    /// Other failures.
    pub errors: Vec<NetnsError>,
}

/// Finds the network namespaces.
#[must_use]
pub fn find(root: &ProcRoot) -> Found {
    let mut found = Found::default();
    let mut index = HashMap::new();
    if let Err(source) = each_process(root, |pid, netns| match netns {
        Ok(inode) => {
            index.entry(inode).or_insert_with(|| {
                found.namespaces.push(Netns { inode, name: None, pid: Some(pid), path: None });
                found.namespaces.len() - 1
            });
        }
        Err(error) if vanished(&error) => {}
        Err(error) if denied(&error) => found.denied += 1,
        Err(error) => found.errors.push(ReadError::new(link_path(root, pid), error).into()),
    }) {
        found.errors.push(ReadError::new(root.path(), source).into());
    }

    let mut bound = |inode, name: Option<String>, path: PathBuf| {
        let netns = entry(&mut found.namespaces, &mut index, inode);
        netns.name = netns.name.take().or(name);
        netns.path.get_or_insert(path);
    };
    for dir in root.netns_dirs() {
        match named(dir) {
            Ok(named) => {
                for (inode, name, path) in named.namespaces {
                    bound(inode, Some(name), path);
                }
                found.errors.extend(named.errors);
            }
            Err(error) if vanished(&error) => {}
            Err(error) => found.errors.push(ReadError::new(dir, error).into()),
        }
    }
    match mounted(root) {
        Ok(mounts) => mounts.into_iter().for_each(|(inode, path)| bound(inode, None, path)),
        Err(error) => found.errors.push(error.into()),
    }
    let kept = netns_kept::find(root, |inode| index.contains_key(&inode));
    if kept.unread_processes > 0 {
        log::debug!("not all descriptors of {} processes were searched for network namespaces", kept.unread_processes);
    }
    found.unread_threads = kept.unread_threads;
    // Both ways are kept: a thread that is about to end is still listed, and then only the descriptor leads there.
    for (inode, thread) in kept.threads {
        entry(&mut found.namespaces, &mut index, inode).pid.get_or_insert(thread);
    }
    for (inode, path) in kept.descriptors {
        entry(&mut found.namespaces, &mut index, inode).path.get_or_insert(path);
    }
    found
}

/// Returns the entry of namespace `inode`, a new one if it has none.
fn entry<'a>(namespaces: &'a mut Vec<Netns>, index: &mut HashMap<u32, usize>, inode: u32) -> &'a mut Netns {
    let at = *index.entry(inode).or_insert(namespaces.len());
    if at == namespaces.len() {
        namespaces.push(Netns { inode, name: None, pid: None, path: None });
    }
    &mut namespaces[at]
}

/// Returns the readable named namespaces: a small part of the result, and of the cost, of [`find`].
#[must_use]
pub fn named_ones(root: &ProcRoot) -> Vec<Netns> {
    let found = root.netns_dirs().iter().filter_map(|dir| named(dir).ok()).flat_map(|named| named.namespaces);
    found.map(|(inode, name, path)| Netns { inode, name: Some(name), pid: None, path: Some(path) }).collect()
}

/// Returns the inode number of the namespace `name` (of `ip netns` or Docker); `None` if there is
/// none.
///
/// # Errors
/// If the name's file cannot be read, or is not a network namespace.
pub fn by_name(root: &ProcRoot, name: &str) -> Result<Option<u32>, NetnsError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Ok(None);
    }
    for dir in root.netns_dirs() {
        if let Some((_, inode)) = open(&dir.join(name))? {
            return Ok(Some(inode));
        }
    }
    Ok(None)
}

/// Returns the inode number of the namespace of process `pid`; `None` if the process is gone.
///
/// # Errors
/// If this user may not see it.
pub fn by_pid(root: &ProcRoot, pid: u32) -> Result<Option<u32>, NetnsError> {
    match Dir::place_at(&root.process(pid)).and_then(|process| netns_of(&process)) {
        Ok(inode) => Ok(Some(inode)),
        Err(error) if vanished(&error) => Ok(None),
        Err(error) => Err(ReadError::new(link_path(root, pid), error).into()),
    }
}

/// Returns the inode number of this process's namespace.
#[must_use]
pub fn current(root: &ProcRoot) -> Option<u32> {
    Dir::place_at(&root.path().join("self")).and_then(|process| netns_of(&process)).ok()
}

/// Returns the name of namespace `inode` in the directories of named namespaces.
#[must_use]
pub fn name_of(root: &ProcRoot, inode: u32) -> Option<String> {
    let found = root.netns_dirs().iter().filter_map(|dir| named(dir).ok()).flat_map(|named| named.namespaces);
    found.into_iter().find_map(|(found, name, _)| (found == inode).then_some(name))
}

/// Searches for a process in namespace `inode`; `None` if this user can see none.
#[must_use]
pub fn some_process(root: &ProcRoot, inode: u32) -> Option<u32> {
    let mut some = None;
    each_process(root, |pid, netns| {
        if some.is_none() && netns.is_ok_and(|netns| netns == inode) {
            some = Some(pid);
        }
    })
    .ok()?;
    some
}

/// Searches for a mount point of namespace `inode`.
pub(super) fn some_mount(root: &ProcRoot, inode: u32) -> Option<PathBuf> {
    mounted(root).ok()?.into_iter().find_map(|(mounted, path)| (mounted == inode).then_some(path))
}

/// Returns the namespaces mounted in this mount namespace.
fn mounted(root: &ProcRoot) -> Result<Vec<(u32, PathBuf)>, ReadError> {
    let path = root.path().join("self/mountinfo");
    match File::open(&path).and_then(|file| network_namespaces(BufReader::new(file))) {
        Err(error) if vanished(&error) => Ok(Vec::new()),
        result => result.map_err(|source| ReadError::new(path, source)),
    }
}

/// Opens the file of a network namespace, and returns its inode number, too; `None` if there is no file.
pub(super) fn open(path: &Path) -> Result<Option<(File, u32)>, NetnsError> {
    let error = |source| NetnsError::from(ReadError::new(path, source));
    // O_NONBLOCK: a pipe at this path must not block.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(source) if vanished(&source) => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    // An unmounted namespace may leave its name on the filesystem below.
    // SAFETY: NS_GET_NSTYPE has no argument; where the file is not a namespace it fails.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        return Err(NetnsError::NotNetns { path: path.to_owned() });
    }
    let inode = file.metadata().map_err(error)?.ino();
    match u32::try_from(inode) {
        Ok(inode) => Ok(Some((file, inode))),
        Err(_) => Err(NetnsError::NotNetns { path: path.to_owned() }),
    }
}

/// Calls `each` with every process, in the order of ids, and its namespace.
fn each_process(root: &ProcRoot, mut each: impl FnMut(u32, io::Result<u32>)) -> io::Result<()> {
    dir::each_link(root.path(), "ns/net", |pid, link| {
        each(
            pid,
            match link {
                Ok(text) => inode_of(text),
                // The process may be gone.
                Err(error) if denied(&error) => {
                    Dir::place_at(&root.process(pid)).and_then(|process| netns_of(&process))
                }
                Err(error) => Err(error),
            },
        );
    })
}

fn link_path(root: &ProcRoot, pid: u32) -> PathBuf {
    root.process(pid).join("ns/net")
}

fn netns_of(process: &Dir) -> io::Result<u32> {
    let mut text = [0; 64];
    inode_of(process.process_link(c"ns/net", &mut text)?)
}

fn inode_of(link: &[u8]) -> io::Result<u32> {
    bracketed(link, b"net:")
        .and_then(|inode| u32::try_from(inode).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the link does not name a network namespace"))
}

#[derive(Default)]
struct Named {
    namespaces: Vec<(u32, String, PathBuf)>,
    errors: Vec<NetnsError>,
}

/// Returns the namespaces with a name in `dir`.
fn named(dir: &Path) -> io::Result<Named> {
    let mut named = Named::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        match open(&path) {
            Ok(Some((_, inode))) => {
                named.namespaces.push((inode, entry.file_name().to_string_lossy().into_owned(), path));
            }
            // A leftover: `ip netns` lists such a name, too, but it leads nowhere.
            Ok(None) | Err(NetnsError::NotNetns { .. }) => {}
            Err(error) => named.errors.push(error),
        }
    }
    Ok(named)
}

#[cfg(test)]
#[path = "netns_tests.rs"]
mod tests;
