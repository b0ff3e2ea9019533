//! The rights of a running trace, and the capabilities that it needs to start.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tracer_tests::agent::{Agent, Ended, tracer_program};
use tracer_tests::capability::{
    self, BPF, DAC_READ_SEARCH, KILL, NET_ADMIN, PERFMON, Rights, SYS_ADMIN, SYS_PTRACE, SYS_RESOURCE, SYSLOG,
};
use tracer_tests::drops::{address, any_drop_in, attempt};
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::machine;
use tracer_tests::netns::{Netns, leave_scratch, scratch};
use tracer_tests::traffic::sys;

/// Number of the user `nobody`, who is in no group.
const UID: u32 = 65_534;

/// The capability of the agent, which only some kernels need to read maps.
const AGENT: [u32; 1] = [BPF];
/// The capabilities of the threads that read /proc, and of the one that starts them.
const READERS: [u32; 2] = [SYS_PTRACE, DAC_READ_SEARCH];
/// The capabilities of the thread that reads the kernel's counters in each namespace.
const COUNTERS: [u32; 3] = [SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH];
/// The capabilities of the thread that surveys the host, and of those that it starts for a moment.
const SURVEY: [u32; 3] = COUNTERS;
/// The capabilities of the thread that enters namespaces and reads their rules.
const TABLES: [u32; 4] = [SYS_ADMIN, NET_ADMIN, SYS_PTRACE, DAC_READ_SEARCH];

/// Waits until only the threads of the trace are left, each confined; returns their rights.
fn await_confined(agent: &Agent) -> Vec<Rights> {
    let settled = || {
        let threads = Rights::of(agent.pid());
        let started = |name: &str| threads.iter().any(|thread| thread.name == name);
        let temporary = ["earlier", "snapshot", "netns"].into_iter().any(started);
        let confined = threads.iter().all(|thread| thread.seccomp == 2);
        let all = ["tables", "writer", "watch", "reader"].into_iter().all(started);
        Ok(all && confined && !temporary)
    };
    let waited = sys::until(settled);
    let threads = Rights::of(agent.pid());
    assert_eq!(waited, Ok(()), "{threads:#?}");
    threads
}

/// Whether the kernel asks for CAP_BPF to read a map that is open: until bpf: refine
/// kernel.unprivileged_bpf_disabled behaviour (c8644cd0efe7, Linux 5.19).
fn maps_take_a_capability() -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    let release = read("osrelease");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version < (5, 19) && read("unprivileged_bpf_disabled").trim() != "0"
}

/// Checks that each thread has only the rights that its duty needs, and can gain none.
fn are_least(threads: &[Rights], agent: &[u32]) {
    let own = Rights::own();
    // The main thread has the program's name, cut to fifteen bytes by the kernel.
    let program = tracer_program();
    let program: String = program.file_name().expect("a file").to_string_lossy().chars().take(15).collect();
    for thread in threads {
        let most = match thread.name.as_str() {
            // The loop starts it at the first drop: it has the same rights.
            name if name == program || name == "symbols" => capability::set(agent),
            "tables" => capability::set(&TABLES),
            "counters" => capability::set(&COUNTERS),
            "survey" | "sockets" | "fd" => capability::set(&SURVEY),
            "reader" | "watch" => capability::set(&READERS),
            "writer" => 0,
            other => panic!("a thread called {other} is unknown: {threads:#?}"),
        };
        assert_eq!(thread.permitted, thread.effective, "{thread:#x?}");
        assert_eq!((thread.inheritable, thread.ambient), (0, 0), "{thread:#x?}");
        assert!(thread.no_new_privs && thread.seccomp == 2, "{thread:#x?}");
        // The tracer cannot have had rights that the test lacks.
        assert_eq!(thread.bounding & !most, 0, "{thread:#x?}");
        let bpf = if [program.as_str(), "symbols"].contains(&thread.name.as_str()) && !maps_take_a_capability() {
            1 << BPF
        } else {
            0
        };
        assert_eq!(thread.effective, most & !bpf & own.effective, "{thread:#x?}");
    }
}

/// Causes the drop of a packet to `port` by a rule in another namespace; returns its event, for which the tracer reads
/// the rules.
fn told_with_rule(agent: &Agent, netns: &Netns, port: u16) -> Value {
    netns.nft_rule("output", &format!("tcp dport {port} drop"));
    attempt(netns, address(&format!("127.0.0.1:{port}")));
    any_drop_in(agent, netns, port)
}

#[test]
fn every_thread_gives_up_what_it_does_not_need() {
    let ns = Netns::new();
    let agent = Agent::live(&["--stack"]);
    are_least(&await_confined(&agent), &AGENT);
    // The threads that start later have started: for rules, for names of call sites.
    let event = told_with_rule(&agent, &ns, 4200);
    assert!(event["hint"].as_str().is_some_and(|hint| hint.contains("tcp dport 4200 drop")), "{event}");
    assert!(event["symbol"].is_string(), "{event}");
    are_least(&await_confined(&agent), &AGENT);
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("more rights than it needs"), "{}", ended.log);
}

#[test]
fn drops_gives_up_the_same() {
    let mut command = Command::new(tracer_program());
    let agent = Agent::start(command.args(["drops", "--json"]), None);
    agent.await_ready();
    are_least(&await_confined(&agent), &AGENT);
    assert_eq!(agent.stop().status.code(), Some(0));
}

#[test]
fn why_gives_up_the_same_and_surveys_the_host_all_the_same() {
    let ns = Netns::new();
    let server = Actor::start(&ns);
    let listener = Listener::open(&server, &ns, "127.0.0.1:4201");
    let mut command = Command::new(tracer_program());
    let agent = Agent::start(command.args(["why", "--json", "-vv", "--for", "1h"]), None);
    agent.await_ready();
    let threads = await_confined(&agent);
    are_least(&threads, &AGENT);
    assert!(threads.iter().any(|thread| thread.name == "survey"), "{threads:?}");
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("more rights than it needs"), "{}", ended.log);
    // The last survey is one of the confined thread.
    let surveys: Vec<&str> = ended.log.lines().filter(|line| line.contains(" survey: ")).collect();
    let last = surveys.last().expect("a survey");
    assert!(!last.contains(" 0 sockets") && !last.contains(" 0 processes"), "{last}");
    drop(listener);
}

#[test]
fn without_a_sandbox_everything_is_kept() {
    let agent = Agent::live(&["--no-sandbox"]);
    let own = Rights::own();
    let threads = Rights::of(agent.pid());
    assert!(threads.len() > 1, "{threads:?}");
    for thread in threads {
        let kept = Rights { name: own.name.clone(), ..thread };
        assert_eq!(kept, own);
    }
    assert_eq!(agent.stop().status.code(), Some(0));
}

/// The command of `tracer run` has the rights of its caller, and signals reach it although it runs as another user.
#[test]
fn the_command_of_run_is_not_confined() {
    let file = scratch().join("privileges-status");
    let status = Command::new(tracer_program())
        .args(["run", "-q", "-o", "/dev/null", "--", "cat", "/proc/self/status"])
        .stdin(Stdio::null())
        .output()
        .expect("tracer starts");
    let (own, its) = (Rights::own(), Rights::parse(&String::from_utf8_lossy(&status.stdout)));
    assert_eq!(Rights { name: own.name.clone(), ..its }, own);

    let user = fs::read_to_string("/etc/passwd").expect("the users are read");
    let of = |line: &str| {
        let words: Vec<&str> = line.split(':').collect();
        (words.get(2)?.parse::<u32>().ok()? != 0).then(|| words[0].to_owned())
    };
    if let Some(user) = user.lines().find_map(of) {
        let mut command = Command::new(tracer_program());
        command.args(["run", "--json", "-o"]).arg(&file).args(["--user", &user, "--", "sleep", "600"]);
        let agent = Agent::start(&mut command, None);
        agent.await_ready();
        are_least(&await_confined(&agent), &[&AGENT[..], &[KILL]].concat());
        agent.signal(libc::SIGTERM);
        let ended = agent.end();
        assert_eq!(ended.status.code(), Some(128 + libc::SIGTERM), "{}", ended.log);
    }
    let _ = fs::remove_file(&file);
    leave_scratch();
}

/// `tracer ARGS` as a user with exactly these capabilities.
fn started(capabilities: &[u32], args: &[&str]) -> Agent {
    let (mut command, program) =
        capability::command(&tracer_program(), UID, capabilities).expect("the tracer is opened");
    let agent = Agent::start(command.args(args), None);
    drop(program);
    agent
}

/// All capabilities that a trace uses; the last one only before Linux 5.11.
const WHOLE: [u32; 8] = [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYSLOG, NET_ADMIN, SYS_ADMIN, SYS_RESOURCE];

/// Those of `wanted` that this test has: root may have fewer here than elsewhere.
fn those_to_give(wanted: &[u32]) -> Vec<u32> {
    let own = Rights::own().effective;
    wanted.iter().copied().filter(|capability| own & 1 << capability != 0).collect()
}

fn without(capability: u32) -> Vec<u32> {
    those_to_give(&WHOLE).into_iter().filter(|other| *other != capability).collect()
}

/// The stream of a trace with few capabilities: a connection of another user's process, an older one, and a drop by a
/// rule in another namespace.
struct Told {
    ended: Ended,
    port: u16,
    netns: u64,
}

impl Told {
    fn by(capabilities: &[u32]) -> Self {
        let ns = Netns::new();
        let (client, server) = (Actor::builder(&ns).uid(1234).start(), Actor::start(&ns));
        let listener = Listener::open(&server, &ns, "127.0.0.1:0");
        let port = listener.addr.port();
        let mut older = Pair::open(&client, &ns, &listener);
        let agent = started(capabilities, &["live", "--json"]);
        agent.await_ready();
        // The tracer reads /proc before the connection closes: that takes long on a host with many sockets.
        agent.wait_for("older connection", |event| event["event"] == "open" && event["rport"] == port);
        older.client_sends(10);
        drop(older.client_closes_first());
        drop(Pair::open(&client, &ns, &listener).client_closes_first());
        told_with_rule(&agent, &ns, 4201);
        // The close of the listener comes last.
        drop(listener.close());
        agent.wait_for("close of the listener", |event| {
            event["event"] == "close" && event["role"] == "listener" && event["lport"] == port
        });
        let ended = agent.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.stream.lost(), 0, "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        Self { ended, port, netns: ns.inode() }
    }

    fn degraded(&self) -> Vec<&str> {
        let list = self.ended.stream.summary()["degraded"].as_array().expect("a list");
        list.iter().filter_map(|one| one["name"].as_str()).filter(|name| name.starts_with("no_cap_")).collect()
    }

    /// The client's side of the connection made in the trace, or of the older one.
    fn close(&self, preexisting: bool) -> &Value {
        let is = |event: &&Value| {
            event["rport"] == self.port && event["preexisting"].as_bool().unwrap_or(false) == preexisting
        };
        self.ended.stream.kind("close").find(is).unwrap_or_else(|| panic!("no close: {}", self.ended.log))
    }

    fn drop(&self) -> &Value {
        let is = |event: &&Value| event["netns"] == self.netns && event["dport"] == 4201;
        self.ended.stream.kind("drop").find(is).expect("the drop was told")
    }
}

#[test]
fn these_capabilities_are_all_that_a_trace_uses() {
    let told = Told::by(&those_to_give(&WHOLE));
    assert_eq!(told.degraded(), [""; 0]);
    for preexisting in [false, true] {
        let close = told.close(preexisting);
        assert_eq!(close["owner"]["uid"], 1234, "{close}");
        assert!(close["owner"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/traffic")), "{close}");
        assert_eq!(close["verdict"], "closed_local", "{close}");
    }
    assert!(told.drop()["hint"].as_str().is_some_and(|hint| hint.contains("4201")), "{}", told.drop());
    assert!(told.drop()["symbol"].is_string(), "{}", told.drop());
}

#[test]
fn with_less_it_says_what_is_missing() {
    for (capability, name) in [
        (SYS_PTRACE, "no_cap_sys_ptrace"),
        (DAC_READ_SEARCH, "no_cap_dac_read_search"),
        (NET_ADMIN, "no_cap_net_admin"),
        (SYS_ADMIN, "no_cap_sys_admin"),
    ] {
        let told = Told::by(&without(capability));
        assert_eq!(told.degraded(), [name], "{}", told.ended.log);
        assert!(told.ended.log.contains(name), "the banner names it: {}", told.ended.log);
        // The owner of a connection made in the trace is known without any of them.
        assert_eq!(told.close(false)["owner"]["uid"], 1234, "{}", told.ended.log);
        let hint = told.drop()["hint"].as_str().unwrap_or_default();
        let reads_rules = capability != NET_ADMIN && capability != SYS_ADMIN;
        assert_eq!(hint.contains("handle"), reads_rules, "without {name}: {}", told.drop());
    }
}

#[test]
fn without_those_it_needs_it_says_which() {
    for (capability, name) in [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")] {
        // CAP_SYS_ADMIN stands for both.
        let capabilities: Vec<u32> = without(capability).into_iter().filter(|other| *other != SYS_ADMIN).collect();
        let ended = started(&capabilities, &["live", "--json"]).end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        assert!(ended.log.contains(&format!("tracing needs {name}")), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
    let ended = started(&[], &["live", "--json"]).end();
    assert!(ended.status.code() == Some(1) && ended.log.contains("run it with sudo"), "{}", ended.log);
}

/// The two that every trace needs, and the third that some kernels need.
#[test]
fn two_are_enough_for_a_trace() {
    let least = those_to_give(&[BPF, PERFMON, SYS_RESOURCE]);
    let agent = started(&least, &["live", "--json"]);
    agent.await_ready();
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let port = listener.addr.port();
    drop(Pair::open(&client, &ns, &listener).client_closes_first());
    agent.wait_for("close with its owner", |event| {
        event["event"] == "close" && event["rport"] == port && event["owner"]["pid"] == client.process.pid
    });
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}

/// Kernels before 5.11 charge maps to the limit of locked memory: the tracer names it. Later ones need none.
#[test]
fn a_limit_of_locked_memory_is_named() {
    let (mut command, program) =
        capability::command(&tracer_program(), UID, &[BPF, PERFMON]).expect("the tracer is opened");
    let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
    // SAFETY: one system call with a valid structure.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
            Ok(())
        });
    }
    let agent = Agent::start(command.args(["live", "--json", "--duration", "1ms"]), None);
    let ended = agent.end();
    drop(program);
    let charges = machine::charges_locked_memory();
    assert_eq!(ended.status.code(), Some(i32::from(charges)), "{}", ended.log);
    assert_eq!(ended.log.contains("CAP_SYS_RESOURCE"), charges, "{}", ended.log);
}
