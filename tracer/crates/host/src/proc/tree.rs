//! Trees for the tests of this module.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A temporary directory, removed at the end.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tracer-proc-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.parent(name), content).unwrap();
    }

    pub(crate) fn link(&self, name: &str, text: impl AsRef<Path>) {
        symlink(text, self.parent(name)).unwrap();
    }

    /// Adds a process that started at `ticks`.
    pub(crate) fn process(&self, pid: u32, comm: &str, ticks: u64) {
        self.file(&format!("{pid}/stat"), stat(pid, comm, ticks));
    }

    fn parent(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Formats a /proc/PID/stat like the kernel.
pub(crate) fn stat(pid: u32, comm: &str, ticks: u64) -> String {
    format!(
        "{pid} ({comm}) S 1 {pid} {pid} 0 -1 4194560 4563 60011 91 1008 36 21 208 140 20 0 1 0 {ticks} 172244992 \
         3289 18446744073709551615 1 1 0 0 0 0 671173123 4096 1260 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    )
}
