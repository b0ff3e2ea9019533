//! The network namespaces of the host.
//!
//! Found are the namespaces of all processes and the ones that are bound to a file: in the directories of
//! named namespaces, or anywhere in this mount namespace; and within a budget those of further threads and of open
//! descriptors (`netns_kept.rs`). A namespace that only a socket or a mount in another mount namespace keeps
//! alive is not found: nothing in /proc leads to it.

use std::collections::{HashMap, hash_map::Entry};
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
    /// The file is there, but it is no network namespace.
    #[error("{path:?} is not a network namespace")]
    NotNetns {
        /// The file.
        path: PathBuf,
    },
    /// The namespace is mounted there, but something else is mounted over it.
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
    /// The thread that was to enter the namespace did not start or did not end well.
    #[error("no thread to enter the network namespace {path:?}")]
    Thread {
        /// The namespace's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// One network namespace, and what leads to it: a process, a file, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    /// Its inode number, `ns.inum` (an `unsigned int` in the kernel).
    pub inode: u32,
    /// The name of its file in a directory of named namespaces. Hostile bytes.
    pub name: Option<String>,
    /// A process in it: the one with the least id. Where no main thread is, a thread: /proc has a directory for it, too.
    pub pid: Option<u32>,
    /// A file that it is bound to.
    pub path: Option<PathBuf>,
}

/// What [`find`] found.
#[derive(Debug, Default)]
pub struct Found {
    /// Every namespace once: first those of processes, by process id.
    pub namespaces: Vec<Netns>,
    /// Processes whose namespace this user may not know.
    pub denied: u32,
    /// Threads that were not looked at: they are too many.
    pub unread_threads: u64,
    /// What else could not be read.
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
        let at = *index.entry(inode).or_insert_with(|| {
            found.namespaces.push(Netns { inode, name: None, pid: None, path: None });
            found.namespaces.len() - 1
        });
        if let Some(netns) = found.namespaces.get_mut(at) {
            netns.name = netns.name.take().or(name);
            netns.path.get_or_insert(path);
        }
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
        log::info!("not all descriptors of {} processes were looked at for network namespaces", kept.unread_processes);
    }
    found.unread_threads = kept.unread_threads;
    let of_threads = kept.threads.into_iter().map(|(inode, thread)| (inode, Some(thread), None));
    let of_descriptors = kept.descriptors.into_iter().map(|(inode, path)| (inode, None, Some(path)));
    for (inode, pid, path) in of_threads.chain(of_descriptors) {
        if let Entry::Vacant(place) = index.entry(inode) {
            place.insert(found.namespaces.len());
            found.namespaces.push(Netns { inode, name: None, pid, path });
        }
    }
    found
}

/// Those that have a name, as far as they can be read: a small part of what [`find`] finds, and of what it costs.
#[must_use]
pub fn named_ones(root: &ProcRoot) -> Vec<Netns> {
    let found = root.netns_dirs().iter().filter_map(|dir| named(dir).ok()).flat_map(|named| named.namespaces);
    found.map(|(inode, name, path)| Netns { inode, name: Some(name), pid: None, path: Some(path) }).collect()
}

/// The inode number of the namespace that is called `name` (as `ip netns` and Docker call them);
/// `None` if there is none.
///
/// # Errors
/// The name's file cannot be read, or is there but is not a network namespace.
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

/// The inode number of the namespace of process `pid`; `None` if the process is gone.
///
/// # Errors
/// This user may not know it.
pub fn by_pid(root: &ProcRoot, pid: u32) -> Result<Option<u32>, NetnsError> {
    match Dir::place_at(&root.process(pid)).and_then(|process| netns_of(&process)) {
        Ok(inode) => Ok(Some(inode)),
        Err(error) if vanished(&error) => Ok(None),
        Err(error) => Err(ReadError::new(link_path(root, pid), error).into()),
    }
}

/// The inode number of the namespace of this process.
#[must_use]
pub fn current(root: &ProcRoot) -> Option<u32> {
    Dir::place_at(&root.path().join("self")).and_then(|process| netns_of(&process)).ok()
}

/// What the namespace `inode` is called in the directories of named namespaces, if it is there.
#[must_use]
pub fn name_of(root: &ProcRoot, inode: u32) -> Option<String> {
    let found = root.netns_dirs().iter().filter_map(|dir| named(dir).ok()).flat_map(|named| named.namespaces);
    found.into_iter().find_map(|(found, name, _)| (found == inode).then_some(name))
}

/// A process in the namespace `inode`, found anew; `None` if there is none that this user may know.
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

/// A mount point of the namespace `inode`, found anew.
pub(super) fn some_mount(root: &ProcRoot, inode: u32) -> Option<PathBuf> {
    mounted(root).ok()?.into_iter().find_map(|(mounted, path)| (mounted == inode).then_some(path))
}

/// The namespaces that are mounted in this mount namespace.
fn mounted(root: &ProcRoot) -> Result<Vec<(u32, PathBuf)>, ReadError> {
    let path = root.path().join("self/mountinfo");
    match File::open(&path).and_then(|file| network_namespaces(BufReader::new(file))) {
        Err(error) if vanished(&error) => Ok(Vec::new()),
        result => result.map_err(|source| ReadError::new(path, source)),
    }
}

/// Opens the file of a network namespace, and gives its inode number; `None` if there is no file.
pub(super) fn open(path: &Path) -> Result<Option<(File, u32)>, NetnsError> {
    let error = |source| NetnsError::from(ReadError::new(path, source));
    // Not blocked by a pipe that somebody left there.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(source) if vanished(&source) => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    // A name may be left over on the filesystem below, from a namespace that was unmounted.
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

/// Calls `each` with every process, in the order of their ids, and its namespace.
fn each_process(root: &ProcRoot, mut each: impl FnMut(u32, io::Result<u32>)) -> io::Result<()> {
    dir::each_link(root.path(), "ns/net", |pid, link| {
        each(
            pid,
            match link {
                Ok(text) => inode_of(text),
                // It may be gone.
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

/// The namespaces that have a name in `dir`.
fn named(dir: &Path) -> io::Result<Named> {
    let mut named = Named::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        match open(&path) {
            Ok(Some((_, inode))) => {
                named.namespaces.push((inode, entry.file_name().to_string_lossy().into_owned(), path));
            }
            // Left over: `ip netns` lists such a name as well, but it leads nowhere.
            Ok(None) | Err(NetnsError::NotNetns { .. }) => {}
            Err(error) => named.errors.push(error),
        }
    }
    Ok(named)
}

#[cfg(test)]
#[path = "netns_tests.rs"]
mod tests;
