//! Lets a dedicated thread visit network namespaces, to read the same few files there again and again: a visit costs
//! a few µs, a thread for each ([`enter::with`]) many times that.
//!
//! The visitor keeps nothing of a namespace open between two visits: a file of it, or a socket, would keep it alive.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    enter::{self, Place, Prefer},
    netns::{self, Netns, NetnsError},
    root::ProcRoot,
};

/// The thread's own namespace, to return to.
#[derive(Debug)]
pub struct Visitor {
    root: ProcRoot,
    own: File,
    inode: Option<u32>,
}

impl Visitor {
    /// Makes a visitor of the calling thread, which must make all visits.
    ///
    /// # Errors
    /// If its namespace cannot be opened.
    pub fn new(root: &ProcRoot) -> io::Result<Self> {
        let own = File::open(root.path().join("thread-self/ns/net"))?;
        Ok(Self { root: root.clone(), own, inode: netns::current(root) })
    }

    /// Calls `work` with the place of `netns`; `None` if its process and its file no longer lead there (others may).
    ///
    /// # Errors
    /// If the namespace exists and can neither be entered nor read.
    pub fn visit<T: Send>(&self, netns: &Netns, work: impl Fn(&Place) -> T + Send) -> Result<Option<T>, NetnsError> {
        if self.inode == Some(netns.inode) {
            return Ok(Some(work(&Place::here(&self.root))));
        }
        let mut refused = false;
        let of_process = netns.pid.map(|pid| self.root.process(pid).join("ns/net"));
        for path in of_process.iter().chain(&netns.path) {
            let Ok(Some((file, _))) = netns::open(path).map(|open| open.filter(|(_, inode)| *inode == netns.inode))
            else {
                continue;
            };
            if move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
                refused = true;
                break;
            }
            drop(file);
            let done = work(&Place::here(&self.root));
            return match move_into_link_name_space(self.own.as_fd(), Some(LinkNameSpaceType::Network)) {
                Ok(()) => Ok(Some(done)),
                Err(error) => {
                    // A thread that stays there would keep the namespace alive.
                    let path = PathBuf::from("its own network namespace");
                    Err(NetnsError::Enter { path, source: error.into() })
                }
            };
        }
        if refused { enter::with(&self.root, netns, Prefer::Files, work) } else { Ok(None) }
    }
}

/// Reads a file of /proc into `buffer`, replacing its content.
///
/// # Errors
/// Errors of opening and reading.
pub fn read_into(path: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    File::open(path)?.read_to_end(buffer).map(drop)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn its_own_namespace_needs_no_visit() {
        let root = ProcRoot::default();
        let visitor = Visitor::new(&root).unwrap();
        let own = Netns { inode: netns::current(&root).unwrap(), name: None, pid: None, path: None };
        let inside = visitor.visit(&own, |place| place.net.join("dev").exists() && place.inside);
        assert!(inside.unwrap().unwrap());
        let mut buffer = b"what was there".to_vec();
        read_into(&root.path().join("net/dev"), &mut buffer).unwrap();
        assert!(buffer.starts_with(b"Inter-|"));
    }

    #[test]
    fn a_namespace_that_is_gone_is_none() {
        let visitor = Visitor::new(&ProcRoot::default()).unwrap();
        let gone = Netns { inode: 1, name: None, pid: None, path: Some("/nonexistent".into()) };
        assert!(visitor.visit(&gone, |_| ()).unwrap().is_none());
    }
}
