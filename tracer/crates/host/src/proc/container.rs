//! The container that a cgroup path names.
//!
//! The runtimes name their cgroups in different ways, and each in several (by the cgroup driver,
//! the version, and the starter). A path is only a name: a user with a delegated subtree can make a
//! cgroup that looks like a container's. So a container outside a runtime's own place is `claimed`
//! (`parent`).

mod parent;

use tracer_stream::Container;

const DOCKER: &str = "docker";
const CONTAINERD: &str = "containerd";
const CRI_O: &str = "cri-o";
const PODMAN: &str = "podman";
const LXC: &str = "lxc";
const NSPAWN: &str = "nspawn";
const UNKNOWN: &str = "unknown";

/// Prefixes of the id in the runtimes' names: `PREFIX-ID.scope` (systemd), `PREFIX-ID` (cgroupfs) and
/// `SLICE:PREFIX:ID` (a systemd path given to a cgroupfs driver). The prefixes of monitors
/// (`crio-conmon`, `libpod-conmon`) are left out: they run outside the container.
const PREFIXES: [(&str, &str); 6] = [
    ("docker", DOCKER),
    ("cri-containerd", CONTAINERD),
    ("nerdctl", CONTAINERD),
    ("crio", CRI_O),
    ("libpod", PODMAN),
    ("libpod-payload", PODMAN),
];

/// Returns the innermost container that `cgroup_path` names; `None` if it names none.
///
/// The runtime is `unknown` if the path has only an id: a pod's cgroup of the cgroupfs driver, or a
/// parent that the user chose (`--cgroup-parent`).
#[must_use]
pub fn container(cgroup_path: &str) -> Option<Container> {
    let mut path = cgroup_path.trim_end_matches('/');
    let mut child = "";
    // From the innermost outwards: a container may make any cgroups below its own.
    while let Some((above, name)) = path.rsplit_once('/') {
        let parent = above.rsplit_once('/').map_or(above, |(_, parent)| parent);
        if let Some((runtime, id)) = named(above, parent, name, child) {
            let is_container = |above: &str, name: &str, child: &str| {
                named(above, above.rsplit_once('/').map_or("", |(_, parent)| parent), name, child).is_some()
            };
            let claimed = !parent::is_runtimes(above, is_container);
            return Some(Container { runtime, id, claimed });
        }
        child = name;
        path = above;
    }
    None
}

/// Returns runtime and id, if the directory `name` is a container's; `above` is the path of its
/// parent, `child` the name of the directory below it on the path.
fn named(above: &str, parent: &str, name: &str, child: &str) -> Option<(&'static str, String)> {
    if is_id(name) {
        let runtime = match parent {
            "docker" => DOCKER,
            // containerd's own default is /NAMESPACE/ID.
            "default" | "k8s.io" if above.len() == parent.len() + 1 => CONTAINERD,
            _ => UNKNOWN,
        };
        return Some((runtime, name.to_owned()));
    }
    // Fargate: an ECS id with a number, below one of the task.
    if is_ecs_id(name) && (above == "/ecs" || above.contains("/ecs/")) {
        return Some((UNKNOWN, name.to_owned()));
    }
    prefixed(name)
        .map(|(runtime, id)| (runtime, id.to_owned()))
        .or_else(|| lxc(parent, name).map(|id| (LXC, id.to_owned())))
        .or_else(|| machine(parent, name, child))
}

/// Whether `name` is 64 lower-case hexadecimal digits, the id of all OCI engines.
fn is_id(name: &str) -> bool {
    name.len() == 64 && is_hexadecimal(name)
}

/// Whether `name` is a task's id, 32 lower-case hexadecimal digits, and a number.
fn is_ecs_id(name: &str) -> bool {
    name.split_once('-').is_some_and(|(task, number)| task.len() == 32 && is_hexadecimal(task) && is_number(number))
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn prefixed(name: &str) -> Option<(&'static str, &str)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = match name.rsplit_once(':') {
        Some((rest, id)) => (rest.rsplit_once(':')?.1, id),
        None => name.rsplit_once('-')?,
    };
    if !is_id(id) {
        return None;
    }
    PREFIXES.iter().find(|(known, _)| *known == prefix).map(|&(_, runtime)| (runtime, id))
}

/// Returns the name in `lxc/NAME` (LXC 1–3, Proxmox), `lxc.payload/NAME` (LXC 3.1) and
/// `lxc.payload.NAME` (LXC 4). The monitor (`lxc.monitor…`) runs outside.
fn lxc<'a>(parent: &str, name: &'a str) -> Option<&'a str> {
    let id = match parent {
        "lxc" | "lxc.payload" => name,
        _ => name.strip_prefix("lxc.payload.")?,
    };
    (!id.is_empty()).then_some(id)
}

/// Parses systemd-nspawn's service or scope, and the scopes that libvirt registers in the same place.
fn machine(parent: &str, name: &str, child: &str) -> Option<(&'static str, String)> {
    // nspawn itself, outside the container (which is in `payload`).
    if child == "supervisor" {
        return None;
    }
    if let Some(instance) = name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")) {
        return (!instance.is_empty()).then(|| (NSPAWN, unescaped(instance)));
    }
    let scope = name.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"))?;
    if parent != "machine.slice" || scope.is_empty() {
        return None;
    }
    let machine = unescaped(scope);
    // libvirt uses DRIVER-NUMBER-NAME; a virtual machine is no container.
    let mut parts = machine.splitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("qemu" | "xen" | "ch" | "bhyve"), Some(number), Some(_)) if is_number(number) => None,
        (Some("lxc"), Some(number), Some(name)) if is_number(number) && !name.is_empty() => {
            Some((LXC, name.to_owned()))
        }
        _ => Some((NSPAWN, machine)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// Undoes systemd's `\xNN` in unit names. A lone `-`, which stands for `/` in paths, stays: the
/// name of a machine has no `/`, and units that were started by hand have their `-` unescaped.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if let [b'\\', b'x', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            bytes.push(byte);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f5c8a2be7d1904c6ab8f0e2d4c6b8a0918273645afbecd0123456789abcdef0";
    const B: &str = "b0a1c2d3e4f5061728394a5b6c7d8e9fb0a1c2d3e4f5061728394a5b6c7d8e9f";

    /// Paths that the runtimes make, `{A}` and `{B}` for ids: runtime and id, if any.
    /// A `~` before the path marks a claimed container.
    const PATHS: &[(&str, Option<(&str, &str)>)] = &[
        // Docker
        ("/docker/{A}", Some(("docker", "{A}"))),
        ("/docker/{A}/", Some(("docker", "{A}"))),
        ("/docker/{A}/init", Some(("docker", "{A}"))),
        ("/docker/{A}/system.slice/nginx.service", Some(("docker", "{A}"))),
        ("/system.slice/docker-{A}.scope", Some(("docker", "{A}"))),
        ("/system.slice/docker-{A}.scope/init.scope", Some(("docker", "{A}"))),
        ("~/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", Some(("docker", "{A}"))),
        ("~/docker/{A}/docker/{B}", Some(("docker", "{B}"))),
        ("~/system.slice/docker-{A}.scope/docker/{B}", Some(("docker", "{B}"))),
        ("~/system.slice/docker-{A}.scope/system.slice/docker-{B}.scope", Some(("docker", "{B}"))),
        ("~/lxc/100/ns/docker/{A}", Some(("docker", "{A}"))),
        ("/../../system.slice/docker-{A}.scope", Some(("docker", "{A}"))),
        ("/kubepods.slice/kubepods-pod01ab23cd_0000.slice/docker-{A}.scope", Some(("docker", "{A}"))),
        ("~/actions_job/{A}", Some(("unknown", "{A}"))),
        ("/ecs/0a1b2c3d4e5f40718293a4b5c6d7e8f9/{A}", Some(("unknown", "{A}"))),
        (
            "/ecs/0a1b2c3d4e5f40718293a4b5c6d7e8f9/0a1b2c3d4e5f40718293a4b5c6d7e8f9-2968571237",
            Some(("unknown", "0a1b2c3d4e5f40718293a4b5c6d7e8f9-2968571237")),
        ),
        ("/jobs/0a1b2c3d4e5f40718293a4b5c6d7e8f9-2968571237", None),
        ("/ecstasks.slice/ecstasks-0a1b2c3d4e5f40718293a4b5c6d7e8f9.slice/docker-{A}.scope", Some(("docker", "{A}"))),
        // Paths that users can make
        ("~/mine/docker-{A}.scope", Some(("docker", "{A}"))),
        ("~/user.slice/user-1000.slice/user@1000.service/docker/{A}", Some(("docker", "{A}"))),
        ("~/user.slice/user-1000.slice/user@1000.service/kubepods.slice/crio-{A}.scope", Some(("cri-o", "{A}"))),
        ("~/system.slice/delegated.service/docker-{A}.scope", Some(("docker", "{A}"))),
        ("~/../../user.slice/docker-{A}.scope", Some(("docker", "{A}"))),
        // Kubernetes
        ("/kubepods/besteffort/pod6e8b1f6c-98a1-4a5e-9d3c-1f8d6a2b7c11/{A}", Some(("unknown", "{A}"))),
        ("/kubepods/burstable/pod6e8b1f6c-98a1-4a5e-9d3c-1f8d6a2b7c11/{A}", Some(("unknown", "{A}"))),
        ("/kubepods/pod6e8b1f6c-98a1-4a5e-9d3c-1f8d6a2b7c11/{A}", Some(("unknown", "{A}"))),
        ("~/docker/{A}/kubepods/besteffort/pod6e8b1f6c/{B}", Some(("unknown", "{B}"))),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6e8b1f6c_98a1.slice/cri-containerd-{A}.scope",
            Some(("containerd", "{A}")),
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6e8b1f6c.slice/crio-{A}.scope",
            Some(("cri-o", "{A}")),
        ),
        ("/kubepods.slice/kubepods-pod6e8b1f6c.slice/crio-{A}.scope/container", Some(("cri-o", "{A}"))),
        ("/kubepods/burstable/pod6e8b1f6c/crio-{A}", Some(("cri-o", "{A}"))),
        (
            "/system.slice/containerd.service/kubepods-besteffort-pod6e8b1f6c.slice:cri-containerd:{A}",
            Some(("containerd", "{A}")),
        ),
        (
            "~/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod6e8b.slice/cri-containerd-{B}.scope",
            Some(("containerd", "{B}")),
        ),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6e8b1f6c.slice", None),
        ("/kubepods/besteffort/pod6e8b1f6c-98a1-4a5e-9d3c-1f8d6a2b7c11", None),
        ("/kubepods.slice/kubepods-pod6e8b1f6c.slice/crio-conmon-{A}.scope", None),
        ("/kubepods/burstable/pod6e8b1f6c/crio-conmon-{A}", None),
        // containerd
        ("/default/{A}", Some(("containerd", "{A}"))),
        ("/k8s.io/{A}", Some(("containerd", "{A}"))),
        ("/system.slice/nerdctl-{A}.scope", Some(("containerd", "{A}"))),
        ("~/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{A}.scope", Some(("containerd", "{A}"))),
        ("/system.slice/containerd.service", None),
        // Podman
        ("/machine.slice/libpod-{A}.scope", Some(("podman", "{A}"))),
        ("/machine.slice/libpod-{A}.scope/container", Some(("podman", "{A}"))),
        ("/machine.slice/libpod-{A}.scope/container/init.scope", Some(("podman", "{A}"))),
        (
            "~/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
            Some(("podman", "{A}")),
        ),
        ("/libpod_parent/libpod-{A}", Some(("podman", "{A}"))),
        ("~/system.slice/web.service/libpod-payload-{A}", Some(("podman", "{A}"))),
        ("/machine.slice/libpod-conmon-{A}.scope", None),
        ("/libpod_parent/libpod-conmon-{A}", None),
        ("/libpod_parent/conmon", None),
        ("/machine.slice/libpod-{A}.scope/container/libpod_parent/libpod-conmon-{B}", Some(("podman", "{A}"))),
        // A health check's transient unit, not a container.
        ("/system.slice/{A}-1f2e3d4c5b6a7980.service", None),
        ("/system.slice/{A}.service", None),
        // LXC
        ("/lxc/web-1", Some(("lxc", "web-1"))),
        ("/lxc/100/ns/system.slice/ssh.service", Some(("lxc", "100"))),
        ("/lxc.payload.web/system.slice/cron.service", Some(("lxc", "web"))),
        ("/lxc.payload.web.example.org/init.scope", Some(("lxc", "web.example.org"))),
        ("/lxc.payload/web/user.slice", Some(("lxc", "web"))),
        ("~/lxc.payload.outer/lxc.payload.inner/init.scope", Some(("lxc", "inner"))),
        ("/lxc.payload.outer/lxc.monitor.inner", Some(("lxc", "outer"))),
        ("/lxc.monitor.web", None),
        ("/lxc.monitor/web", None),
        ("/lxc.pivot", None),
        ("/lxc", None),
        ("/system.slice/lxc.service", None),
        // systemd-nspawn and other machines
        ("/machine.slice/systemd-nspawn@web.service", Some(("nspawn", "web"))),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/ssh.service", Some(("nspawn", "web"))),
        (r"/machine.slice/systemd-nspawn@my\x2dbox.service/payload/init.scope", Some(("nspawn", "my-box"))),
        ("/machine.slice/systemd-nspawn@my-box.service/payload", Some(("nspawn", "my-box"))),
        (r"/machine.slice/machine-debian\x2dtree.scope", Some(("nspawn", "debian-tree"))),
        ("/machine.slice/machine-build.scope/payload", Some(("nspawn", "build"))),
        ("/machine.slice/systemd-nspawn@web.service/supervisor", None),
        ("/machine.slice/machine-build.scope/supervisor", None),
        (r"/machine.slice/machine-qemu\x2d3\x2dvm1.scope/libvirt/emulator", None),
        (r"/machine.slice/machine-lxc\x2d4711\x2dbox.scope", Some(("lxc", "box"))),
        ("/system.slice/machine-x.scope", None),
        ("/machine.slice/systemd-nspawn@.service", None),
        // No container at all
        ("/", None),
        ("", None),
        ("//", None),
        ("/init.scope", None),
        ("/user.slice/user-1000.slice/session-2.scope", None),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
            None,
        ),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", None),
        ("/system.slice/docker.service", None),
        ("/system.slice/docker.socket", None),
        ("/system.slice/docker-compose@web.service", None),
        ("/system.slice/snap.docker.dockerd.service", None),
        ("/system.slice/snap.docker.dockerd-7a1f6f0e-6b1c-4a0e-8f7e-1c2d3e4f5a6b.scope", None),
        ("/system.slice/crio.service", None),
        ("/docker", None),
        ("/docker/3f5c8a2be7d1", None),
        ("/docker/buildx", None),
        ("/jobs/6ecd6642d11319f117bc6998486b94f0", None),
        ("/system.slice/docker-3f5c8a2be7d1.scope", None),
    ];

    #[test]
    fn paths() {
        assert!(PATHS.len() >= 40);
        let fill = |text: &str| text.replace("{A}", A).replace("{B}", B);
        for (path, expected) in PATHS {
            let (claimed, path) = path.strip_prefix('~').map_or((false, *path), |path| (true, path));
            let found = container(&fill(path));
            assert!(found.as_ref().is_none_or(|container| container.claimed == claimed), "{path}: {found:?}");
            let found = found.as_ref().map(|c| (c.runtime, c.id.clone()));
            assert_eq!(found, expected.map(|(runtime, id)| (runtime, fill(id))), "{path}");
        }
    }

    #[test]
    fn unit_names_are_unescaped() {
        assert_eq!(unescaped(r"a\x2db\x2dc"), "a-b-c");
        assert_eq!(unescaped(r"\xc3\xa9"), "é");
        assert_eq!(unescaped(r"\xff"), "\u{fffd}");
        for name in [r"\x2", r"\x", r"\", r"\xzz", r"a-b", ""] {
            assert_eq!(unescaped(name), name);
        }
    }
}
