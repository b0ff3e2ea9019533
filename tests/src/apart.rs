//! A command in a mount namespace of its own: its mounts and unmounts are invisible elsewhere, and vanish with the
//! command.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The steps before the command begins, in this order. All is prepared, so that only system calls are made between fork
/// and exec.
#[derive(Debug, Default)]
pub struct Apart {
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Mount { source: CString, target: CString, kind: CString, flags: libc::c_ulong, data: CString },
    Unmount(CString),
    Touch(CString),
    Stdout(CString),
    Group(CString),
}

fn text(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).expect("a path has no zeros")
}

fn done(value: libc::c_int) -> std::io::Result<libc::c_int> {
    if value < 0 { Err(std::io::Error::last_os_error()) } else { Ok(value) }
}

impl Step {
    fn take(&self) -> std::io::Result<()> {
        const WRITE: libc::c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC;
        // SAFETY: the strings live in the step; descriptors are those just made.
        unsafe {
            match self {
                Self::Mount { source, target, kind, flags, data } => {
                    let data = data.as_ptr().cast();
                    done(libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), *flags, data))?;
                }
                Self::Unmount(target) => {
                    done(libc::umount2(target.as_ptr(), libc::MNT_DETACH))?;
                }
                Self::Touch(path) => {
                    done(libc::close(done(libc::open(path.as_ptr(), WRITE, 0o600))?))?;
                }
                Self::Stdout(path) => {
                    done(libc::dup2(done(libc::open(path.as_ptr(), WRITE, 0o600))?, 1))?;
                }
                Self::Group(procs) => {
                    let fd = done(libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
                    // 0 stands for the writer.
                    if libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                        return Err(std::io::Error::last_os_error());
                    }
                    done(libc::close(fd))?;
                }
            }
        }
        Ok(())
    }
}

impl Apart {
    /// No step so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Mounts an empty file system of `kind` at `target`; `data` are its options.
    #[must_use]
    pub fn mount(self, kind: &str, target: impl AsRef<Path>, data: &str) -> Self {
        let (source, data) = (text("test"), text(data));
        self.step(Step::Mount { source, target: text(target), kind: text(kind), flags: 0, data })
    }

    /// Mounts `source` at `target` as well.
    #[must_use]
    pub fn bind(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        let (source, target, none) = (text(source), text(target), text(""));
        self.step(Step::Mount { source, target, kind: none.clone(), flags: libc::MS_BIND, data: none })
    }

    /// Like [`Apart::bind`], with the mounts below it.
    #[must_use]
    pub fn bind_all(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        let (source, target, none) = (text(source), text(target), text(""));
        let flags = libc::MS_BIND | libc::MS_REC;
        self.step(Step::Mount { source, target, kind: none.clone(), flags, data: none })
    }

    /// Unmounts `target`.
    #[must_use]
    pub fn unmount(self, target: impl AsRef<Path>) -> Self {
        self.step(Step::Unmount(text(target)))
    }

    /// Makes an empty file.
    #[must_use]
    pub fn touch(self, path: impl AsRef<Path>) -> Self {
        self.step(Step::Touch(text(path)))
    }

    /// Redirects stdout to a new file there; spawn with an inherited stdout.
    #[must_use]
    pub fn stdout(self, path: impl AsRef<Path>) -> Self {
        self.step(Step::Stdout(text(path)))
    }

    /// Joins the control group with this `cgroup.procs`.
    #[must_use]
    pub fn in_group(self, procs: impl AsRef<Path>) -> Self {
        self.step(Step::Group(text(procs)))
    }

    /// The prepared command `program ARGS`. It does not start if a step fails.
    #[must_use]
    pub fn command(self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command.args(args);
        // SAFETY: only system calls are made between fork and exec.
        unsafe {
            command.pre_exec(move || {
                done(libc::unshare(libc::CLONE_NEWNS))?;
                let private = libc::MS_REC | libc::MS_PRIVATE;
                done(libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()))?;
                self.steps.iter().try_for_each(Step::take)
            });
        }
        command
    }
}
