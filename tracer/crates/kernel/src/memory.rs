//! The room within the memory limits of our control group. The kernel charges the rings to it, and while it allocates
//! them it may kill the process for any other thread that touches new memory: then no message is possible. So tracer
//! checks for room first.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The least memory needed beside the ring of events: the other maps, programs, types, the snapshot.
const BESIDE: u64 = 8 << 20;

/// The file names of the two versions of the hierarchy.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Of `memory.stat`: file cache, which the kernel reclaims first.
    cache: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
};
const V2: Files = Files { limit: "memory.max", used: "memory.current", cache: ["inactive_file", "active_file"] };

/// Whether a ring of `ring_bytes` has room in our control group. If that cannot be read, the kernel decides.
///
/// # Errors
/// The number of bytes left, if there is too little room.
pub fn has_room(ring_bytes: u32) -> Result<(), u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match room(&groups, Path::new("/sys/fs/cgroup")) {
        Some(room) if room < u64::from(ring_bytes) + BESIDE => Err(room),
        _ => Ok(()),
    }
}

/// The least room in the group and in those above it; `groups` is a /proc/PID/cgroup. `None`: no limit.
fn room(groups: &str, root: &Path) -> Option<u64> {
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (base, files) = match controllers {
            "" => (root.to_owned(), &V2),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), &V1),
            _ => return None,
        };
        least(&base, path, files)
    };
    groups.lines().filter_map(group).min()
}

fn least(base: &Path, path: &str, files: &Files) -> Option<u64> {
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let path = Path::new(path.trim_start_matches('/'));
    let of = |below: &Path| {
        let dir = base.join(below);
        // `max` is no number. Version 1 has a number larger than any memory.
        let limit = number(dir.join(files.limit)).filter(|limit| *limit < 1 << 60)?;
        let used = number(dir.join(files.used))?;
        let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let of_cache = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            files.cache.contains(&key).then(|| value.parse::<u64>().ok())?
        };
        let cache: u64 = stat.lines().filter_map(of_cache).sum();
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    };
    path.ancestors().filter_map(of).min()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A hierarchy in a directory, removed when dropped.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("tracer-memory-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_narrowest_group_counts() {
        let tree = Tree::new(
            "v2",
            &[
                ("a/memory.max", "1000\n"),
                ("a/memory.current", "700\n"),
                ("a/memory.stat", "anon 500\ninactive_file 150\nactive_file 50\nfile 1\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/memory.current", "600\n"),
                ("a/c/memory.max", "800\n"),
                ("a/c/memory.current", "900\n"),
            ],
        );
        assert_eq!(room("0::/a/b\n", &tree.0), Some(500));
        assert_eq!(room("0::/a/c\n", &tree.0), Some(0));
        assert_eq!(room("0::/elsewhere\n", &tree.0), None);
        assert_eq!(room("", &tree.0), None);
    }

    #[test]
    fn the_first_version_has_a_place_of_its_own() {
        let tree = Tree::new(
            "v1",
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.usage_in_bytes", "5\n"),
                ("memory/x/memory.limit_in_bytes", "4096\n"),
                ("memory/x/memory.usage_in_bytes", "1000\n"),
                ("memory/x/memory.stat", "cache 1\ntotal_inactive_file 300\ntotal_active_file 4\n"),
            ],
        );
        assert_eq!(room("5:cpu,cpuacct:/y\n7:memory:/x\n0::/z\n", &tree.0), Some(4096 - 696));
        assert_eq!(room("7:memory:/\n", &tree.0), None);
    }
}
