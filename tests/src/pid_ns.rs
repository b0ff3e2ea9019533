//! A pid namespace with a /proc of its own, and commands in it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::traffic::sys::until;

/// It lives until it is dropped, and its processes with it.
#[derive(Debug)]
pub struct PidNs {
    holder: Child,
    pids: File,
    mounts: File,
}

impl PidNs {
    /// Makes a namespace, below this one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let mut first = None;
        let come = until(|| {
            let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id()));
            first = children.ok().and_then(|children| children.split_whitespace().next().map(str::to_owned));
            // It has its /proc once its first process has executed its program.
            let Some(first) = &first else { return Ok(false) };
            Ok(std::fs::read_to_string(format!("/proc/{first}/comm")).is_ok_and(|comm| comm.trim() == "sleep"))
        });
        assert_eq!(come, Ok(()), "a pid namespace is made");
        let first = first.expect("it has a first process");
        let open = |name: &str| File::open(format!("/proc/{first}/ns/{name}")).expect("a namespace is opened");
        let (pids, mounts) = (open("pid"), open("mnt"));
        Self { holder, pids, mounts }
    }

    /// `program`, with this namespace's /proc. Start it inside [`Self::within`].
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mounts = self.mounts.as_raw_fd();
        let mut command = Command::new(program);
        // SAFETY: one system call between fork and exec; the descriptor lives as long as this.
        unsafe {
            command.pre_exec(move || match libc::setns(mounts, libc::CLONE_NEWNS) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        command
    }

    /// Calls `call` in a thread whose children are in this namespace. The thread is in the caller's network namespace.
    ///
    /// # Panics
    /// If it panics.
    pub fn within<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        let pids = self.pids.as_raw_fd();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // SAFETY: takes no pointers; what it changes is this thread's.
                assert_eq!(unsafe { libc::setns(pids, libc::CLONE_NEWPID) }, 0, "the namespace is entered");
                call()
            });
            inside.join().expect("nothing panics inside")
        })
    }
}

impl Default for PidNs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PidNs {
    fn drop(&mut self) {
        // With its first process all others go.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
