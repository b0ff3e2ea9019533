//! Looks names of processes, users and network namespaces up on the host.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::FromRead;
use procfs::process::Stat;
use rustix::fs::{Mode, OFlags};
use tracer_filter::parse::Netns;
use tracer_filter::{FilterError, Lookup, Process};
use tracer_host::proc::process;

/// Of `include/uapi/linux/magic.h`: the file system of namespaces.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// The host, or a copy of its files.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/proc`
    pub proc: PathBuf,
    /// Directories where `ip netns` (and docker) keep names of namespaces.
    pub netns: Vec<PathBuf>,
    /// `/etc/passwd`
    pub passwd: PathBuf,
    /// Whether to ask the C library for users that `passwd` does not have.
    pub name_service: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

/// The result; `None` if the file does not exist.
fn there<T>(path: &Path, result: io::Result<T>) -> Result<Option<T>, FilterError> {
    match result {
        Ok(value) => Ok(Some(value)),
        // ESRCH: the process ended between open and read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(source) => Err(FilterError::Unreadable { path: path.to_owned(), source }),
    }
}

impl Host {
    /// The host whose file system begins at `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            proc: root.join("proc"),
            netns: ["run/netns", "var/run/netns", "run/docker/netns"].map(|path| root.join(path)).to_vec(),
            passwd: root.join("etc/passwd"),
            name_service: root == Path::new("/"),
        }
    }

    fn stat(&self, pid: u32) -> Result<Option<Stat>, FilterError> {
        let path = self.proc.join(pid.to_string()).join("stat");
        let Some(file) = there(&path, File::open(&path))? else { return Ok(None) };
        // A process that ends while it is read looks like a broken one.
        Ok(Stat::from_read(file).ok())
    }

    fn inode(&self, path: &Path) -> Result<Option<u32>, FilterError> {
        // `NONBLOCK`: opening does not wait for the other end of a pipe.
        let Some(file) = there(
            path,
            rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from),
        )?
        else {
            return Ok(None);
        };
        let file = File::from(file);
        // `ip netns` creates a file first, and mounts the namespace on it later. A copy of the host's files has no
        // namespaces.
        let kind = rustix::fs::fstatfs(&file).map(|system| system.f_type);
        if self.name_service && kind != Ok(NSFS_MAGIC) {
            return Ok(None);
        }
        let inode = there(path, file.metadata())?.map(|metadata| metadata.ino());
        Ok(inode.and_then(|inode| u32::try_from(inode).ok()))
    }
}

fn process_of(stat: &Stat) -> Option<Process> {
    Some(Process { pid: u32::try_from(stat.pid).ok()?, start_ns: process::start_ns(stat.starttime) })
}

impl Lookup for Host {
    fn process(&self, pid: u32) -> Result<Option<Process>, FilterError> {
        // `/proc/TID` exists although it is not listed.
        let path = self.proc.join(pid.to_string()).join("status");
        let Some(file) = there(&path, File::open(&path))? else {
            // A copy of the host's files has no `self`.
            if self.name_service && !self.proc.join("self").exists() {
                return Err(FilterError::NoProc { proc: self.proc.clone() });
            }
            return Ok(None);
        };
        let mut tgid = pid;
        // Lines of bytes: the first one is the name, which may contain any byte.
        for line in BufReader::new(file).split(b'\n') {
            let Some(line) = there(&path, line)? else { return Ok(None) };
            if let Some(value) = line.strip_prefix(b"Tgid:") {
                tgid = String::from_utf8_lossy(value).trim().parse().unwrap_or(pid);
                break;
            }
        }
        Ok(self.stat(tgid)?.as_ref().and_then(process_of))
    }

    fn descendants(&self, pids: &[u32]) -> Result<Vec<Process>, FilterError> {
        if pids.is_empty() {
            return Ok(Vec::new());
        }
        let unreadable = |source| FilterError::Unreadable { path: self.proc.clone(), source };
        let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
        for entry in fs::read_dir(&self.proc).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(stat) = self.stat(pid)? else { continue };
            if let (Ok(parent), Some(process)) = (u32::try_from(stat.ppid), process_of(&stat)) {
                children.entry(parent).or_default().push(process);
            }
        }
        let mut found: Vec<Process> = Vec::new();
        let mut parents = pids.to_vec();
        while let Some(parent) = parents.pop() {
            // Removed, so that no process is walked twice.
            for child in children.remove(&parent).unwrap_or_default() {
                parents.push(child.pid);
                found.push(child);
            }
        }
        Ok(found)
    }

    fn user(&self, name: &str) -> Result<Option<u32>, FilterError> {
        if let Some(file) = there(&self.passwd, File::open(&self.passwd))? {
            for line in BufReader::new(file).split(b'\n') {
                let line = line.map_err(|source| FilterError::Unreadable { path: self.passwd.clone(), source })?;
                let line = String::from_utf8_lossy(&line);
                let mut fields = line.split(':');
                if fields.next() == Some(name)
                    && let Some(uid) = fields.nth(1).and_then(|uid| uid.parse().ok())
                {
                    return Ok(Some(uid));
                }
            }
        }
        Ok(if self.name_service { name_service(name) } else { None })
    }

    fn netns(&self, netns: &Netns) -> Result<Option<u32>, FilterError> {
        let name = match netns {
            Netns::Inode(inode) => return Ok(Some(*inode)),
            Netns::Pid(pid) => {
                let inode = self.inode(&self.proc.join(pid.to_string()).join("ns/net"))?;
                if inode.is_some() {
                    return Ok(inode);
                }
                &pid.to_string()
            }
            Netns::Name(name) if name.contains('/') => return self.inode(Path::new(name)),
            Netns::Name(name) => name,
        };
        for directory in &self.netns {
            if let Some(inode) = self.inode(&directory.join(name))? {
                return Ok(Some(inode));
            }
        }
        Ok(None)
    }
}

/// Asks the C library, which knows directories such as LDAP. A static binary skips it: it would need the same C library
/// beside it at run time.
#[cfg(not(target_feature = "crt-static"))]
fn name_service(name: &str) -> Option<u32> {
    let name = std::ffi::CString::new(name).ok()?;
    let mut buffer = vec![0; 16 * 1024];
    // SAFETY: an all-zero `passwd` is a valid one: integers and null pointers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and `buffer` has the given length.
    let status =
        unsafe { libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    (status == 0 && !found.is_null()).then_some(entry.pw_uid)
}

#[cfg(target_feature = "crt-static")]
fn name_service(_: &str) -> Option<u32> {
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A root directory that goes away with the test.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tracer-lookup-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn process(&self, pid: u32, tgid: u32, parent: u32, comm: &str, start: u64) {
            let (before, after) = ("0 ".repeat(17), " 0".repeat(30));
            let stat = format!("{pid} ({comm}) S {parent} {before}{start}{after}\n");
            self.file(&format!("proc/{pid}/stat"), &stat);
            self.file(&format!("proc/{pid}/status"), &format!("Name:\t{comm}\nTgid:\t{tgid}\n"));
        }

        fn host(&self) -> Host {
            Host::at(&self.0)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn processes_and_threads() {
        let root = Root::new("process");
        root.process(10, 10, 1, "a) R (b", 123);
        root.process(11, 10, 1, "thread", 124);
        let host = root.host();
        assert_eq!(host.process(10).unwrap(), Some(Process { pid: 10, start_ns: 1_230_000_000 }));
        assert_eq!(host.process(11).unwrap().map(|process| process.pid), Some(10));
        assert_eq!(host.process(12).unwrap(), None);
    }

    #[test]
    fn descendants_of_descendants() {
        let root = Root::new("descendants");
        for (pid, parent) in [(1, 0), (10, 1), (11, 10), (12, 11), (13, 1), (14, 10)] {
            root.process(pid, pid, parent, "x", 1);
        }
        let mut pids: Vec<u32> = root.host().descendants(&[10]).unwrap().iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [11, 12, 14]);
        assert_eq!(root.host().descendants(&[]).unwrap(), []);
    }

    #[test]
    fn users_by_name() {
        let root = Root::new("user");
        assert_eq!(root.host().user("www").unwrap(), None, "no file");
        root.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33::/:/bin/false\n");
        assert_eq!(root.host().user("www").unwrap(), Some(33));
        assert_eq!(root.host().user("broken").unwrap(), None);
        assert_eq!(root.host().user("ww").unwrap(), None);
    }

    #[test]
    fn the_c_library_knows_root() {
        let host = Host { passwd: PathBuf::from("/nonexistent"), ..Host::default() };
        assert_eq!(host.user("root").unwrap(), if cfg!(target_feature = "crt-static") { None } else { Some(0) });
        assert_eq!(host.user("no-such-user-here").unwrap(), None);
    }

    #[test]
    fn namespaces_by_process_and_name() {
        let root = Root::new("netns");
        root.file("proc/10/ns/net", "");
        root.file("run/netns/blue", "");
        root.file("run/netns/77", "");
        let inode =
            |path: &str| Some(fs::metadata(root.0.join(path)).unwrap().ino()).map(|i| u32::try_from(i).unwrap());
        let host = root.host();
        assert_eq!(host.netns(&Netns::Inode(7)).unwrap(), Some(7));
        assert_eq!(host.netns(&Netns::Pid(10)).unwrap(), inode("proc/10/ns/net"));
        assert_eq!(host.netns(&Netns::Name("blue".into())).unwrap(), inode("run/netns/blue"));
        assert_eq!(host.netns(&Netns::Pid(77)).unwrap(), inode("run/netns/77"), "a name that is a number");
        assert_eq!(host.netns(&Netns::Name("red".into())).unwrap(), None);
        let path = root.0.join("run/netns/blue").to_str().unwrap().to_owned();
        assert_eq!(host.netns(&Netns::Name(path)).unwrap(), inode("run/netns/blue"));
    }

    #[test]
    fn this_process_is_found_on_this_host() {
        let own = std::process::id();
        let host = Host::default();
        assert_eq!(host.process(own).unwrap().map(|process| process.pid), Some(own));
        assert!(host.netns(&Netns::Pid(own)).unwrap().is_some());
    }
}
