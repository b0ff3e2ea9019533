#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::proc::tree::{Tree, stat};
use tracer_stream::Container;

const ID: &str = "3f5c8a2be7d1904c6ab8f0e2d4c6b8a0918273645afbecd0123456789abcdef0";
const STATUS: &str =
    "Name:\tnginx\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nUid:\t0\t33\t34\t35\nGid:\t0\t0\t0\t0\n";

fn whole() -> Tree {
    let tree = Tree::new();
    tree.process(7, "nginx", 4711);
    tree.file("7/status", STATUS);
    tree.link("7/exe", "/usr/sbin/nginx");
    tree.file("7/cmdline", "nginx\0-g\0daemon off;\0\0-x\0");
    tree.file("7/cgroup", format!("0::/system.slice/docker-{ID}.scope\n"));
    tree
}

fn of(tree: &Tree) -> Option<(ProcessIdentity, ProcessFacts)> {
    facts(&ProcRoot::new(tree.path()), 7)
}

#[test]
fn everything() {
    let (identity, facts) = of(&whole()).unwrap();
    let expected = ProcessIdentity {
        pid: 7,
        start_ticks: 4711,
        start_ns: 47_110_000_000,
        comm: "nginx".into(),
        uid: Some(33),
        real_uid: Some(0),
    };
    assert_eq!(identity, expected);
    let expected = ProcessFacts {
        exe: Some("/usr/sbin/nginx".into()),
        cmdline: Some(["nginx", "-g", "daemon off;", "", "-x"].map(String::from).to_vec()),
        cgroup: Some(format!("/system.slice/docker-{ID}.scope")),
        container: Some(Container { runtime: "docker", id: ID.into(), claimed: false }),
        unit: Some(format!("docker-{ID}.scope")),
        ..ProcessFacts::default()
    };
    assert_eq!(facts, expected);
}

#[test]
fn what_is_missing_is_none() {
    // A kernel thread: no executable, no arguments.
    let tree = Tree::new();
    tree.process(7, "kworker/0:1-events", 3);
    tree.file("7/cmdline", "");
    tree.file("7/cgroup", "0::/\n");
    let (identity, facts) = of(&tree).unwrap();
    assert_eq!((identity.comm.as_str(), identity.uid), ("kworker/0:1-events", None));
    assert_eq!(facts, ProcessFacts { cgroup: Some("/".into()), ..ProcessFacts::default() });

    let tree = Tree::new();
    assert_eq!(of(&tree), None, "no such process");
    tree.file("7/stat", "7 (cut");
    assert_eq!(of(&tree), None);
}

#[test]
fn a_deleted_executable_says_so() {
    let tree = Tree::new();
    tree.process(7, "x", 1);
    tree.link("7/exe", "/opt/a b (deleted) (deleted)");
    assert_eq!(of(&tree).unwrap().1.exe.as_deref(), Some("/opt/a b (deleted) (deleted)"));
}

#[test]
fn another_process_with_the_same_id_is_none() {
    let tree = whole();
    let root = ProcRoot::new(tree.path());
    let begun = Begun::read(&root, 7).unwrap();
    tree.file("7/stat", stat(7, "nginx", 4712));
    assert_eq!(begun.arguments(), None);
    let tree = whole();
    let root = ProcRoot::new(tree.path());
    let begun = Begun::read(&root, 7).unwrap();
    tree.process(7, "renamed", 4711);
    assert!(begun.arguments().is_some());
    let begun = Begun::read(&root, 7).unwrap();
    fs::remove_file(tree.path().join("7/stat")).unwrap();
    assert_eq!(begun.arguments(), None);
}

#[test]
fn command_lines() {
    let args = |text: &str| arguments(text.as_bytes());
    assert_eq!(args(""), None);
    assert_eq!(args("\0"), None);
    assert_eq!(args("\0\0\0"), None);
    assert_eq!(args("a\0").unwrap(), ["a"]);
    assert_eq!(args("a\0\0").unwrap(), ["a", ""], "an empty argument");
    assert_eq!(args("a\0b\0\0\0").unwrap(), ["a", "b", "", ""]);
    assert_eq!(args("\0b\0").unwrap(), ["", "b"], "an empty name");
    assert_eq!(args("postgres: writer\0\0\0\0\0").unwrap(), ["postgres: writer"]);
    assert_eq!(args("sshd: root@pts/0").unwrap(), ["sshd: root@pts/0"]);
    assert_eq!(arguments(b"\xff\x1b[2J\0").unwrap(), ["\u{fffd}\u{1b}[2J"], "escaping is the printer's");

    let tree = whole();
    tree.file("7/cmdline", "x".repeat(3 << 20));
    tree.file("7/cgroup", format!("0::/{}\n", "é".repeat(3000)));
    let facts = of(&tree).unwrap().1;
    assert_eq!(facts.cmdline.unwrap().iter().map(String::len).collect::<Vec<_>>(), [4096]);
    assert!(facts.cmdline_cut);
    assert_eq!(facts.cgroup.unwrap().len(), 4095, "whole characters");
    tree.file("7/cmdline", "x".repeat(4096));
    assert!(!of(&tree).unwrap().1.cmdline_cut);
}

#[test]
fn users() {
    assert_eq!(uids(STATUS.as_bytes()), [Some(0), Some(33)]);
    assert_eq!(uids(b"Name:\t\\nUid:\t9\t9\nUid:\t1\t4294967295\t3\t4\n"), [Some(1), Some(u32::MAX)]);
    assert_eq!(uids(b"Name:\t\xff\nUid:\t1\t2\t3\t4\n"), [Some(1), Some(2)]);
    assert_eq!(uids(b""), [None; 2]);
    for status in ["Uid:\t1\n", "Uid:\t1\t-1\t1\t1\n", "Uid:\t1\t4294967296\t1\t1\n"] {
        assert_eq!(uids(status.as_bytes()), [Some(1), None], "{status:?}");
    }
}

#[test]
fn another_thread_tells_of_a_process_whose_first_one_has_exited() {
    let tree = whole();
    tree.file("7/stat", stat(7, "nginx", 4711).replace(" S ", " Z "));
    for name in ["exe", "cmdline", "cgroup"] {
        fs::remove_file(tree.path().join("7").join(name)).unwrap();
    }
    tree.file("7/task/7/stat", stat(7, "nginx", 4711).replace(" S ", " Z "));
    tree.file("7/task/8/stat", stat(8, "gone", 4712).replace(" S ", " X "));
    tree.file("7/task/9/stat", stat(9, "worker", 4713));
    tree.link("7/task/9/exe", "/usr/sbin/nginx");
    tree.file("7/task/9/cmdline", "nginx\0-g\0");
    tree.file("7/task/9/cgroup", "0::/system.slice/nginx.service\n");
    tree.file("7/task/9/status", "Uid:\t5\t6\t6\t6\n");
    let (identity, facts) = of(&tree).unwrap();
    assert_eq!((identity.comm.as_str(), identity.start_ticks, identity.uid), ("nginx", 4711, Some(6)));
    assert_eq!(facts.exe.as_deref(), Some("/usr/sbin/nginx"));
    assert_eq!(facts.cmdline.unwrap(), ["nginx", "-g"]);
    assert_eq!(facts.unit.as_deref(), Some("nginx.service"));
}

#[test]
fn a_tick_is_the_kernels() {
    // SAFETY: sysconf touches nothing.
    assert_eq!(i64::try_from(1_000_000_000 / TICK_NS).unwrap(), unsafe { libc::sysconf(libc::_SC_CLK_TCK) });
}

#[test]
fn whether_starts_are_ahead_shows_by_our_own() {
    const SECOND: u64 = 1_000_000_000;
    // The machine has run for 50 s and this process for 1 s.
    let now = 50 * SECOND;
    let start = now - SECOND;
    for offset in [100_000, 60, 2, -2, -40] {
        let offset_ns = offset * SECOND.cast_signed();
        assert!(is_ahead(start.saturating_add_signed(offset_ns), now, offset_ns), "{offset}");
        assert!(!is_ahead(start, now, offset_ns), "{offset}");
    }
}

#[test]
fn processes_in_order() {
    let tree = Tree::new();
    for name in ["10", "9", "self", "1", "sys"] {
        tree.file(&format!("{name}/stat"), "");
    }
    assert_eq!(list(&ProcRoot::new(tree.path())).unwrap().collect::<Vec<_>>(), [1, 9, 10]);
    assert!(list(&ProcRoot::new(tree.path().join("nowhere"))).is_err());
}

#[test]
fn this_process() {
    let root = ProcRoot::default();
    let pid = std::process::id();
    let (identity, facts) = facts(&root, pid).unwrap();
    assert_eq!(identity.pid, pid);
    // SAFETY: geteuid cannot fail and touches nothing.
    assert_eq!(identity.uid, Some(unsafe { libc::geteuid() }));
    assert_eq!(Some(identity.start_ticks), start_of(&root, pid));
    assert_eq!(identity.comm, fs::read_to_string("/proc/self/comm").unwrap().trim_end());
    assert_eq!(facts.exe.as_deref(), std::env::current_exe().unwrap().to_str());
    assert_eq!(facts.cmdline.unwrap(), std::env::args().collect::<Vec<_>>());
    assert!(facts.cgroup.unwrap().starts_with('/'));
    assert!(list(&root).unwrap().any(|other| other == pid));
}

#[test]
fn a_process_that_ended_is_none() {
    let root = ProcRoot::default();
    let mut child = Command::new("cat")
        .args(["", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The answer shows that it runs: spawn() may return before the kernel sets comm and arguments.
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let (identity, facts) = facts(&root, child.id()).unwrap();
    assert_eq!((identity.comm.as_str(), facts.cmdline.unwrap()), ("cat", ["cat", "", "-"].map(String::from).to_vec()));
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) }, 0);
    let now = u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap();
    assert!(identity.start_ns <= now && now - identity.start_ns < 60_000_000_000, "{} at {now}", identity.start_ns);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(start_of(&root, child.id()), None);
    assert_eq!(super::facts(&root, child.id()), None);
}
