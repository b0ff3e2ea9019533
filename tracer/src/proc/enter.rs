//! Work inside a network namespace, in a thread of its own that ends with it.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use super::netns::{self, Netns, NetnsError};
use super::root::ProcRoot;

/// The inode number of the namespace that this thread is in; `None` if it cannot be known.
#[must_use]
pub fn own(root: &ProcRoot) -> Option<u32> {
    netns::open(&root.path().join("thread-self/ns/net")).ok().flatten().map(|(_, inode)| inode)
}

/// Calls `work` in a thread that has entered `netns`, with the directory of the namespace's tables.
/// `None` if the namespace is gone.
///
/// # Errors
/// If it cannot be entered: that needs `CAP_SYS_ADMIN`.
pub fn inside<T: Send>(
    root: &ProcRoot,
    netns: &Netns,
    work: impl FnOnce(&Path) -> T + Send,
) -> Result<Option<T>, NetnsError> {
    let Some((file, path)) = open(root, netns)? else {
        return Ok(None);
    };
    let net = root.path().join("thread-self/net");
    let no_thread = |source| NetnsError::Thread { path: path.clone(), source };
    let entered = thread::scope(|scope| {
        let inside = || {
            // SAFETY: the descriptor is open; only this thread moves, and it ends after this function.
            if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(work(&net))
        };
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, inside).map_err(no_thread)?;
        thread.join().map_err(|_| no_thread(io::Error::other("it panicked")))
    })?;
    entered.map(Some).map_err(|source| NetnsError::Enter { path, source })
}

/// The namespace's file, by one of the ways that lead to it.
fn open(root: &ProcRoot, netns: &Netns) -> Result<Option<(std::fs::File, PathBuf)>, NetnsError> {
    let of_process = |pid: u32| root.process(pid).join("ns/net");
    let mut failed = None;
    // The process may have ended or moved and the file been removed since they were found.
    let ways: [&dyn Fn() -> Option<PathBuf>; 4] = [
        &|| netns.pid.map(of_process),
        &|| netns.path.clone(),
        &|| netns.pid.and_then(|_| netns::some_process(root, netns.inode)).map(of_process),
        &|| netns.path.as_ref().and_then(|_| netns::some_mount(root, netns.inode)),
    ];
    for way in ways {
        let Some(path) = way() else { continue };
        match netns::open(&path) {
            Ok(Some((file, inode))) if inode == netns.inode => return Ok(Some((file, path))),
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), Err)
}
