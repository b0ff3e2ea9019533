//! The cgroup path of a process, from /proc/PID/cgroup.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::container::container;

/// The kernel appends this to the v2 path of a removed cgroup.
const DELETED: &str = " (deleted)";

/// Returns the most specific path in a /proc/PID/cgroup; `None` if there is none.
///
/// With several hierarchies (cgroup v1, or v1 beside v2) a path that names a container wins, then
/// one below the root. Among equals: v2 (`0::`), `name=systemd`, `pids`, `memory`, then the
/// longest. Bytes that are not UTF-8 are replaced.
///
/// # Errors
/// Errors of reading.
pub fn cgroup_path(mut proc_pid_cgroup: impl BufRead) -> io::Result<Option<String>> {
    let mut best: Option<((u8, bool, u8, usize), String)> = None;
    let mut line = Vec::new();
    while proc_pid_cgroup.read_until(b'\n', &mut line)? != 0 {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
        if let Some((controllers, path)) = fields(&text) {
            let rank = (containers(path), path != "/", weight(controllers), path.len());
            if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                best = Some((rank, path.to_owned()));
            }
        }
        line.clear();
    }
    Ok(best.map(|(_, path)| path))
}

/// Returns the root of the version 2 hierarchy below `mount` (`/sys/fs/cgroup`): that folder, or `unified` in it on a
/// hybrid host. `None` if there is no such hierarchy.
#[must_use]
pub fn v2_root(mount: &Path) -> Option<PathBuf> {
    [mount.to_owned(), mount.join("unified")].into_iter().find(|root| root.join("cgroup.controllers").exists())
}

/// Splits a line `id:controllers:path` into controllers and path.
fn fields(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let path = if controllers.is_empty() { path.strip_suffix(DELETED).unwrap_or(path) } else { path };
    path.starts_with('/').then_some((controllers, path))
}

/// Rates a path by its container: a claimed one never hides a runtime's.
fn containers(path: &str) -> u8 {
    container(path).map_or(0, |container| if container.claimed { 1 } else { 2 })
}

/// Rates a hierarchy: those that service managers and runtimes always use win.
fn weight(controllers: &str) -> u8 {
    let has = |name| controllers.split(',').any(|controller| controller == name);
    match controllers {
        "" => 4,
        "name=systemd" => 3,
        _ if has("pids") => 2,
        _ if has("memory") => 1,
        _ => 0,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use tracer_fuzz::fuzz;

    const ID: &str = "3f5c8a2be7d1904c6ab8f0e2d4c6b8a0918273645afbecd0123456789abcdef0";

    fn path(text: &str) -> Option<String> {
        cgroup_path(text.as_bytes()).unwrap()
    }

    #[test]
    fn v2_only() {
        assert_eq!(
            path("0::/user.slice/user-0.slice/session-4.scope\n").unwrap(),
            "/user.slice/user-0.slice/session-4.scope"
        );
        assert_eq!(path("0::/\n").unwrap(), "/");
        assert_eq!(path("0::/system.slice/foo.service (deleted)\n").unwrap(), "/system.slice/foo.service");
    }

    #[test]
    fn v1_only_takes_systemd_then_pids_then_memory_then_the_longest() {
        let systemd = "12:pids:/a/b/c\n11:memory:/x/y/z/longer\n1:name=systemd:/user.slice\n";
        assert_eq!(path(systemd).unwrap(), "/user.slice");
        assert_eq!(path("11:memory:/x/y/z/longer\n12:pids:/a/b\n").unwrap(), "/a/b");
        assert_eq!(path("5:cpu,cpuacct:/cpu/longer\n11:memory:/m\n").unwrap(), "/m");
        assert_eq!(path("5:cpu,cpuacct:/cpu\n6:freezer:/freezer\n").unwrap(), "/freezer");
    }

    #[test]
    fn hybrid_takes_the_container_wherever_it_is_named() {
        let text = format!(
            "11:pids:/docker/{ID}\n4:memory:/docker/{ID}\n1:name=systemd:/\n0::/system.slice/containerd.service\n"
        );
        assert_eq!(path(&text).unwrap(), format!("/docker/{ID}"));
    }

    #[test]
    fn hybrid_without_a_container_takes_v2_unless_it_is_the_root() {
        let text = "9:name=systemd:/system.slice/a.service\n4:memory:/m/longer/path\n0::/system.slice/b.service\n";
        assert_eq!(path(text).unwrap(), "/system.slice/b.service");
        let text = "9:name=systemd:/\n8:pids:/\n4:memory:/jobs/6ecd66\n0::/\n";
        assert_eq!(path(text).unwrap(), "/jobs/6ecd66");
        assert_eq!(path("9:name=systemd:/\n0::/\n").unwrap(), "/");
    }

    #[test]
    fn paths_may_hold_colons_and_any_bytes() {
        let text = format!("0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}\n");
        assert!(path(&text).unwrap().ends_with(ID));
        assert_eq!(cgroup_path(&b"0::/a\xffb\n"[..]).unwrap().unwrap(), "/a\u{fffd}b");
    }

    #[test]
    fn other_lines_are_no_paths() {
        for text in ["", "\n", "0\n", "0:\n", "0::\n", "0::relative\n", "::\n"] {
            assert_eq!(path(text), None, "{text:?}");
        }
        assert_eq!(path("0::/unended").unwrap(), "/unended");
    }

    #[test]
    fn garbage_is_a_path_or_none() {
        let seeds = [
            format!("11:pids:/docker/{ID}\n4:memory:/lxc/x\n1:name=systemd:/\n0::/a.service (deleted)\n"),
            format!("0::/kubepods.slice/cri-containerd-{ID}.scope\n"),
            "0::/machine.slice/machine-lxc\\x2d7\\x2dweb.scope\n1:cpu:/lxc.payload.web\n".to_owned(),
        ];
        fuzz(&seeds.map(String::into_bytes), |input| {
            if let Some(path) = cgroup_path(input).unwrap() {
                assert!(path.starts_with('/'), "{input:?}");
                assert!(container(&path).is_none_or(|container| !container.id.is_empty()), "{input:?}");
            }
        });
    }

    #[test]
    fn own() {
        let file = std::fs::File::open("/proc/self/cgroup").unwrap();
        assert!(cgroup_path(io::BufReader::new(file)).unwrap().unwrap().starts_with('/'));
    }
}
