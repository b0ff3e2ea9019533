//! Work inside a network namespace.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread;

use super::super::netns::{self, Netns, NetnsError};
use super::super::root::{ProcRoot, denied, vanished};

/// Where the files of a namespace are, and what else can be asked.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its `net` directory.
    pub net: PathBuf,
    /// Its `sys/net` directory; `None` if only the files above can be reached.
    pub sysctl: Option<PathBuf>,
    /// Whether a netlink socket made now belongs to the namespace.
    pub netlink: bool,
}

impl Place {
    /// The namespace that this process is in.
    #[must_use]
    pub fn here(root: &ProcRoot) -> Self {
        Self { net: root.path().join("net"), sysctl: Some(root.path().join("sys/net")), netlink: true }
    }
}

/// A file that is a namespace, and the process that it belongs to.
type Way = (PathBuf, Option<u32>);

/// Calls `work` in `netns`, in a thread that enters it and ends; `None` if the namespace is gone.
/// Where entering is not permitted, but the files of a process in it may be read, `work` gets those.
///
/// # Errors
/// It is there and neither can be had.
pub fn with<T: Send>(
    root: &ProcRoot,
    netns: &Netns,
    mut work: impl FnMut(&Place) -> T + Send,
) -> Result<Option<T>, NetnsError> {
    if netns::current(root) == Some(netns.inode) {
        return Ok(Some(work(&Place::here(root))));
    }
    let mut refused = None;
    let of_process = |pid: u32| (root.process(pid).join("ns/net"), Some(pid));
    let bound = || netns.path.clone().or_else(|| netns::some_mount(root, netns.inode)).map(|path| (path, None));
    let other = || netns::some_process(root, netns.inode).map(of_process);
    let ways: [&dyn Fn() -> Option<Way>; 3] = [&|| netns.pid.map(of_process), &bound, &other];
    for way in ways {
        let Some((path, pid)) = way() else { continue };
        match inside(root, &path, netns.inode, &mut work) {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) | Err(NetnsError::NotNetns { .. }) => {}
            Err(error) => {
                if let Some(pid) = pid.filter(|_| not_permitted(&error))
                    && let Some(net) = readable(root, pid, netns.inode)
                {
                    return Ok(Some(work(&Place { net, sysctl: None, netlink: false })));
                }
                refused = Some(error);
            }
        }
    }
    refused.map_or(Ok(None), Err)
}

fn inside<T: Send>(
    root: &ProcRoot,
    path: &std::path::Path,
    inode: u32,
    work: &mut (impl FnMut(&Place) -> T + Send),
) -> Result<Option<T>, NetnsError> {
    let Some((file, found)) = netns::open(path)? else {
        return Ok(None);
    };
    if found != inode {
        return Ok(None);
    }
    let place =
        Place { net: root.path().join("thread-self/net"), sysctl: Some(root.path().join("sys/net")), netlink: true };
    let no_thread = |source| NetnsError::Thread { path: path.to_owned(), source };
    thread::scope(|scope| {
        let done = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || {
                // SAFETY: the descriptor is open; only this thread moves, and it ends after this.
                if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(work(&place))
            })
            .map_err(no_thread)?
            .join()
            .map_err(|_| no_thread(io::Error::other("it panicked")))?;
        done.map(Some).map_err(|source| NetnsError::Enter { path: path.to_owned(), source })
    })
}

fn not_permitted(error: &NetnsError) -> bool {
    match error {
        NetnsError::Read(error) => denied(&error.source),
        NetnsError::Enter { source, .. } => denied(source),
        _ => false,
    }
}

/// The `net` directory of `pid`, if it is in namespace `inode` and may be looked into.
fn readable(root: &ProcRoot, pid: u32, inode: u32) -> Option<PathBuf> {
    let net = root.process(pid).join("net");
    match std::fs::metadata(net.join("dev")) {
        Err(error) if denied(&error) || vanished(&error) => None,
        _ => (netns::by_pid(root, pid).ok()?? == inode).then_some(net),
    }
}
