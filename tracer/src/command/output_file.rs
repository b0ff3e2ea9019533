//! The file that `-o` names. It is opened as root, perhaps in a directory where everybody may make files
//! and links.

use std::{
    ffi::{CString, OsStr},
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::{
            ffi::OsStrExt as _,
            fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Component, Path, PathBuf},
};

/// Why a file is not written to. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OutputFileError {
    /// It cannot be opened.
    #[error("cannot write to {path:?} ({source}): name a file that can be created with -o")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else may have made it so that we write somewhere else.
    #[error(
        "{path:?} {what}, in a directory where others may have put it: name another file with -o, or remove this one"
    )]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

/// Opens `path` to write to, emptied, or made with mode 0600.
///
/// In a directory that not only its owner may write to: never through a symbolic link, and no file of
/// another owner than us or the directory's (as the sysctl `fs.protected_regular` has it, which need not be
/// on), or with a second name. Nor by way of a directory that is a link of another owner there (as
/// `fs.protected_symlinks` has it). Pipes and devices are the user's business.
///
/// # Errors
/// If it cannot be opened, or should not.
pub fn create(path: &Path) -> Result<File, OutputFileError> {
    let cannot = |source| OutputFileError::Open { path: path.to_owned(), source };
    let not_safe = |what| OutputFileError::Unsafe { path: path.to_owned(), what };
    let Some(Component::Normal(name)) = path.components().next_back() else {
        return Err(cannot(io::Error::from_raw_os_error(libc::EISDIR)));
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The directory itself, whatever its name leads to later.
    let Some(dir) = open_dir(dir).map_err(cannot)? else {
        return Err(not_safe("is to be reached by a symbolic link of another user"));
    };
    let of_dir = dir.metadata().map_err(cannot)?;
    if !is_shared(&of_dir) {
        return open_in(&dir, name, WRITE | libc::O_TRUNC).map_err(cannot);
    }
    let file = match open_in(&dir, name, WRITE | libc::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(not_safe("is a symbolic link")),
        // The sysctl is on.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) && user() == 0 => {
            return Err(not_safe("may not be written to"));
        }
        opened => opened.map_err(cannot)?,
    };
    let of_file = file.metadata().map_err(cannot)?;
    let kind = of_file.file_type();
    if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
        return Ok(file);
    }
    if !is_trusted(&of_file, &of_dir) {
        return Err(not_safe("belongs to another user"));
    }
    if of_file.nlink() > 1 {
        return Err(not_safe("has a second name (a hard link)"));
    }
    file.set_len(0).map_err(cannot)?;
    Ok(file)
}

const WRITE: libc::c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_NOCTTY;

/// Opens a directory, component by component; `None` if one of them is a link that others may have put there.
fn open_dir(path: &Path) -> io::Result<Option<File>> {
    let start = if path.is_absolute() { "/" } else { "." };
    let mut dir = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(start)?;
    for component in path.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => OsStr::new(".."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        let of_dir = dir.metadata()?;
        if is_shared(&of_dir) {
            let link = open_in(&dir, name, libc::O_PATH | libc::O_NOFOLLOW)?.metadata()?;
            // What is ours or the directory's owner's nobody else can put something else for.
            if link.is_symlink() && !is_trusted(&link, &of_dir) {
                return Ok(None);
            }
        }
        dir = open_in(&dir, name, libc::O_PATH | libc::O_DIRECTORY)?;
    }
    Ok(Some(dir))
}

/// Not only its owner may write to it.
fn is_shared(of_dir: &Metadata) -> bool {
    of_dir.mode() & 0o022 != 0
}

/// It is ours, or the directory's owner's.
fn is_trusted(of_file: &Metadata, of_dir: &Metadata) -> bool {
    of_file.uid() == user() || of_file.uid() == of_dir.uid()
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
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// The same pipe by a descriptor of our own, which does not block: then it is known how much of what is
/// written to it has arrived. Others keep theirs as it is. Anything else, and where /proc cannot be
/// used, is given back.
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

    /// A directory of mode `mode`; gone when dropped.
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
