//! `tracer sockets` as a command: its messages about hidden owners, `--watch`, its lines.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tracer_tests::agent::tracer_program;
use tracer_tests::busy::{Busy, rows, tracer};
use tracer_tests::capability::Public;
use tracer_tests::netns::Netns;

/// As user nobody, with a /proc that hides other users' processes if `hide`.
fn as_nobody(hide: bool, args: &str) -> Output {
    let copy = Public::new();
    let mount = if hide { "mount -t proc -o hidepid=2 proc /proc && " } else { "" };
    let line = format!(
        "{mount}exec setpriv --reuid 65534 --regid 65534 --clear-groups {} sockets {args}",
        copy.path().display()
    );
    Command::new("unshare").args(["-m", "sh", "-c", &line]).output().unwrap()
}

#[test]
fn without_root_it_says_what_it_cannot_see() {
    // A listener of root in the host's namespace, which every user may read.
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    for hide in [false, true] {
        let out = as_nobody(hide, &format!("--json --lport {port} -l"));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        let rows = rows(&out);
        assert_eq!(rows.len(), 1, "{said}");
        assert_eq!((&rows[0]["owner"], &rows[0]["uid"]), (&Value::Null, &Value::from(0)));
        let why = if hide { "are hidden: no process that is visible here" } else { "need root: " };
        assert!(said.contains(&format!("owners of 1 socket {why}")), "{said}");
        let refused = as_nobody(hide, "--via bpf");
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("no BPF iterators"));
    }
    drop(held);
}

#[test]
fn in_a_pid_namespace_of_its_own_owners_are_those_of_that_namespace() {
    // Process 1 there holds a listener and runs the tracer.
    const INSIDE: &str = "import socket, subprocess, sys\n\
        held = socket.socket()\n\
        held.bind(('127.0.0.1', 0))\n\
        held.listen()\n\
        ports = '%d,%s' % (held.getsockname()[1], sys.argv[2])\n\
        words = [sys.argv[1], 'sockets', '--json', '-l', '--lport', ports] + sys.argv[3:]\n\
        sys.exit(subprocess.run(words).returncode)\n";
    let outside = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = outside.local_addr().unwrap().port();
    let ask = |args: &[&str]| {
        Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "python3", "-c", INSIDE])
            .arg(tracer_program())
            .arg(port.to_string())
            .args(args)
            .output()
            .unwrap()
    };
    for via in ["auto", "netlink", "proc"] {
        let out = ask(&["--via", via]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{via}: {said}");
        let rows = rows(&out);
        assert_eq!(rows.len(), 2, "{via}: {rows:?}");
        let owner = |own: bool| rows.iter().find(|row| (row["lport"] == port) != own).map(|row| &row["owner"]["pid"]);
        assert_eq!(owner(true), Some(&Value::from(1)), "{via}: {rows:?}");
        assert_eq!(owner(false), Some(&Value::Null), "{via}: {rows:?}");
        assert!(said.contains("owners of 1 socket are hidden: no process that is visible here holds them"), "{said}");
    }
    let refused = ask(&["--via", "bpf"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("no BPF iterators: a pid namespace of our own"), "{said}");
}

#[test]
fn what_comes_and_goes_is_told() {
    let ns = Netns::new();
    let netns = ns.inode().to_string();
    let mut child = Command::new(tracer_program())
        .args(["sockets", "--json", "-t", "--watch", "50ms", "--netns", &netns])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let listener = ns.within(|| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    // It is in the first list, or appears in a later one.
    let first = next();
    assert_eq!((first["lport"].as_u64(), &first["state"]), (Some(port.into()), &Value::from("LISTEN")));
    drop(listener);
    let gone = next();
    assert_eq!((&gone["change"], &gone["conn"]), (&Value::from("vanished"), &first["conn"]));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn lines_have_100_columns() {
    let busy = Busy::start();
    let netns = busy.ns.inode().to_string();
    let out = tracer(&["-a", "--netns", &netns]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.lines().count() > 40);
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(text.contains(&format!("network namespace {}", busy.ns.name())), "{text}");
    let tree = tracer(&["--tree", "-t", "--netns", &netns]);
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains(&format!("[{}]", busy.child)), "{tree}");
}
