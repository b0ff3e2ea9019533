//! A control group with little memory.

use std::path::{Path, PathBuf};

use crate::netns::unique;
use crate::skip::lacks;

/// A group made by a test, in either version of the hierarchy. Removed when dropped.
#[derive(Debug)]
pub struct MemoryLimit {
    dir: PathBuf,
    /// The file with the limit.
    most: &'static str,
}

impl MemoryLimit {
    /// A group with room for `bytes` bytes, and none in swap.
    ///
    /// # Errors
    /// The reason to skip.
    pub fn new(bytes: u64) -> Result<Self, String> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, files) = if v1.join("memory.limit_in_bytes").is_file() {
            (v1.to_owned(), ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"])
        } else {
            let root = crate::cgroup::root()?;
            std::fs::write(root.join("cgroup.subtree_control"), "+memory")
                .map_err(|e| lacks("memory controller", format!("{}: {e}", root.display())))?;
            (root, ["memory.max", "memory.swap.max"])
        };
        let dir = root.join(format!("tracer-test-{}-{}", std::process::id(), unique()));
        std::fs::create_dir(&dir).map_err(|e| lacks("memory controller", format!("{}: {e}", dir.display())))?;
        let [most, swap] = files;
        let group = Self { dir, most };
        std::fs::write(group.dir.join(most), bytes.to_string())
            .map_err(|e| lacks("memory controller", format!("{most}: {e}")))?;
        // A kernel without swap has no such file.
        let _ = std::fs::write(group.dir.join(swap), if swap == "memory.swap.max" { 0 } else { bytes }.to_string());
        Ok(group)
    }

    /// Changes the limit.
    ///
    /// # Panics
    /// If the kernel cannot: more is in use, and cannot be freed.
    pub fn set(&self, bytes: u64) {
        std::fs::write(self.dir.join(self.most), bytes.to_string()).expect("the limit is set");
    }

    /// The bytes in use.
    ///
    /// # Panics
    /// If the kernel gives no answer.
    #[must_use]
    pub fn used(&self) -> u64 {
        let file = if self.most == "memory.max" { "memory.current" } else { "memory.usage_in_bytes" };
        let text = std::fs::read_to_string(self.dir.join(file)).expect("the use is read");
        text.trim().parse().expect("it is a number")
    }

    /// The file to which a process writes 0 to join.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A killed process leaves once the kernel has got to it.
        if crate::traffic::sys::until(|| Ok(std::fs::remove_dir(&self.dir).is_ok())).is_err() {
            println!("{} stays", self.dir.display());
        }
    }
}
