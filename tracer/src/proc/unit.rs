//! The unit of systemd that a cgroup path names.

/// Ends of the names of units that have processes; slices have units only.
const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The unit that the processes of `cgroup_path` belong to: below a user's manager (`user@1000.service`) the unit of that
/// manager, which is the user's to choose; `None` if the path names none. As in `sd_pid_get_unit`, what stands below a
/// unit is its own affair.
#[must_use]
pub fn unit(cgroup_path: &str) -> Option<String> {
    let mut names = cgroup_path.split('/').filter(|name| !name.is_empty() && *name != "..");
    let unit = first(&mut names)?;
    if unit.starts_with("user@") && unit.ends_with(".service") {
        return Some(first(&mut names).unwrap_or(unit).to_owned());
    }
    Some(unit.to_owned())
}

/// The first unit after any slices.
fn first<'a>(names: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = names.find(|name| !name.ends_with(".slice"))?;
    // A name that could be taken for a file of the kernel's has this before it (`cg_escape`).
    let name = name.strip_prefix('_').unwrap_or(name);
    KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (path, expected) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/system.slice/nginx.service/workers", Some("nginx.service")),
            ("/system.slice/docker-0a.scope/system.slice/inner.service", Some("docker-0a.scope")),
            ("/user.slice/user-0.slice/session-4.scope", Some("session-4.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service", Some("app-x.service")),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("init.scope")),
            ("/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service")),
            ("/init.scope", Some("init.scope")),
            ("/system.slice/_cgroup.service", Some("cgroup.service")),
            ("/../../system.slice/a.service", Some("a.service")),
            ("/", None),
            ("/docker/0a", None),
            ("/libpod_parent/libpod-0a", None),
            ("/system.slice", None),
            ("/mine/a.service", None),
            ("/system.slice/.service", None),
            ("", None),
        ] {
            assert_eq!(unit(path).as_deref(), expected, "{path:?}");
        }
    }
}
