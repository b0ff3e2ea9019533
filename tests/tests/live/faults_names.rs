//! Hostile names of other processes: no control character in them reaches a terminal, and every line of JSON is one
//! object.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::apart::Apart;
use tracer_tests::cgroup::Cgroup;
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::{Netns, scratch};

/// ESC, bidi, C1, a line end, DEL, characters without width, a tag, a quote, a backslash.
const EVIL: &str = "\x1b[31m\u{202e}\u{9b}2J\n\u{2066}\x7f\u{ad}\u{200d}\u{e0041}\r\t\"\\u\u{85}";
/// Fifteen bytes, some of them no UTF-8.
const EVIL_COMM: &[u8; 15] = b"\x1b]0;\xff\n\x9b\xc2\x9b\xe2\x80\xae\x07)\"";

/// Whether a terminal may obey the character, or show it in another place.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Checks that no line has a harmful character; returns the text.
fn plain(what: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|e| panic!("{what} is UTF-8: {e}"));
    for line in text.lines() {
        assert!(!line.contains(is_harmful), "{what}: {line:?}");
    }
    text
}

/// Like [`plain`], where each line is an object.
fn objects(what: &str, bytes: &[u8]) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{what}: {e}: {line}"));
    let objects: Vec<Value> = plain(what, bytes).lines().map(parse).collect();
    assert!(objects.iter().all(Value::is_object), "{what}");
    objects
}

/// A process with a hostile name, program, arguments, control group and sockets.
struct Villain {
    ns: Netns,
    actor: Actor,
    group: Option<Cgroup>,
}

impl Villain {
    fn new() -> Self {
        let ns = Netns::new();
        // A directory's name has no line end in cgroupfs.
        let below = EVIL.replace('\n', "") + &"x".repeat(180);
        let group = Cgroup::new(&below).map_err(|reason| println!("without a control group: {reason}")).ok();
        let long = EVIL.repeat(4096 / EVIL.len() + 1);
        let argument = OsString::from_vec([long.as_bytes(), b"\xff\xfe\n"].concat());
        let actor = Actor::builder(&ns).copy(&format!("evil {EVIL}")).argument(argument).start();
        if let Some(group) = &group {
            group.take(actor.process.pid);
        }
        actor.must(json!({ "op": "set_comm", "comm": EVIL_COMM.to_vec() }));
        let path = scratch().join(format!("evil {EVIL}"));
        actor.must(json!({ "op": "unix_listen", "path": path }));
        std::fs::remove_file(&path).expect("the socket's name is removed");
        Self { ns, actor, group }
    }

    /// `tracer ARGS`, where the namespace has a hostile name, too; `PID` stands for the process.
    fn tracer(&self, args: &[&str]) -> Command {
        let at = Path::new("/run/netns").join(OsString::from_vec([EVIL.as_bytes(), b"\xff"].concat()));
        let here = Path::new("/run/netns").join(self.ns.name());
        let apart = Apart::new().mount("tmpfs", "/mnt", "").touch("/mnt/kept").bind(here, "/mnt/kept");
        let apart = apart.mount("tmpfs", "/run/netns", "").touch(&at).bind("/mnt/kept", &at);
        let pid = self.actor.process.pid.to_string();
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "PID" { &pid } else { *arg }).collect();
        apart.command(tracer_program(), &args)
    }

    /// Makes connections that end in every way.
    fn acts(&self) {
        let listener = Listener::open(&self.actor, &self.ns, "127.0.0.1:0");
        let _ = Pair::open(&self.actor, &self.ns, &listener).client_closes_first();
        let _ = Pair::open(&self.actor, &self.ns, &listener).client_resets();
        let fd = self.actor.socket(4);
        assert_eq!(self.actor.connect(fd, "127.0.0.1:9").errno(), Some("ECONNREFUSED"));
        self.ns.nft_rule("output", "ip daddr 127.0.0.9 counter drop comment \"\x1b[31m\u{202e}\"");
        let fd = self.actor.nonblocking_socket(4);
        let _ = self.actor.connect(fd, "127.0.0.9:9");
        let _ = listener.stay();
    }

    /// The output of `tracer ARGS` about it, stdout and stderr.
    fn traced(&self, args: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let out = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let mut command = self.tracer(args);
        let agent = Agent::start(&mut command, Some(File::from(OwnedFd::from(writer))));
        drop(command);
        agent.await_ready();
        self.acts();
        let ended = agent.stop();
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {}", ended.log);
        (out.join().expect("the reader ends").expect("stdout is read"), ended.log.into_bytes())
    }

    /// The stdout of a command that ends by itself.
    fn shown(&self, args: &[&str]) -> Vec<u8> {
        let out = self.tracer(args).stdin(Stdio::null()).output().expect("tracer starts");
        plain(&format!("stderr of {args:?}"), &out.stderr);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }
}

#[test]
fn the_stream_of_a_villain() {
    let villain = Villain::new();
    let netns = villain.ns.inode().to_string();
    let comm = String::from_utf8_lossy(EVIL_COMM);
    for args in [
        &["live", "--json", "--states", "--netns", &netns][..],
        &["live", "--json", "-p", "PID"],
        &["live", "--json", "--comm", &format!("*{}*", &EVIL[..1])],
    ] {
        let (out, log) = villain.traced(args);
        plain("stderr", &log);
        let events = objects("the stream", &out);
        let own: Vec<&Value> = events.iter().filter(|e| e["owner"]["pid"] == villain.actor.process.pid).collect();
        assert!(own.iter().filter(|event| event["event"] == "close").count() >= 5, "{args:?}: {own:#?}");
        for event in own {
            assert_eq!(event["owner"]["comm"], *comm, "{event}");
            assert_eq!(event["owner"]["exe"], villain.actor.process.exe, "{event}");
            if let Some(group) = &villain.group {
                assert_eq!(event["owner"]["cgroup"], group.path(), "{event}");
            }
        }
    }
}

#[test]
fn lines_and_summary_of_a_villain() {
    let villain = Villain::new();
    for args in
        [&["live", "--states", "--all"][..], &["live", "-w", "-v", "--all", "-p", "PID"], &["drops", "-w", "--all"]]
    {
        let (out, log) = villain.traced(args);
        let text = plain("stdout", &out);
        assert!(text.lines().count() > 1, "{args:?}: {text}");
        let log = plain("stderr", &log);
        // The start of its name, escaped.
        assert!(text.contains("\\x1b]0;") || log.contains("\\x1b]0;"), "{args:?}: {text}{log}");
    }
    let (out, log) = villain.traced(&["drops", "--json", "--all"]);
    plain("stderr", &log);
    assert!(!objects("rows of drops", &out).is_empty());
}

#[test]
fn tables_of_a_villain() {
    let villain = Villain::new();
    villain.acts();
    let netns = villain.ns.inode().to_string();
    for args in [
        &["sockets", "--all"][..],
        &["sockets", "--all", "-w"],
        &["sockets", "--all", "--tree"],
        &["sockets", "--all", "--via", "proc", "-w"],
        &["sockets", "-p", "PID", "-w"],
        &["net", "--netns", &netns],
        &["net", "--netns", &netns, "--all"],
        &["net", "--all-netns"],
    ] {
        let text = plain(&format!("{args:?}"), &villain.shown(args));
        assert!(text.lines().count() > 1, "{args:?}: {text}");
    }
    let comm = String::from_utf8_lossy(EVIL_COMM);
    for args in [&["sockets", "--all", "--json"][..], &["sockets", "--all", "--json", "--via", "proc"]] {
        let rows = objects("rows of sockets", &villain.shown(args));
        let is = |row: &&Value| row["owner"]["pid"] == villain.actor.process.pid;
        assert!(rows.iter().filter(is).count() >= 2, "{args:?}");
        assert!(rows.iter().filter(is).all(|row| row["owner"]["comm"] == *comm));
    }
    for args in [&["net", "--json", "--netns", &netns][..], &["net", "--json", "--all-netns"]] {
        let pages = objects("pages of net", &villain.shown(args));
        let page = pages.iter().find(|page| page["netns"] == villain.ns.inode()).expect("its namespace");
        assert!(page["netns_name"].as_str().is_some_and(|name| name.starts_with(EVIL)), "{}", page["netns_name"]);
        assert!(page.to_string().contains("]0;"), "its name is there");
    }
}

/// A script may have put words of another user there.
#[test]
fn command_lines_that_repeat_somebody() {
    let long = EVIL.repeat(4096 / EVIL.len() + 1);
    for evil in [EVIL, &long] {
        for args in [
            vec!["live", "--netns", evil],
            vec!["live", "--uid", evil],
            vec!["live", "--duration", "1ms", "--cgroup", evil],
            vec!["live", "--duration", "1ms", "--container", evil],
            vec!["live", "--duration", "1ms", "--comm", evil],
            vec!["live", "--duration", "1ms", "--reason", evil],
            vec!["live", "--verdict", evil],
            vec!["live", "--event", evil],
            vec!["live", "--addr", evil],
            vec!["live", "--backend", evil],
            vec!["live", "--btf", evil],
            vec!["live", "--duration", evil],
            vec!["live", "-p", evil],
            vec!["live", "-o", "/nowhere", evil],
            vec![evil],
            vec!["net", "--netns", evil],
            vec!["sockets", "--netns", evil],
            vec!["explain", evil],
            vec!["run", "--user", evil, "--", "true"],
            vec!["run", "--", evil],
        ] {
            // Commands that trace take long, and the length makes no difference to them.
            if evil.len() > EVIL.len() && args.contains(&"1ms") {
                continue;
            }
            let mut words: Vec<OsString> = args.iter().map(OsString::from).collect();
            for invalid in [false, true] {
                if invalid {
                    let last = words.pop().expect("there is a word");
                    words.push(OsString::from_vec([last.into_vec(), b"\xff".to_vec()].concat()));
                }
                let out = Command::new(tracer_program()).args(&words).stdin(Stdio::null()).output();
                let out = out.expect("tracer starts");
                let what = format!("stderr of {:?}", words.iter().map(|w| w.len()).collect::<Vec<_>>());
                let log = plain(&format!("{what} {:?}", args[0]), &out.stderr);
                plain(&what, &out.stdout);
                // A control group of that name may exist.
                assert!(!out.status.success() || args.contains(&"1ms"), "{args:?}: {log}");
                assert!(!log.is_empty() && !log.contains("panicked"), "{args:?}: {log}");
            }
        }
    }
}
