//! Clocks that are set, or that differ in the tracer's namespace: `boot_ns` is the kernel's, and `time` a constant
//! more.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracer_tests::agent::{Agent, tracer_program};
use tracer_tests::generator::Pair;
use tracer_tests::machine;
use tracer_tests::scene::Scene;
use tracer_tests::skip::{lacks, missing_tool, skip};
use tracer_tests::traffic::sys::boot_ns;

const SECOND: i128 = 1_000_000_000;

/// `2026-11-21T12:00:00.123456789Z`, ns since 1970.
fn wall_ns(time: &Value) -> i128 {
    let text = time.as_str().expect("a time");
    let number = |from: usize, to: usize| text[from..to].parse::<i128>().expect("a number");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since 1970-01-01 of a civil date: years begin in March here.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    seconds * SECOND + number(20, 29)
}

fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as i128
}

/// Checks that every event is between these moments, and that its wall clock is `offset` later, within a second.
fn check_times(events: &[&Value], begun: u64, ended: u64, offset: i128) {
    assert!(!events.is_empty());
    for event in events {
        let boot = event["boot_ns"].as_u64().expect("a number");
        assert!((begun..=ended).contains(&boot), "{begun} ≤ {boot} ≤ {ended}: {event}");
        let ahead = wall_ns(&event["time"]) - i128::from(boot);
        assert!((ahead - offset).abs() < SECOND, "{ahead} ahead, not {offset}: {event}");
    }
}

/// The process that `parent` has started.
fn child_of(parent: u32) -> i32 {
    let stats = std::fs::read_dir("/proc").expect("the processes are listed").flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, std::fs::read_to_string(entry.path().join("stat")).ok()?))
    });
    // `PID (comm) STATE PPID …`
    let is_child = |stat: &str| {
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&parent.to_string()))
    };
    let mut found = stats.filter(|(_, stat)| is_child(stat)).map(|(pid, _)| pid);
    found.next().expect("it has started a process")
}

/// Containers that were moved from another machine have one (CRIU).
#[test]
fn a_time_namespace_of_its_own() {
    if let Some(reason) = missing_tool("unshare") {
        return skip(&reason);
    }
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return skip(&lacks("time namespace", "/proc/self/ns/time is not there"));
    }
    for offset in ["100000", "-3"] {
        let scene = Scene::loopback();
        let mut command = Command::new("unshare");
        // --fork: on older kernels exec() does not enter the namespace, and a process that enters it may have no other
        // threads.
        command.args(["--time", "--boottime", offset, "--monotonic", "7", "--fork"]).arg(tracer_program());
        let agent = Agent::start(command.args(["live", "--json"]), None);
        agent.await_ready();
        let (begun, offset_ns) = (boot_ns(), now() - i128::from(boot_ns()));
        let listener = scene.listen("127.0.0.1:0");
        let mut facts = Pair::open(&scene.client, &scene.client_ns, &listener).client_closes_first().to_vec();
        let netns = scene.client_ns.inode();
        let is_close =
            |role: &str, event: &Value| event["event"] == "close" && event["netns"] == netns && event["role"] == role;
        agent.wait_for("the client's close", |event| is_close("client", event));
        agent.wait_for("the server's close", |event| is_close("server", event));
        // SAFETY: the child of a process that was started here and has not been waited for.
        unsafe { libc::kill(child_of(agent.pid()), libc::SIGINT) };
        let ended = agent.end();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        let events: Vec<&Value> = ended.stream.of_netns(netns).collect();
        check_times(&events, begun, boot_ns(), offset_ns);
        facts.push(listener.close());
        let outside = scene.expect(&facts);
        // Both tracers know the processes from /proc and from the records, and agree.
        let owners = |stream: &tracer_tests::stream::Stream| {
            let close = stream.of_netns(netns).find(|event| is_close("client", event)).expect("a close").clone();
            close["owner"].clone()
        };
        assert_eq!(owners(&ended.stream), owners(&outside), "by {offset} s");
    }
}

/// The wall clock, put back when dropped.
struct WallClock {
    offset_ns: i128,
}

impl WallClock {
    fn keep() -> Self {
        Self { offset_ns: now() - i128::from(boot_ns()) }
    }

    fn set(wall_ns: i128) {
        let time = libc::timespec {
            tv_sec: wall_ns.div_euclid(SECOND) as libc::time_t,
            tv_nsec: wall_ns.rem_euclid(SECOND) as libc::c_long,
        };
        // SAFETY: the pointer is to a live local.
        assert_eq!(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) }, 0, "the clock is set");
    }

    /// Sets the clock `seconds` ahead.
    fn step(&self, seconds: i128) {
        Self::set(self.offset_ns + i128::from(boot_ns()) + seconds * SECOND);
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        self.step(0);
    }
}

#[test]
fn a_clock_that_is_set_moves_no_event() {
    if let Err(reason) = machine::own() {
        return skip(&reason);
    }
    let clock = WallClock::keep();
    let begun = boot_ns();
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let mut facts = Vec::new();
    for seconds in [3600, -7200, 10 * 365 * 86_400, 1] {
        let pair = scene.pair(&listener);
        // While the connection is open.
        clock.step(seconds);
        facts.extend(pair.client_closes_first());
    }
    facts.push(listener.close());
    let (netns, offset_ns) = (scene.client_ns.inode(), clock.offset_ns);
    let stream = scene.expect(&facts);
    let events: Vec<&Value> = stream.of_netns(netns).collect();
    check_times(&events, begun, boot_ns(), offset_ns);
    for close in events.iter().filter(|event| event["event"] == "close") {
        let micros = close["duration_us"].as_u64().expect("a duration");
        assert!(u128::from(micros) * 1000 <= u128::from(boot_ns() - begun), "{close}");
    }
    let boots: Vec<u64> = events.iter().filter_map(|event| event["boot_ns"].as_u64()).collect();
    assert!(boots.iter().is_sorted(), "{boots:?}");
    drop(clock);
}

/// Nanoseconds on one of the kernel's clocks.
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0, "the clock is read");
    u64::try_from(i128::from(time.tv_sec) * SECOND + i128::from(time.tv_nsec)).expect("after the boot")
}

/// How long this machine has slept since it was booted.
fn slept_ns() -> u64 {
    // CLOCK_MONOTONIC first, which is never ahead: time passes between the two.
    let awake = clock_ns(libc::CLOCK_MONOTONIC);
    clock_ns(libc::CLOCK_BOOTTIME) - awake
}

/// Suspends the machine for some seconds: its own clock wakes it.
fn suspend(seconds: u32) {
    let alarm = "/sys/class/rtc/rtc0/wakealarm";
    std::fs::write(alarm, "0").expect("an alarm is taken back");
    std::fs::write(alarm, format!("+{seconds}")).expect("an alarm is set");
    std::fs::write("/sys/power/state", "mem").expect("it sleeps and wakes");
}

#[test]
fn a_machine_that_slept() {
    if let Err(reason) = machine::own() {
        return skip(&reason);
    }
    let states = std::fs::read_to_string("/sys/power/state").unwrap_or_default();
    if !states.split_whitespace().any(|state| state == "mem") {
        return skip(&lacks("suspend", "/sys/power/state has no mem"));
    }
    let (begun, before) = (boot_ns(), slept_ns());
    let scene = Scene::loopback();
    let listener = scene.listen("127.0.0.1:0");
    let pair = scene.pair(&listener);
    let opened = boot_ns();
    suspend(3);
    let slept = slept_ns() - before;
    assert!(slept > 1_000_000_000, "it slept for {slept} ns");
    // Events that are pending now get times after the sleep.
    let woken = boot_ns();
    let offset_ns = now() - i128::from(boot_ns());
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    let netns = scene.client_ns.inode();
    let stream = scene.expect(&facts);
    let events: Vec<&Value> = stream.of_netns(netns).collect();
    check_times(&events, begun, boot_ns(), offset_ns);
    let at = |event: &Value| event["boot_ns"].as_u64().expect("a number");
    assert!(events.iter().all(|event| at(event) <= opened || at(event) >= woken), "nothing happened meanwhile");
    for close in events.iter().filter(|event| event["event"] == "close" && event["role"] != "listener") {
        // A duration includes the sleep.
        let micros = close["duration_us"].as_u64().expect("a duration");
        assert!(micros * 1000 >= slept && micros * 1000 <= boot_ns() - begun, "{close}");
    }
}
