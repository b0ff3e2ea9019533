//! A process whose memory cannot be read: see [`crate::traffic::stuck`].
//!
//! This module does not read its memory either: not its arguments, its maps, nor its environment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::generator::traffic;
use crate::netns::{self, Netns};
use crate::skip::lacks;
use crate::traffic::sys::until;

/// The process, and the file system that it waits for. Both are gone when dropped.
#[derive(Debug)]
pub struct Stuck {
    server: Child,
    letters: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    dir: PathBuf,
    thread: u32,
    /// The process's number.
    pub pid: u32,
}

impl Stuck {
    /// Starts the process in `ns`. It is not stuck yet; it will connect to `to`.
    ///
    /// # Errors
    /// The reason to skip.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(ns: &Netns, to: SocketAddr) -> Result<Self, String> {
        let dir = netns::scratch().join(format!("stuck-{}", netns::unique()));
        std::fs::create_dir(&dir).expect("the place of the file system is made");
        let mut command = traffic(ns);
        command.arg("stuck").arg(&dir).arg(to.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut server = command.spawn().expect("the traffic binary starts");
        let letters = server.stdin.take();
        let lines = BufReader::new(server.stdout.take().expect("stdout is piped"));
        let mut stuck = Self { server, letters, lines, dir, thread: 0, pid: 0 };
        // The two lines come from two processes.
        while stuck.pid == 0 || stuck.thread == 0 {
            let line = stuck.line();
            let number = || line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
            match line.split(' ').next() {
                Some("process") => stuck.pid = number(),
                Some("thread") => stuck.thread = number(),
                _ => return Err(lacks("fuse", line)),
            }
        }
        Ok(stuck)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the process has ended");
        line.trim_end().to_owned()
    }

    fn order(&mut self, letter: u8) {
        let letters = self.letters.as_mut().expect("it has an input");
        letters.write_all(&[letter]).and_then(|()| letters.flush()).expect("it reads");
    }

    /// Makes every reader of its memory wait.
    ///
    /// # Panics
    /// If the process does not get stuck.
    pub fn stick(&mut self) {
        self.order(b't');
        assert_eq!(self.line(), "held");
        self.order(b'w');
        let stat = format!("/proc/{0}/task/{1}/stat", self.pid, self.thread);
        let waits = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            Ok(stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" D")))
        };
        until(waits).expect("its thread waits for the lock");
    }

    /// Makes it begin to connect.
    pub fn connect(&mut self) {
        self.order(b'c');
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // With the file system's descriptor its requests end, and the process is free to end.
        let _ = self.server.kill();
        let _ = self.server.wait();
        drop(self.letters.take());
        // Both keep it open as long as they live.
        let _ = self.lines.read_to_end(&mut Vec::new());
        let _ = std::fs::remove_dir(&self.dir);
    }
}
