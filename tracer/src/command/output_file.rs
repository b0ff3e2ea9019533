//! Opens the file of `-o`. tracer runs as root, and any user may be able to make files and links in the
//! directory.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Component, Path, PathBuf},
};

/// Why tracer does not write to a file. Each message has a remedy.
#[derive(Debug, thiserror::Error)]
pub enum OutputFileError {
    /// The file cannot be opened.
    #[error("cannot write to {path:?} ({source}): name a file that can be created with -o")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user may have made it to redirect our writes.
    #[error(
        "{path:?} {what}, in a directory where others may have put it: name another file with -o, or remove this one"
    )]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Opens `path` for writing: empties an existing file, or makes one with mode 0600.
///
/// This function opens every component by itself, and follows symbolic links instead of the kernel. A directory
/// that another user owns, or that others may write to, is foreign. In a foreign directory it follows no link (except
/// our own to a further directory, where a sticky bit keeps others from replacing it), and writes to no file of a third
/// user and to none with a second name. "Our own" means root's and the effective user's. Pipes and devices are the
/// user's business.
///
/// # Errors
/// If the file cannot be opened, or is not safe.
pub fn create(path: &Path) -> Result<File, OutputFileError> {
    let cannot = |source| OutputFileError::Open { path: path.to_owned(), source };
    let not_safe = |what| OutputFileError::Unsafe { path: path.to_owned(), what };
    let Place { dir, name, follows } = match walk(path).map_err(cannot)? {
        Some(place) => place,
        None => return Err(not_safe("is behind a symbolic link of another user")),
    };
    let of_dir = dir.metadata().map_err(cannot)?;
    if follows {
        return open_in(&dir, &name, WRITE | libc::O_TRUNC).map_err(cannot);
    }
    if !is_foreign(&of_dir) {
        return open_in(&dir, &name, WRITE | libc::O_NOFOLLOW | libc::O_TRUNC).map_err(cannot);
    }
    // O_NONBLOCK: a pipe there may never get a reader.
    let file = match open_in(&dir, &name, WRITE | libc::O_NOFOLLOW | libc::O_NONBLOCK) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return match own_pipe(&dir, &name).map_err(cannot)? {
                Some(file) => Ok(file),
                None => Err(not_safe("belongs to another user")),
            };
        }
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(not_safe("is a symbolic link")),
        // The sysctl fs.protected_regular is on.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) && user() == 0 => {
            return Err(not_safe("may not be written to"));
        }
        opened => opened.map_err(cannot)?,
    };
    let of_file = file.metadata().map_err(cannot)?;
    let kind = of_file.file_type();
    let special = kind.is_fifo() || kind.is_char_device() || kind.is_block_device();
    // Emptying a file of the directory's owner harms only that owner; a pipe or device passes the output on at once.
    if !is_ours(of_file.uid()) && (special || of_file.uid() != of_dir.uid()) {
        return Err(not_safe("belongs to another user"));
    }
    if special {
        blocking(&file).map_err(cannot)?;
        return Ok(file);
    }
    if of_file.nlink() > 1 {
        return Err(not_safe("has a second name (a hard link)"));
    }
    file.set_len(0).map_err(cannot)?;
    Ok(file)
}

const WRITE: libc::c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_NOCTTY;
/// The most links to follow, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

/// The end of a path.
struct Place {
    dir: File,
    name: OsString,
    /// Whether the name is a link of /proc, which leads to an open file and not to a path.
    follows: bool,
}

/// Walks through `path` component by component; `None` at a link that others may have put there.
fn walk(path: &Path) -> io::Result<Option<Place>> {
    let mut left: Vec<OsString> = Vec::new();
    let mut dir = begin(path, &mut left)?;
    let mut links = 0;
    while let Some(name) = left.pop() {
        let last = left.is_empty();
        let entry = match open_in(&dir, &name, libc::O_PATH | libc::O_NOFOLLOW) {
            Err(error) if last && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Place { dir, name, follows: false }));
            }
            entry => entry?,
        };
        let (of_dir, of_entry) = (dir.metadata()?, entry.metadata()?);
        if !of_entry.is_symlink() {
            if last && name == ".." {
                break;
            }
            if last {
                return Ok(Some(Place { dir, name, follows: false }));
            }
            dir = open_in(&dir, &name, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
            continue;
        }
        if last && is_foreign(&of_dir) {
            // Opening it will fail, because it is a link.
            return Ok(Some(Place { dir, name, follows: false }));
        }
        let cannot_be_replaced = !is_foreign(&of_dir) || of_dir.mode() & libc::S_ISVTX != 0 && is_ours(of_dir.uid());
        if !is_ours(of_entry.uid()) || !cannot_be_replaced {
            return Ok(None);
        }
        if is_proc(&dir) {
            if last {
                return Ok(Some(Place { dir, name, follows: true }));
            }
            dir = open_in(&dir, &name, libc::O_PATH | libc::O_DIRECTORY)?;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target =
            PathBuf::from(OsString::from_vec(rustix::fs::readlinkat(&dir, name.as_os_str(), Vec::new())?.into_bytes()));
        let start = begin(&target, &mut left)?;
        if target.is_absolute() {
            dir = start;
        }
    }
    Err(io::Error::from_raw_os_error(libc::EISDIR))
}

/// Opens the directory where `path` begins; puts its components on `left`, the first one last.
fn begin(path: &Path, left: &mut Vec<OsString>) -> io::Result<File> {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => left.push(name.to_owned()),
            Component::ParentDir => left.push("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let start = if path.is_absolute() { "/" } else { "." };
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(start)
}

/// Whether others may put files into the directory.
fn is_foreign(of_dir: &Metadata) -> bool {
    of_dir.mode() & 0o022 != 0 || !is_ours(of_dir.uid())
}

/// Whether the user is root or the effective user. The caller of sudo is neither: sudo may permit only this command.
fn is_ours(uid: libc::uid_t) -> bool {
    uid == 0 || uid == user()
}

/// Opens a pipe without a reader: waits for one, if the pipe is our own.
fn own_pipe(dir: &File, name: &OsStr) -> io::Result<Option<File>> {
    let pipe = open_in(dir, name, libc::O_PATH | libc::O_NOFOLLOW)?;
    if !is_ours(pipe.metadata()?.uid()) {
        return Ok(None);
    }
    OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", pipe.as_raw_fd())).map(Some)
}

/// Clears `O_NONBLOCK`.
fn blocking(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags - rustix::fs::OFlags::NONBLOCK)?)
}

fn is_proc(dir: &File) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|of| of.f_type == libc::PROC_SUPER_MAGIC)
}

fn user() -> libc::uid_t {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

fn open_in(dir: &File, name: &OsStr, flags: libc::c_int) -> io::Result<File> {
    let (name, flags) = (CString::new(name.as_bytes())?, flags | libc::O_CLOEXEC);
    // SAFETY: a live descriptor and a C string that lives through the call.
    let fd = unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, 0o600 as libc::c_uint) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Opens the same pipe again without blocking, so that the number of delivered bytes is known. The
/// descriptors of other processes stay as they are. Returns `file` itself if it is no pipe, or /proc is
/// not usable.
#[must_use]
pub fn own_description(file: File) -> File {
    if !file.metadata().is_ok_and(|of_file| of_file.file_type().is_fifo()) {
        return file;
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap_or(file)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// A temporary directory, removed when dropped.
    struct Dir(PathBuf);

    impl Dir {
        fn new(mode: u32) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("tracer-output-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let dir = std::env::temp_dir().join(name);
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            Self(dir)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_file_is_for_its_owner_and_an_old_one_is_emptied() {
        for mode in [0o700, 0o755, 0o1777] {
            let dir = Dir::new(mode);
            let path = dir.file("out");
            create(&path).unwrap().write_all(b"first, and longer").unwrap();
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
            create(&path).unwrap().write_all(b"second").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"second");
        }
    }

    #[test]
    fn links_are_followed_only_where_nobody_else_can_make_them() {
        for (mode, followed) in [(0o755, true), (0o1777, false), (0o777, false), (0o770, false)] {
            let dir = Dir::new(mode);
            let (target, link) = (dir.file("target"), dir.file("link"));
            fs::write(&target, "precious").unwrap();
            symlink(&target, &link).unwrap();
            let error = create(&link).err().map(|error| error.to_string());
            assert_eq!(error.is_none(), followed, "{mode:o}");
            assert_eq!(fs::read(&target).unwrap().is_empty(), followed, "{mode:o}");
            if let Some(error) = error {
                assert!(error.contains("symbolic link"), "{error}");
            }
        }
    }

    #[test]
    fn a_second_name_is_refused_where_somebody_else_can_make_it() {
        let dir = Dir::new(0o1777);
        let (precious, link) = (dir.file("precious"), dir.file("link"));
        fs::write(&precious, "precious").unwrap();
        fs::hard_link(&precious, &link).unwrap();
        assert!(create(&link).unwrap_err().to_string().contains("hard link"));
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }

    #[test]
    fn a_name_that_cannot_be_made_says_why() {
        let dir = Dir::new(0o755);
        for (path, why) in [
            (dir.file("nowhere/out"), "No such file"),
            (dir.0.clone(), "directory"),
            (PathBuf::from("/"), "directory"),
            (dir.file("out/.."), "directory"),
        ] {
            let error = create(&path).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("-o"), "{path:?}: {error}");
        }
    }

    #[test]
    fn devices_are_written_to() {
        create(Path::new("/dev/null")).unwrap().write_all(b"x").unwrap();
    }
}
