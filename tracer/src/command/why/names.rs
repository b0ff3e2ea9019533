//! Looks the user's words up: names of hosts and services.

use std::{
    fs,
    net::{IpAddr, ToSocketAddrs as _},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use super::containers;
use crate::{
    core::what::{Unresolved, What},
    stderr,
};

/// How long a name server, or a file of a container, may take. A hung one must not delay the answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most addresses of a host.
const MOST_ADDRESSES: usize = 64;

/// The words, with the addresses and ports of the names in them. A name that a process or a namespace of this host
/// has is not looked up: it means that. Says what it has found, unless `quiet`.
pub fn resolved(words: &[What], quiet: bool) -> Vec<What> {
    words.iter().map(|word| one(word, quiet)).collect()
}

/// The words, as one text.
pub fn shown(words: &[What]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn one(word: &What, quiet: bool) -> What {
    let mut found = word.clone();
    found.is_process = match word.number {
        Some(pid) => Path::new("/proc").join(pid.to_string()).exists(),
        None => word.is_name && is_running(&word.text),
    };
    if word.is_name && word.number.is_none() {
        let name = word.text.clone();
        found.containers = within_patience(move || containers::called(&name)).unwrap_or_default();
    }
    let asks = word.unresolved();
    if asks.is_empty() || !found.containers.is_empty() || found.is_process || is_namespace(&word.text) {
        return found;
    }
    let say = |text: String| {
        if !quiet {
            stderr::line(text);
        }
    };
    for part in asks {
        match part {
            Unresolved::Service(name) => {
                let services = fs::read_to_string("/etc/services").unwrap_or_default();
                if let Some(port) = port(&services, name) {
                    say(format!("{name} is the service at port {port}"));
                    found.port = Some(port);
                }
            }
            Unresolved::Host(name) => match addresses(name) {
                Some(addrs) if addrs.is_empty() => {}
                Some(addrs) => {
                    let shown: Vec<String> = addrs.iter().map(ToString::to_string).collect();
                    say(format!("{name} is the host {}", shown.join(", ")));
                    found.addrs = addrs;
                }
                None => say(format!("{name} is not looked up as a host: no answer within a second")),
            },
        }
    }
    found
}

/// Whether a network namespace is called so.
fn is_namespace(name: &str) -> bool {
    !name.contains('/') && Path::new("/run/netns").join(name).exists()
}

/// Whether a process is called so.
fn is_running(name: &str) -> bool {
    let is = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        number && fs::read(entry.path().join("comm")).is_ok_and(|comm| comm.trim_ascii_end() == name.as_bytes())
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().any(is)
}

/// The addresses of a host; `None`: no answer came in time.
fn addresses(name: &str) -> Option<Vec<IpAddr>> {
    let host = name.to_owned();
    within_patience(move || {
        let found = (host.as_str(), 0).to_socket_addrs().into_iter().flatten();
        let mut addrs: Vec<IpAddr> = found.map(|at| at.ip().to_canonical()).take(MOST_ADDRESSES).collect();
        addrs.sort_unstable();
        addrs.dedup();
        addrs
    })
}

/// The result of `look`, unless that takes too long.
fn within_patience<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = mpsc::channel();
    // The thread ends with what it waits for, or with this process. The receiver is gone if that took too long.
    let look = move || drop(send.send(look()));
    std::thread::Builder::new().name("names".to_owned()).spawn(look).ok()?;
    receive.recv_timeout(PATIENCE).ok()
}

/// The port of a service in the form of services(5); TCP's before another one's.
fn port(services: &str, name: &str) -> Option<u16> {
    let mut other = None;
    for line in services.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let (Some(official), Some(end)) = (words.next(), words.next()) else { continue };
        if official != name && !words.any(|alias| alias == name) {
            continue;
        }
        let Some((port, protocol)) = end.split_once('/') else { continue };
        let Ok(port) = port.parse() else { continue };
        if protocol == "tcp" {
            return Some(port);
        }
        other.get_or_insert(port);
    }
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_ports() {
        let services =
            "# a comment\ndomain 53/udp\ndomain 53/tcp\nhttp\t80/tcp\twww # web\nsyslog 514/udp\nbad x/tcp\n";
        for (name, at) in [
            ("domain", Some(53)),
            ("http", Some(80)),
            ("www", Some(80)),
            ("syslog", Some(514)),
            ("bad", None),
            ("web", None),
        ] {
            assert_eq!(port(services, name), at, "{name}");
        }
    }
}
