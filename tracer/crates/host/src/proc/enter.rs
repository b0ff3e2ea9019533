//! Runs work inside a network namespace: a thread of its own enters it and ends there, so it never
//! does other work.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::netns::{self, Netns, NetnsError};
use super::netns_kept;
use super::root::{ProcRoot, ReadError, denied};

/// Where the files of a namespace are, and whether netlink can be used.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its `net` directory.
    pub net: PathBuf,
    /// Its `sys/net` directory; `None` if only `net` is within reach.
    pub sysctl: Option<PathBuf>,
    /// Whether this thread is in the namespace: a netlink socket made now belongs to it.
    pub inside: bool,
}

impl Place {
    /// Returns the place of this thread's namespace.
    pub(super) fn here(root: &ProcRoot) -> Self {
        Self { net: root.path().join("thread-self/net"), sysctl: Some(root.path().join("sys/net")), inside: true }
    }
}

/// The preferred way to the tables of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// Enter it, which needs `CAP_SYS_ADMIN`; else read the files of a process in it.
    Entering,
    /// Read the files of a process in it, if there is one; else enter it.
    Files,
}

/// Calls `work` with the place of `netns`; `None` if the namespace is gone. Calls `work` again if the
/// process whose files it read has moved meanwhile: they may belong to another namespace.
///
/// # Errors
/// If the namespace exists and can neither be entered nor read.
pub fn with<T: Send>(
    root: &ProcRoot,
    netns: &Netns,
    prefer: Prefer,
    mut work: impl FnMut(&Place) -> T + Send,
) -> Result<Option<T>, NetnsError> {
    if netns::current(root) == Some(netns.inode) {
        let net = root.path().join("net");
        return Ok(Some(work(&Place { net, ..Place::here(root) })));
    }
    let mut refused = None;
    if prefer == Prefer::Entering || netns.pid.is_none() {
        match inside(root, netns, || work(&Place::here(root))) {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => {}
            Err(error) => {
                log::debug!("{error}: the files of a process in it are read instead");
                refused = Some(error);
            }
        }
    }
    let first = || netns.pid;
    let other = || netns::some_process(root, netns.inode);
    let ways: [&dyn Fn() -> Option<u32>; 2] = [&first, &other];
    for way in ways {
        let Some(pid) = way() else { continue };
        match of_process(root, pid, netns.inode, &mut work) {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Calls `work` in a thread that has entered `netns`; `None` if the namespace is gone.
///
/// # Errors
/// If the namespace exists and cannot be entered.
pub(super) fn inside<T: Send>(
    root: &ProcRoot,
    netns: &Netns,
    mut work: impl FnMut() -> T + Send,
) -> Result<Option<T>, NetnsError> {
    let of_process = |pid: u32| root.process(pid).join("ns/net");
    let mut refused = None;
    // The process may have ended or moved, and the file may be gone by now.
    let ways: [&dyn Fn() -> Option<PathBuf>; 4] = [
        &|| netns.pid.map(of_process),
        &|| netns.path.clone(),
        &|| netns::some_process(root, netns.inode).map(of_process),
        &|| netns_kept::some(root, netns.inode),
    ];
    for way in ways {
        let Some(path) = way() else { continue };
        match at(&path, netns.inode, &mut work) {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) | Err(NetnsError::NotNetns { .. }) => {}
            Err(error) => refused = Some(error),
        }
    }
    if let Some(path) = netns::some_mount(root, netns.inode) {
        match at(&path, netns.inode, &mut work) {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) | Err(NetnsError::NotNetns { .. }) => refused = refused.or(Some(NetnsError::Hidden { path })),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Calls `work` in a thread that has entered the namespace whose file is at `path`; `None` if the
/// file is gone or is not that of namespace `inode`.
fn at<T: Send>(path: &Path, inode: u32, work: impl FnOnce() -> T + Send) -> Result<Option<T>, NetnsError> {
    let Some((file, _)) = netns::open(path)?.filter(|(_, found)| *found == inode) else {
        return Ok(None);
    };
    let no_thread = |source| NetnsError::Thread { path: path.to_owned(), source };
    let entered = thread::scope(|scope| {
        let inside = || {
            // Only this thread moves, and it ends after this function.
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok::<T, io::Error>(work())
        };
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, inside).map_err(no_thread)?;
        thread.join().map_err(|_| no_thread(io::Error::other("it panicked")))
    })?;
    entered.map(Some).map_err(|source| NetnsError::Enter { path: path.to_owned(), source })
}

/// Calls `work` with the files of process `pid`; `None` if it was not in namespace `inode` all the time.
fn of_process<T>(
    root: &ProcRoot,
    pid: u32,
    inode: u32,
    work: &mut impl FnMut(&Place) -> T,
) -> Result<Option<T>, NetnsError> {
    let is_there = || Ok::<_, NetnsError>(netns::by_pid(root, pid)? == Some(inode));
    let net = root.process(pid).join("net");
    // For a process that this user may not look into, the kernel hides which files exist.
    if let Some(source) = fs::metadata(net.join("dev")).err().filter(denied) {
        return Err(ReadError::new(net, source).into());
    }
    if !is_there()? {
        return Ok(None);
    }
    let done = work(&Place { net, sysctl: None, inside: false });
    Ok(is_there()?.then_some(done))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::proc::tree::Tree;

    fn netns(inode: u32) -> Netns {
        Netns { inode, name: None, pid: Some(1), path: None }
    }

    /// Makes a tree with processes 1 and 2 in namespace 200, and this one in 100.
    fn tree() -> Tree {
        let tree = Tree::new();
        for (process, inode) in [("self", 100), ("1", 200), ("2", 200)] {
            tree.link(&format!("{process}/ns/net"), format!("net:[{inode}]"));
        }
        tree
    }

    #[test]
    fn the_own_namespace_is_not_entered() {
        let tree = tree();
        let root = ProcRoot::new(tree.path());
        for prefer in [Prefer::Entering, Prefer::Files] {
            let place = with(&root, &netns(100), prefer, Place::clone).unwrap().unwrap();
            assert_eq!(
                (place.net, place.sysctl, place.inside),
                (root.path().join("net"), Some(root.path().join("sys/net")), true)
            );
        }
    }

    #[test]
    fn what_a_process_that_moved_told_is_not_taken() {
        let tree = tree();
        let root = ProcRoot::new(tree.path());
        let mut asked = Vec::new();
        let place = with(&root, &netns(200), Prefer::Files, |place| {
            asked.push(place.net.clone());
            if asked.len() == 1 {
                fs::remove_file(tree.path().join("1/ns/net")).unwrap();
                tree.link("1/ns/net", "net:[300]");
            }
            place.clone()
        });
        let place = place.unwrap().unwrap();
        assert_eq!(asked, [root.process(1).join("net"), root.process(2).join("net")]);
        assert_eq!((place.net, place.sysctl, place.inside), (root.process(2).join("net"), None, false));
    }

    #[test]
    fn a_namespace_that_nothing_leads_to_is_gone() {
        let tree = tree();
        let root = ProcRoot::new(tree.path());
        for prefer in [Prefer::Entering, Prefer::Files] {
            assert!(with(&root, &netns(400), prefer, |_| unreachable!()).unwrap().is_none());
        }
    }

    #[test]
    fn entering_is_for_one_thread() {
        let own = netns::current(&ProcRoot::default()).unwrap();
        let other = thread::spawn(|| {
            // SAFETY: only this thread moves, and it ends after this.
            match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
                0 => Ok(fs::File::open("/proc/thread-self/ns/net").unwrap()),
                _ => Err(io::Error::last_os_error()),
            }
        });
        let file = match other.join().unwrap() {
            Ok(file) => file,
            Err(error) => {
                assert!(denied(&error), "{error}");
                eprintln!("skipped: making a network namespace needs CAP_SYS_ADMIN");
                return;
            }
        };
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let (_, inode) = netns::open(&path).unwrap().unwrap();
        let netns = Netns { inode, name: None, pid: None, path: Some(path) };
        let link = with(&ProcRoot::default(), &netns, Prefer::Entering, |place| {
            assert!(place.inside);
            fs::read_link("/proc/thread-self/ns/net").unwrap()
        });
        assert_eq!(link.unwrap().unwrap(), PathBuf::from(format!("net:[{inode}]")));
        assert_eq!(netns::current(&ProcRoot::default()), Some(own));
    }
}
