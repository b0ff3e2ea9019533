//! The systemd unit that a cgroup path names.

/// Suffixes of units that have processes; slices have only units.
const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// Returns the unit of the processes in `cgroup_path`; `None` if the path names none. Below a user's manager
/// (`user@1000.service`) it is the unit of that manager, which the user chooses. As in `sd_pid_get_unit`, the names
/// below a unit do not count.
#[must_use]
pub fn unit(cgroup_path: &str) -> Option<String> {
    let mut names = cgroup_path.split('/').filter(|name| !name.is_empty() && *name != "..");
    let unit = first(&mut names)?;
    if unit.starts_with("user@") && unit.ends_with(".service") {
        return Some(first(&mut names).unwrap_or(unit).to_owned());
    }
    Some(unit.to_owned())
}

/// Takes the first unit after any slices.
fn first<'a>(names: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = names.find(|name| !name.ends_with(".slice"))?;
    // systemd puts this before a name that could pass for a file of the kernel (`cg_escape`).
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
