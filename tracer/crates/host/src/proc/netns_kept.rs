//! Network namespaces without a main thread and without a mount here: another thread is in one (`setns`, `unshare`),
//! or a descriptor keeps it.
//!
//! The search has a budget: a host may have 100,000 threads, and as many descriptors.

use std::ffi::CString;
use std::path::PathBuf;

use super::dir::{self, Dir, Entries, bracketed, decimal};
use super::root::ProcRoot;

/// The most threads to read: 1.5 µs each.
const MOST_THREADS: u64 = 16_384;
/// The most descriptors to read, in all and of one process: a container runtime has few, a server with many
/// connections many.
const MOST_DESCRIPTORS: u64 = 8_192;
const MOST_OF_ONE: usize = 64;

/// The result of the search, and its omissions.
#[derive(Debug, Default)]
pub struct Kept {
    /// Namespaces of threads, each with a thread's id.
    pub threads: Vec<(u32, u32)>,
    /// Namespaces of descriptors, each with its path.
    pub descriptors: Vec<(u32, PathBuf)>,
    /// Threads beyond the budget.
    pub unread_threads: u64,
    /// Processes with descriptors beyond the budget.
    pub unread_processes: u64,
}

/// Searches all processes for namespaces that are not `known`.
pub fn find(root: &ProcRoot, known: impl Fn(u32) -> bool) -> Kept {
    let mut kept = Kept::default();
    let (mut threads, mut descriptors) = (0, 0);
    let mut entries = Entries::new();
    // An earlier search has already reported a /proc that cannot be listed.
    let _ = dir::each_process(root.path(), |pid, process| {
        // The search for namespaces of processes counts those that this user may not look into.
        let Ok(process) = process else { return };
        let several = process.links(c"task").unwrap_or(0).saturating_sub(2);
        if several > 1 {
            if threads + several > MOST_THREADS {
                kept.unread_threads += several;
            } else {
                threads += several;
                of_threads(&process, pid, &mut entries, &known, &mut kept);
            }
        }
        if descriptors >= MOST_DESCRIPTORS {
            kept.unread_processes += 1;
            return;
        }
        descriptors += of_descriptors(root, &process, pid, &mut entries, &known, &mut kept);
    });
    kept
}

/// Searches for a file of namespace `inode`: a descriptor's, else a thread's.
pub fn some(root: &ProcRoot, inode: u32) -> Option<PathBuf> {
    let kept = find(root, |other| other != inode);
    let descriptor = kept.descriptors.into_iter().next().map(|(_, path)| path);
    descriptor.or_else(|| kept.threads.first().map(|(_, thread)| root.process(*thread).join("ns/net")))
}

fn of_threads(process: &Dir, pid: u32, entries: &mut Entries, known: &impl Fn(u32) -> bool, kept: &mut Kept) {
    let Ok(tasks) = process.dir(c"task") else { return };
    let mut ids = Vec::new();
    let _ = tasks.names(entries, |name| ids.extend(number(name.to_bytes()).filter(|id| *id != pid)));
    let mut text = [0; 64];
    for id in ids {
        let Ok(path) = CString::new(format!("{id}/ns/net")) else { continue };
        if let Some(inode) = tasks.link(&path, &mut text).ok().and_then(namespace)
            && !known(inode)
            && kept.threads.iter().all(|(other, _)| *other != inode)
        {
            kept.threads.push((inode, id));
        }
    }
}

/// Returns the number of descriptors read.
fn of_descriptors(
    root: &ProcRoot,
    process: &Dir,
    pid: u32,
    entries: &mut Entries,
    known: &impl Fn(u32) -> bool,
    kept: &mut Kept,
) -> u64 {
    let Ok(descriptors) = process.dir(c"fd") else { return 0 };
    let mut names = Vec::new();
    let _ = descriptors.names(entries, |name| {
        if number(name.to_bytes()).is_some() {
            names.push(name.to_owned());
        }
    });
    if names.len() > MOST_OF_ONE {
        kept.unread_processes += 1;
        names.truncate(MOST_OF_ONE);
    }
    let mut text = [0; 64];
    for name in &names {
        if let Some(inode) = descriptors.link(name, &mut text).ok().and_then(namespace)
            && !known(inode)
            && kept.descriptors.iter().all(|(other, _)| *other != inode)
        {
            kept.descriptors.push((inode, root.process(pid).join("fd").join(name.to_string_lossy().as_ref())));
        }
    }
    names.len() as u64
}

fn number(name: &[u8]) -> Option<u32> {
    decimal(name).and_then(|number| u32::try_from(number).ok())
}

fn namespace(link: &[u8]) -> Option<u32> {
    bracketed(link, b"net:").and_then(|inode| u32::try_from(inode).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::tree::Tree;

    #[test]
    fn threads_and_descriptors_lead_to_namespaces() {
        let tree = Tree::new();
        tree.link("7/ns/net", "net:[1]");
        for (thread, inode) in [(7, 1), (8, 2), (9, 1)] {
            tree.link(&format!("7/task/{thread}/ns/net"), format!("net:[{inode}]"));
        }
        for (fd, to) in [(0, "/dev/null"), (1, "net:[1]"), (2, "net:[3]"), (3, "mnt:[4]")] {
            tree.link(&format!("7/fd/{fd}"), to);
        }
        for fd in 0..100 {
            tree.link(&format!("20/fd/{fd}"), "socket:[9]");
        }
        let kept = find(&ProcRoot::new(tree.path()), |inode| inode == 1);
        assert_eq!(kept.threads, [(2, 8)]);
        assert_eq!(kept.descriptors, [(3, tree.path().join("7/fd/2"))]);
        assert_eq!((kept.unread_threads, kept.unread_processes), (0, 1));
        assert_eq!(some(&ProcRoot::new(tree.path()), 3), Some(tree.path().join("7/fd/2")));
        assert_eq!(some(&ProcRoot::new(tree.path()), 2), Some(tree.path().join("8/ns/net")));
        assert_eq!(some(&ProcRoot::new(tree.path()), 4), None);
    }
}
