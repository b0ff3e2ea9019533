//! Finds the number of a cgroup that BPF programs compare.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tracer_filter::kernel::CgroupId;
use tracer_host::proc::cgroup::v2_root;

/// The inode number, and so the cgroup id, of the root of the whole hierarchy. The root in a cgroup namespace has
/// another: its levels differ from those that the kernel counts.
const ROOT_ID: u64 = 1;

/// The cgroup at `path` (from the hierarchy's root, empty for the root itself) below the mount point `mount`
/// (`/sys/fs/cgroup`). `None` if that number cannot identify its processes: no such cgroup, no v2 hierarchy, a cgroup
/// namespace, or, on a hybrid host, a v1 hierarchy with the same path, because the user may mean a process that is in it
/// and elsewhere in v2.
#[must_use]
pub fn find(mount: &Path, path: &str) -> Option<CgroupId> {
    let relative = path.trim_start_matches('/');
    let root = v2_root(mount)?;
    if root != mount {
        let in_v1 = fs::read_dir(mount)
            .ok()?
            .flatten()
            .any(|entry| !root.ends_with(entry.file_name()) && entry.path().join(relative).exists());
        if in_v1 {
            return None;
        }
    }
    if fs::metadata(&root).ok()?.ino() != ROOT_ID {
        return None;
    }
    let level = relative.split('/').filter(|part| !part.is_empty()).count();
    Some(CgroupId { id: fs::metadata(root.join(relative)).ok()?.ino(), level: u32::try_from(level).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of this machine's v2 hierarchy, whatever its layout.
    #[test]
    fn the_root_is_found_only_where_it_is_the_real_one() {
        let mount = Path::new("/sys/fs/cgroup");
        let pure = mount.join("cgroup.controllers").exists();
        match find(mount, "") {
            Some(found) => {
                assert!(pure, "on a hybrid host every v1 hierarchy has a root too");
                assert_eq!(found, CgroupId { id: ROOT_ID, level: 0 });
            }
            None => assert!(!pure || fs::metadata(mount).map(|m| m.ino()).ok() != Some(ROOT_ID)),
        }
        assert_eq!(find(mount, "/no-such-cgroup-here"), None);
        assert_eq!(find(Path::new("/nonexistent"), "/"), None);
    }

    #[test]
    fn a_copy_of_the_files_is_no_hierarchy() {
        let root = std::env::temp_dir().join(format!("tracer-cgroup-{}", std::process::id()));
        let made = fs::create_dir_all(root.join("a")).and_then(|()| fs::write(root.join("cgroup.controllers"), ""));
        let found = find(&root, "/a");
        let _ = fs::remove_dir_all(&root);
        assert!(made.is_ok());
        assert_eq!(found, None, "its root does not have the number of a real root");
    }
}
