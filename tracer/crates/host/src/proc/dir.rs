//! Directories of /proc by descriptor: names and links without an allocation for each.
//!
//! A descriptor of `/proc/PID` stays with its process: once that is gone, everything below answers
//! `ESRCH`, even if another process has the number.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::root::{denied, vanished};

/// Room for the entries of one `getdents64`, as in the C libraries.
const ENTRIES: usize = 32 * 1024;
/// `d_reclen` and `d_name` in `struct linux_dirent64` (UAPI: u64 d_ino, s64 d_off, u16 d_reclen,
/// u8 d_type, d_name).
const D_RECLEN: usize = 16;
const D_NAME: usize = 19;

/// An open directory.
pub(super) struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory to list it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        open_at(libc::AT_FDCWD, &path, libc::O_RDONLY | libc::O_DIRECTORY).map(Self)
    }

    /// Opens a directory with `O_PATH`, to look below it.
    pub(super) fn place_at(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        open_at(libc::AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY).map(Self)
    }

    /// Opens `name` below this directory to list it.
    pub(super) fn dir(&self, name: &CStr) -> io::Result<Self> {
        open_at(self.0.as_raw_fd(), name, libc::O_RDONLY | libc::O_DIRECTORY).map(Self)
    }

    /// Opens `name` below this directory with `O_PATH`, to look below it.
    pub(super) fn place(&self, name: &CStr) -> io::Result<Self> {
        open_at(self.0.as_raw_fd(), name, libc::O_PATH | libc::O_DIRECTORY).map(Self)
    }

    /// Opens the file `name` below this directory for reading.
    pub(super) fn file(&self, name: &CStr) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), name, libc::O_RDONLY).map(File::from)
    }

    /// Reads the text of the link `name`, as much as `text` holds.
    pub(super) fn link<'a>(&self, name: &CStr, text: &'a mut [u8]) -> io::Result<&'a [u8]> {
        // SAFETY: `name` ends with a zero and `text` is writable for the length given.
        let n = unsafe {
            libc::readlinkat(self.0.as_raw_fd(), name.as_ptr(), text.as_mut_ptr().cast::<c_char>(), text.len())
        };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        text.get(..n).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Returns the link count of the directory `name`: 2, and 1 for each directory in it.
    pub(super) fn links(&self, name: &CStr) -> io::Result<u64> {
        let stat = self.stat(name)?;
        // `nlink_t` has 32 bits on aarch64.
        #[cfg_attr(target_arch = "x86_64", expect(clippy::useless_conversion, reason = "64 bits here"))]
        Ok(u64::from(stat.st_nlink))
    }

    /// Returns the size of `name`.
    pub(super) fn size(&self, name: &CStr) -> io::Result<u64> {
        let stat = self.stat(name)?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn stat(&self, name: &CStr) -> io::Result<libc::stat> {
        // SAFETY: a structure of integers: zero is a value.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `name` ends with a zero and the structure is writable.
        if unsafe { libc::fstatat(self.0.as_raw_fd(), name.as_ptr(), &raw mut stat, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stat)
    }

    /// Reads the link `name` in a process's directory; `ESRCH` if the process is gone, where the kernel
    /// answers `EACCES` (fs/proc: `proc_ns_readlink`, `proc_pid_readlink`).
    pub(super) fn process_link<'a>(&self, name: &CStr, text: &'a mut [u8]) -> io::Result<&'a [u8]> {
        self.link(name, text).map_err(|error| self.denied_or_gone(error))
    }

    /// Replaces `error` in a process's directory by `ESRCH` if it means "denied" and the process is gone.
    pub(super) fn denied_or_gone(&self, error: io::Error) -> io::Error {
        match self.file(c"stat") {
            Err(gone) if denied(&error) && vanished(&gone) => io::Error::from_raw_os_error(libc::ESRCH),
            _ => error,
        }
    }

    /// Calls `each` with every name in this directory (once: the position moves). `buf` is the room to
    /// use.
    pub(super) fn names(&self, buf: &mut Entries, mut each: impl FnMut(&CStr)) -> io::Result<()> {
        self.names_until(buf, |name| {
            each(name);
            true
        })
    }

    /// Like [`Dir::names`], until `each` returns `false`.
    pub(super) fn names_until(&self, buf: &mut Entries, mut each: impl FnMut(&CStr) -> bool) -> io::Result<()> {
        loop {
            // SAFETY: the kernel writes at most the given length to the buffer, which is writable.
            let n = unsafe { libc::syscall(libc::SYS_getdents64, self.0.as_raw_fd(), buf.0.as_mut_ptr(), buf.0.len()) };
            let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
            if n == 0 {
                return Ok(());
            }
            let mut rest = buf.0.get(..n).unwrap_or_default();
            while let Some((name, next)) = first_entry(rest) {
                if !each(name) {
                    return Ok(());
                }
                rest = next;
            }
        }
    }
}

/// Returns the first name in the entries, and the entries after it.
fn first_entry(entries: &[u8]) -> Option<(&CStr, &[u8])> {
    let reclen = entries.get(D_RECLEN..D_RECLEN + 2)?;
    let reclen = usize::from(u16::from_ne_bytes(reclen.try_into().ok()?));
    let (entry, next) = entries.split_at_checked(reclen)?;
    Some((CStr::from_bytes_until_nul(entry.get(D_NAME..)?).ok()?, next))
}

/// Reused room for [`Dir::names`].
pub(super) struct Entries(Vec<u8>);

impl Entries {
    pub(super) fn new() -> Self {
        Self(vec![0; ENTRIES])
    }
}

fn open_at(at: RawFd, name: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: `name` ends with a zero; without O_CREAT no mode is read.
    let fd = unsafe { libc::openat(at, name.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Parses the number in `prefix[N]`, the text of links to sockets and namespaces.
pub(super) fn bracketed(text: &[u8], prefix: &[u8]) -> Option<u64> {
    decimal(text.strip_prefix(prefix)?.strip_prefix(b"[")?.strip_suffix(b"]")?)
}

/// Parses a decimal number and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, &c| {
        let digit = c.checked_sub(b'0').filter(|&d| d < 10)?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Returns the ids of the processes in a procfs, ascending.
pub(super) fn pids(proc: &Path) -> io::Result<Vec<u32>> {
    Ok(named_pids(&Dir::open(proc)?)?.into_iter().map(|(pid, _)| pid).collect())
}

/// Calls `each` with every process in a procfs, in the order of ids, and its directory.
pub(super) fn each_process(proc: &Path, mut each: impl FnMut(u32, io::Result<Dir>)) -> io::Result<()> {
    let proc = Dir::open(proc)?;
    for (pid, name) in named_pids(&proc)? {
        each(pid, proc.place(&name));
    }
    Ok(())
}

/// Calls `each` with every process in a procfs, in the order of ids, and the text of the link `name`
/// in its directory; "denied" may also mean that it is gone.
pub(super) fn each_link(proc: &Path, name: &str, mut each: impl FnMut(u32, io::Result<&[u8]>)) -> io::Result<()> {
    let proc = Dir::open(proc)?;
    let mut text = [0; 64];
    for (pid, _) in named_pids(&proc)? {
        // Saves the system call that opens the directory.
        let path = CString::new(format!("{pid}/{name}"))?;
        each(pid, proc.link(&path, &mut text));
    }
    Ok(())
}

fn named_pids(proc: &Dir) -> io::Result<Vec<(u32, CString)>> {
    let mut pids = Vec::new();
    proc.names(&mut Entries::new(), |name| {
        if let Some(pid) = decimal(name.to_bytes()).and_then(|pid| u32::try_from(pid).ok()) {
            pids.push((pid, name.to_owned()));
        }
    })?;
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::proc::tree::Tree;

    #[test]
    fn names_are_complete_beyond_one_buffer() {
        let tree = Tree::new();
        for n in 0..3000 {
            tree.file(&format!("some-quite-long-name-{n}"), "");
        }
        let mut seen = Vec::new();
        Dir::open(tree.path()).unwrap().names(&mut Entries::new(), |name| seen.push(name.to_owned())).unwrap();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3000 + 2, "with . and ..");
    }

    #[test]
    fn cut_entries_end_the_list() {
        assert!(first_entry(&[]).is_none());
        assert!(first_entry(&[0; 18]).is_none());
        let mut entry = [0u8; 24];
        entry[D_RECLEN..D_RECLEN + 2].copy_from_slice(&48u16.to_ne_bytes());
        assert!(first_entry(&entry).is_none(), "longer than what is there");
        entry[D_RECLEN..D_RECLEN + 2].copy_from_slice(&0u16.to_ne_bytes());
        assert!(first_entry(&entry).is_none(), "no progress");
    }

    #[test]
    fn numbers_in_links() {
        assert_eq!(bracketed(b"socket:[4026531840]", b"socket:"), Some(4_026_531_840));
        assert_eq!(bracketed(b"socket:[18446744073709551615]", b"socket:"), Some(u64::MAX));
        for text in ["socket:[18446744073709551616]", "socket:[]", "socket:[1", "socket:1]", "pipe:[1]", "socket:[-1]"]
        {
            assert_eq!(bracketed(text.as_bytes(), b"socket:"), None, "{text}");
        }
    }

    #[test]
    fn processes_are_the_numbers_in_order() {
        let tree = Tree::new();
        for name in ["10", "9", "100", "self", "4294967296", "-1", "1x", "4294967295"] {
            tree.file(&format!("{name}/stat"), "");
        }
        assert_eq!(pids(tree.path()).unwrap(), [9, 10, 100, u32::MAX]);
        let mut seen = Vec::new();
        each_process(tree.path(), |pid, dir| seen.push((pid, dir.unwrap().file(c"stat").is_ok()))).unwrap();
        assert_eq!(seen, [(9, true), (10, true), (100, true), (u32::MAX, true)]);
        tree.link("10/ns/net", "net:[1]");
        let mut seen = Vec::new();
        each_link(tree.path(), "ns/net", |pid, link| seen.push((pid, link.ok().map(<[u8]>::to_vec)))).unwrap();
        assert_eq!(seen, [(9, None), (10, Some(b"net:[1]".to_vec())), (100, None), (u32::MAX, None)]);
    }
}
