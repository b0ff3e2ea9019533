//! Decides by the parent directories whether only a runtime, or root, can have made a container's cgroup.
//!
//! The owner of a delegated directory (a user's manager, a service with `Delegate=`, another container) can make
//! a cgroup in it with any name.

/// Directories right below the root of the hierarchy that belong to runtimes and kubelets, to any depth: root owns all
/// of it.
const TREES: [&str; 12] = [
    "docker",
    "podman",
    "libpod_parent",
    "default",
    "k8s.io",
    "kubepods",
    "kubepods.slice",
    "kubelet",
    "kubelet.slice",
    "ecs",
    "lxc",
    "lxc.payload",
];

/// Services that make cgroups for containers below their own.
const SERVICES: [&str; 6] = [
    "containerd.service",
    "docker.service",
    "crio.service",
    "kubelet.service",
    "k3s.service",
    "snap.docker.dockerd.service",
];

/// Whether `above`, the path of a container's parent, belongs to a runtime. `is_container`: whether a directory on the
/// way is another container's (path of its parent, name, name below it).
pub fn is_runtimes(above: &str, is_container: impl Fn(&str, &str, &str) -> bool) -> bool {
    let mut names = Vec::new();
    // `..` leads outside our own cgroup namespace.
    for name in above.split('/').filter(|name| !name.is_empty() && *name != "..") {
        names.push(name);
    }
    let nested = (0..names.len()).any(|at| {
        let parent = format!("/{}", names[..at].join("/"));
        let parent = if at == 0 { "" } else { parent.as_str() };
        is_container(parent, names[at], names.get(at + 1).copied().unwrap_or_default())
    });
    if nested {
        return false;
    }
    match names.as_slice() {
        // In the root, or right below a slice of root's.
        [] | ["machine" | "machine.slice" | "system.slice"] => true,
        ["system.slice", service] => SERVICES.contains(service),
        [first, ..] => TREES.contains(first) || is_ecs_slice(first),
    }
}

/// Whether `name` is `ecstasks.slice`, or the slice that an ECS agent names after a cluster.
fn is_ecs_slice(name: &str) -> bool {
    name.strip_suffix(".slice").is_some_and(|name| name == "ecstasks" || name.starts_with("ecstasks-"))
}
