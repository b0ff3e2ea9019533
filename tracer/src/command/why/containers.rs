//! The containers of a name, by their ids: cgroup paths, and so the stream, have ids alone.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufReader, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::proc::{cgroup::cgroup_path, container::container};

/// The most bytes of a file that are read: containers write some of them.
const MOST_BYTES: u64 = 1 << 20;

/// The ids of the containers with this name: of docker by its own files, of podman by the file that it puts into each
/// container.
pub fn called(name: &str) -> Vec<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/var/lib/docker/containers").into_iter().flatten().flatten() {
        let config = read(&entry.path().join("config.v2.json"));
        if is_docker_name(&config, name) {
            ids.extend(entry.file_name().into_string());
        }
    }
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let cgroups = File::open(entry.path().join("cgroup"));
        let path = cgroups.ok().and_then(|file| cgroup_path(BufReader::new(file)).ok().flatten());
        let Some(id) = path.and_then(|path| container(&path)).map(|container| container.id) else { continue };
        if seen.insert(id.clone()) && is_podman_name(&read(&entry.path().join("root/run/.containerenv")), name) {
            ids.insert(id);
        }
    }
    ids.into_iter().collect()
}

/// The beginning of a file; nothing if it cannot be read.
fn read(path: &Path) -> String {
    let mut text = Vec::new();
    // A pipe in its place must not keep tracer waiting.
    let open = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let _ = open.and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

fn is_docker_name(config: &str, name: &str) -> bool {
    let config: Option<serde_json::Value> = serde_json::from_str(config).ok();
    let called = config.as_ref().and_then(|config| config.get("Name")?.as_str());
    called.is_some_and(|called| called.trim_start_matches('/') == name)
}

/// Lines of `key="value"`.
fn is_podman_name(env: &str, name: &str) -> bool {
    let value = env.lines().find_map(|line| line.strip_prefix("name="));
    value.is_some_and(|value| value.trim().trim_matches('"') == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_docker_and_podman() {
        assert!(is_docker_name(r#"{"ID":"x","Name":"/web"}"#, "web"));
        for config in ["", "{", "{}", r#"{"Name":1}"#, r#"{"Name":"/web-2"}"#] {
            assert!(!is_docker_name(config, "web"), "{config}");
        }
        let env = "engine=\"podman-4.3.1\"\nname=\"web\"\nid=\"0123\"\n";
        assert!(is_podman_name(env, "web"));
        assert!(!is_podman_name(env, "podman-4.3.1") && !is_podman_name("", "web"));
    }
}
