//! Hosts that lack /proc, tracefs or memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::alone::alone;
use tracer_tests::apart::Apart;
use tracer_tests::bpf::all_objects;
use tracer_tests::churn::churn;
use tracer_tests::generator::Pair;
use tracer_tests::memory::MemoryLimit;
use tracer_tests::netns::{Netns, leave_scratch, scratch};
use tracer_tests::scene::Scene;
use tracer_tests::skip::skip;
use tracer_tests::traffic::sys::until;

const LIVE: [&str; 2] = ["live", "--json"];

/// A directory of this test's own. Gone when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = scratch().join(name);
        fs::create_dir_all(&dir).expect("a directory is made");
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        leave_scratch();
    }
}

/// Checks that a tracer in `apart` traces a connection and ends well, and that its log has `words`.
fn still_traces(apart: Apart, words: &[&str]) {
    let scene = Scene::loopback();
    let agent = Agent::start(&mut apart.command(tracer_program(), &LIVE), None);
    agent.await_ready();
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = Pair::open(&scene.client, &scene.client_ns, &listener).client_closes_first().to_vec();
    facts.push(listener.close());
    let (netns, pid) = (scene.client_ns.inode(), scene.client.process.pid);
    agent.wait_for("close of the client", |event| {
        event["event"] == "close"
            && event["netns"] == netns
            && event["owner"]["pid"] == pid
            && event["verdict"] == "closed_local"
    });
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    for word in words {
        assert!(ended.log.contains(word), "{word:?} in {}", ended.log);
    }
    scene.expect(&facts);
}

/// The tracer may trace or end; its log names what is missing.
#[test]
fn without_proc() {
    // The records have the owners nevertheless.
    still_traces(Apart::new().unmount("/proc"), &["/proc"]);
    still_traces(Apart::new().mount("tmpfs", "/proc", ""), &["/proc"]);
}

#[test]
fn commands_without_proc_say_so() {
    for args in [&["sockets"][..], &["net"], &["live", "-p", "1"], &["run", "--", "true"], &["doctor"]] {
        let mut command = Apart::new().unmount("/proc").command(tracer_program(), args);
        let out = command.stdin(Stdio::null()).output().expect("tracer starts");
        let log = String::from_utf8_lossy(&out.stderr);
        assert!(!log.contains("panicked"), "{args:?}: {log}");
        assert!(out.status.success() || log.contains("/proc"), "{args:?}: {} {log}", out.status);
    }
}

/// The tracer mounts it where it belongs.
#[test]
fn tracefs_that_nobody_has_mounted() {
    still_traces(without_tracefs(), &[]);
}

fn without_tracefs() -> Apart {
    let mut apart = Apart::new();
    for at in ["/sys/kernel/debug/tracing", "/sys/kernel/tracing", "/sys/kernel/debug"] {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts are read");
        for _ in mounts.lines().filter(|line| line.split(' ').nth(1) == Some(at)) {
            apart = apart.unmount(at);
        }
    }
    apart
}

#[test]
fn tracefs_where_debugfs_has_it() {
    let debug = || without_tracefs().mount("debugfs", "/sys/kernel/debug", "");
    let there = debug().command("test", &["-d", "/sys/kernel/debug/tracing/events"]).status();
    if !there.is_ok_and(|status| status.success()) {
        return skip("kernel: debugfs cannot be mounted, or does not have tracefs");
    }
    // Covers the usual place, where the tracer looks first.
    still_traces(debug().mount("tmpfs", "/sys/kernel/tracing", ""), &[]);
}

/// The file system is missing: the tracer leaves out the hooks that need it, and names them.
#[test]
fn tracefs_that_cannot_be_mounted() {
    let dir = Dir::new("sys-kernel");
    fs::create_dir(dir.0.join("btf")).expect("a directory is made");
    let apart = || without_tracefs().bind("/sys/kernel/btf", dir.0.join("btf")).bind_all(&dir.0, "/sys/kernel");
    still_traces(apart(), &["tracefs is not mounted"]);
    let mut doctor = apart().command(tracer_program(), &["doctor"]);
    let out = doctor.stdin(Stdio::null()).output().expect("tracer starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("tracefs"), "{text}");
}

/// Whether a process exists and is no zombie.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A control group with room for `bytes`; `None` if the test was skipped.
fn group(bytes: u64) -> Option<MemoryLimit> {
    MemoryLimit::new(bytes).map_err(|reason| skip(&reason)).ok()
}

#[test]
fn too_little_memory_for_the_ring() {
    alone();
    let Some(group) = group(64 << 20) else { return };
    let before = all_objects();
    let args = ["live", "--buffer", "128M"];
    let mut command = Apart::new().in_group(group.procs()).command(tracer_program(), &args);
    let out = command.stdin(Stdio::null()).output().expect("tracer starts");
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{} {log}", out.status);
    assert!(log.contains("not enough memory") && log.contains("--buffer"), "{log}");
    assert_eq!(until(|| Ok(all_objects().is_subset(&before))), Ok(()));
}

/// The kernel kills the tracer, which can print nothing then; it leaves nothing behind.
#[test]
fn a_limit_that_is_hit_while_it_runs() {
    alone();
    let Some(group) = group(512 << 20) else { return };
    let ns = Netns::new();
    let before = all_objects();
    // The pipe has no reader: waiting lines take more and more memory.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Apart::new().in_group(group.procs()).command(tracer_program(), &LIVE);
    let agent = Agent::start(&mut command, Some(fs::File::from(std::os::fd::OwnedFd::from(writer))));
    agent.await_ready();
    group.set(group.used() + (1 << 20));
    let died = until(|| {
        churn(&ns, 1000);
        Ok(!runs(agent.pid()))
    });
    assert_eq!(died, Ok(()), "the limit is hit");
    let ended = agent.end();
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
    assert!(!ended.status.success(), "it was ended: {}", ended.log);
    assert_eq!(until(|| Ok(all_objects().is_subset(&before))), Ok(()));
    drop(reader);
}
