//! The options of `tracer net`: namespaces, watching, and its messages without root.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::capability::Public;
use tracer_tests::generator::Listener;
use tracer_tests::netns::Netns;
use tracer_tests::network::{Network, json_of, list, net, text};
use tracer_tests::process::signal;
use tracer_tests::traffic::sys;

#[test]
fn a_namespace_by_process_name_and_number() {
    let network = Network::new();
    let inode = network.client_ns.inode();
    for choice in [network.client_ns.name(), &network.client.process.pid.to_string(), &inode.to_string()] {
        let ours = net(&["--netns", choice]);
        assert_eq!(ours["netns"], json!(inode), "{choice}");
        assert_eq!(ours["netns_name"], json!(network.client_ns.name()), "{choice}");
        assert_eq!(ours["netns_current"], json!(false));
        let names: Vec<&str> = list(&ours["interfaces"]).iter().map(|i| text(&i["name"])).collect();
        assert!(names.contains(&"wire"), "{names:?}");
    }
    let own = std::fs::metadata("/proc/self/ns/net").expect("there is a namespace");
    assert_eq!(net(&[])["netns"], json!(std::os::unix::fs::MetadataExt::ino(&own)));
}

#[test]
fn every_namespace_once() {
    let network = Network::new();
    // Only its name keeps this one alive.
    let empty = Netns::new();
    let (status, out, log) = run_to_end(&["net", "--json", "--all-netns"]);
    assert!(status.success(), "{log}");
    let inodes: Vec<u64> = out.lines().map(|line| json_of(line)["netns"].as_u64().expect("a number")).collect();
    for netns in [&network.client_ns, &network.server_ns, &empty] {
        assert_eq!(inodes.iter().filter(|inode| **inode == netns.inode()).count(), 1, "{inodes:?}");
    }
    let own = std::fs::metadata("/proc/self/ns/net").expect("there is a namespace");
    assert!(inodes.contains(&std::os::unix::fs::MetadataExt::ino(&own)));
    assert_eq!(inodes.iter().collect::<BTreeSet<_>>().len(), inodes.len());
}

/// `tracer net --watch`, line by line.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(tracer_program())
            .args(["net", "--json", "--watch", "100ms"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tracer starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        json_of(&self.lines.next().expect("it goes on").expect("it is text"))
    }

    /// The first object that `ask` accepts.
    fn until(&mut self, what: &str, mut ask: impl FnMut(&Value) -> bool) -> Value {
        let end = std::time::Instant::now() + sys::patience();
        while std::time::Instant::now() < end {
            let object = self.next();
            if ask(&object) {
                return object;
            }
        }
        panic!("{what} does not come");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_shows_what_moves_and_what_comes_and_goes() {
    let network = Network::new();
    let mut watch = Watch::start(&["--netns", network.client_ns.name()]);
    let first = watch.next();
    assert!(first["changes"]["seconds"].as_f64() >= Some(0.09), "{}", first["changes"]["seconds"]);

    let presence = |object: &Value, name: &str| {
        let devices = list(&object["changes"]["interfaces"]).to_owned();
        devices.iter().find(|device| device["name"] == json!(name)).map(|device| text(&device["presence"]).to_owned())
    };
    network.client_ns.ip(&["link", "add", "guest", "type", "veth", "peer", "name", "other"]);
    watch.until("the device", |object| presence(object, "guest").as_deref() == Some("appeared"));
    watch.until("the device", |object| presence(object, "guest").as_deref() == Some("stayed"));
    network.client_ns.ip(&["link", "del", "guest"]);
    let gone = watch.until("its end", |object| presence(object, "guest").as_deref() == Some("vanished"));
    let device = list(&gone["changes"]["interfaces"]).iter().find(|d| d["name"] == json!("guest")).cloned();
    assert!(device.expect("it is told")["rx_bytes"].is_null(), "how far a device that is gone moved is unknown");
    watch.until("nothing", |object| presence(object, "guest").is_none());

    // Every change has one entry, and there is none when nothing changes.
    let sent = |object: &Value| object["changes"]["counters"]["TcpActiveOpens"]["delta"].as_u64().unwrap_or(0);
    network.busy();
    let mut sum = 0;
    watch.until("all connections", |object| {
        sum += sent(object);
        sum == 9
    });
    watch.until("quiet", |object| object["changes"]["counters"].as_object().is_some_and(serde_json::Map::is_empty));

    signal(&watch.child, libc::SIGINT);
    assert!(watch.child.wait().expect("it ends").success());
}

#[test]
fn count_ends_the_watching() {
    let netns = Netns::new();
    let (status, out, log) = run_to_end(&["net", "--json", "--watch", "0.05", "--count", "3", "--netns", netns.name()]);
    assert!(status.success(), "{log}");
    assert_eq!(out.lines().count(), 3);
    let (status, out, log) = run_to_end(&["net", "--watch", "50ms", "--count", "2", "--netns", netns.name()]);
    assert!(status.success(), "{log}");
    assert_eq!(out.matches("counters ").count(), 2, "{out}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child = Command::new(tracer_program())
        .args(["net", "--watch", "10ms", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tracer starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn wrong_usage_and_no_such_namespace() {
    for (args, status, part) in [
        (&["net", "--count", "3"][..], 2, "--watch"),
        (&["net", "--watch", "0"], 2, "longer than zero"),
        (&["net", "--netns", "1", "--all-netns"], 2, "--all-netns"),
        (&["net", "--netns", "no-such-name"], 1, "no such network namespace: no-such-name"),
        (&["net", "--netns", "4026530000"], 1, "network namespace"),
    ] {
        let (ended, _, log) = run_to_end(args);
        assert_eq!(ended.code(), Some(status), "{args:?}: {log}");
        assert!(log.contains(part), "{args:?}: {log}");
    }
}

#[test]
fn without_root_it_says_what_is_missing() {
    let network = Network::new();
    let _listener = Listener::open(&network.client, &network.client_ns, "127.0.0.1:81");
    let copy = Public::new();
    let nobody = |args: &[&str]| {
        // root enters the namespace, then becomes the user `nobody`.
        let mut tracer = network.client_ns.command("setpriv");
        tracer.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        tracer.arg(copy.path()).arg("net").args(args).output().expect("it runs")
    };
    let out = nobody(&["--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ours = json_of(&String::from_utf8_lossy(&out.stdout));
    assert_eq!(ours["netns"], json!(network.client_ns.inode()));
    let owners = list(&ours["sockets"]["owners"]);
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!((text(&owners[0]["owner"]), &owners[0]["total"]), ("unknown", &json!(1)));
    assert!(ours["missing"]["processes_denied"].as_u64() > Some(0));
    assert_eq!(ours["listen_queues"][0]["backlog_limit"], json!(16), "sock_diag needs no root");
    let out = nobody(&[]);
    let page = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && page.contains("not seen: the owner of 1 socket"), "{page}");
    if std::fs::exists("/proc/net/nf_conntrack").expect("/proc is there") {
        assert!(page.contains("nf_conntrack: only root may read it"), "{page}");
    }

    let other = network.server_ns.name();
    let out =
        Command::new(copy.path()).args(["net", "--netns", other]).uid(65534).gid(65534).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("run as root"), "{said}");
}

#[test]
fn processes_that_are_hidden_are_nobodys_owners() {
    let network = Network::new();
    let _listener = Listener::open(&network.client, &network.client_ns, "127.0.0.1:81");
    let copy = Public::new();
    let nobody = |args: &str| {
        let line = format!(
            "mount -t proc -o hidepid=2 proc /proc && \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups -- {} net {args}",
            copy.path().display()
        );
        network.client_ns.command("unshare").args(["-m", "sh", "-c", &line]).output().expect("it runs")
    };
    let out = nobody("--json");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ours = json_of(&String::from_utf8_lossy(&out.stdout));
    let owners = list(&ours["sockets"]["owners"]);
    assert_eq!((owners.len(), text(&owners[0]["owner"]), &owners[0]["total"]), (1, "unknown", &json!(1)));
    assert_eq!(ours["missing"]["processes_denied"], json!(0), "they are not even there");
    let out = nobody("");
    let page = String::from_utf8_lossy(&out.stdout).into_owned();
    let why = "not seen: the owner of 1 socket: no process that is visible here holds them";
    assert!(out.status.success() && page.contains(why), "{page}");
}
