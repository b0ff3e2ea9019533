//! A running `tracer`: starts it ready and stops it cleanly.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::alone;
use crate::schema;
use crate::stream::{Stream, brief, parse};
use crate::traffic::sys::patience;

/// The stderr line after which every event is seen.
pub const READY: &str = "tracer: ready";

/// The binary under test: `TRACER_BIN`, else `target/release/tracer` beside the running test's profile.
///
/// If it does not exist.
#[must_use]
pub fn tracer_program() -> PathBuf {
    alone::share();
    if let Some(path) = std::env::var_os("TRACER_BIN") {
        return path.into();
    }
    let this = std::env::current_exe().expect("the test has a path");
    let found = this.ancestors().map(|dir| dir.join("release/tracer")).find(|path| path.is_file());
    found.expect("set TRACER_BIN, or build target/release/tracer (cargo build --release -p tracer)")
}

#[derive(Default)]
struct Said {
    events: Vec<Value>,
    log: String,
    /// Number of ended streams: stdout and stderr.
    ended: u8,
    /// The reader's complaint about a line that is no event.
    broken: Option<String>,
}

#[derive(Default)]
struct Ears {
    said: Mutex<Said>,
    more: Condvar,
}

impl Ears {
    fn wait<T>(&self, mut ask: impl FnMut(&Said) -> Option<T>) -> Option<T> {
        self.wait_for(patience(), &mut ask)
    }

    fn wait_for<T>(&self, patience: Duration, ask: &mut dyn FnMut(&Said) -> Option<T>) -> Option<T> {
        let end = Instant::now() + patience;
        let mut said = self.said.lock().unwrap();
        loop {
            if let Some(answer) = ask(&said) {
                return Some(answer);
            }
            let left = end.checked_duration_since(Instant::now())?;
            said = self.more.wait_timeout(said, left).unwrap().0;
        }
    }
}

/// The output of a tracer that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Everything on stdout.
    pub stream: Stream,
    /// Everything on stderr.
    pub log: String,
    /// Its exit status.
    pub status: ExitStatus,
}

/// A running tracer. Killed when dropped.
pub struct Agent {
    child: Option<Child>,
    ears: Arc<Ears>,
    readers: Vec<JoinHandle<()>>,
}

impl Agent {
    /// Starts `tracer live --json ARGS`, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn live(args: &[&str]) -> Self {
        let mut command = Command::new(tracer_program());
        command.args(["live", "--json"]).args(args);
        let agent = Self::start(&mut command, None);
        agent.await_ready();
        agent
    }

    /// Like [`Agent::live`], with stdout in a file, for streams that are too long to keep.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn live_into(file: File, args: &[&str]) -> Self {
        let mut command = Command::new(tracer_program());
        command.args(["live", "--json"]).args(args);
        let agent = Self::start(&mut command, Some(file));
        agent.await_ready();
        agent
    }

    /// Starts any command line of the tracer. Waits for nothing.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, stdout: Option<File>) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(stdout.map_or_else(Stdio::piped, Stdio::from));
        Self::of(command.spawn().expect("tracer starts"))
    }

    /// Takes over a tracer that was started with a pipe for stderr, and one for stdout unless that is a file.
    ///
    /// # Panics
    /// If stderr is no pipe.
    #[must_use]
    pub fn of(mut child: Child) -> Self {
        let ears = Arc::new(Ears::default());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let ears = Arc::clone(&ears);
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    let line = line.expect("the stream is UTF-8");
                    let event = std::panic::catch_unwind(|| parse(&line));
                    let mut said = ears.said.lock().unwrap();
                    match event {
                        Ok(event) => said.events.push(event),
                        Err(_) => said.broken = Some(line),
                    }
                    ears.more.notify_all();
                }
                ears.said.lock().unwrap().ended += 1;
                ears.more.notify_all();
            }));
        } else {
            ears.said.lock().unwrap().ended += 1;
        }
        let stderr = child.stderr.take().expect("stderr is piped");
        let listener = Arc::clone(&ears);
        readers.push(std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let mut said = listener.said.lock().unwrap();
                said.log.push_str(&line.unwrap_or_default());
                said.log.push('\n');
                listener.more.notify_all();
            }
            listener.said.lock().unwrap().ended += 1;
            listener.more.notify_all();
        }));
        Self { child: Some(child), ears, readers }
    }

    /// Waits for the ready line.
    ///
    /// # Panics
    /// If the tracer ends first, or never prints it.
    pub fn await_ready(&self) {
        assert!(self.gets_ready(), "tracer gets ready; it said:\n{}", self.log());
    }

    /// Waits for the ready line, or for the tracer's end; returns whether the line came.
    #[must_use]
    pub fn gets_ready(&self) -> bool {
        let ready = self.ears.wait(|said| {
            let ready = said.log.lines().any(|line| line.trim_end() == READY);
            (ready || said.ended == 2).then_some(ready)
        });
        ready == Some(true)
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it has been waited for.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Its stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.ears.said.lock().unwrap().log.clone()
    }

    /// The first event that `ask` accepts; `None` if none comes within the patience of the tests.
    pub fn hears(&self, mut ask: impl FnMut(&Value) -> bool) -> Option<Value> {
        let mut seen = 0;
        let found = self.ears.wait(|said| {
            let new = &said.events[seen..];
            seen = said.events.len();
            let found = new.iter().find(|event| ask(event)).cloned();
            (found.is_some() || said.ended == 2).then_some(found)
        });
        found.flatten()
    }

    /// Waits for an event that `ask` accepts; returns it.
    ///
    /// # Panics
    /// With the events that came instead.
    pub fn wait_for(&self, what: &str, ask: impl FnMut(&Value) -> bool) -> Value {
        self.hears(ask).unwrap_or_else(|| {
            let said = self.ears.said.lock().unwrap();
            let tail: Vec<_> = said.events.iter().rev().take(60).rev().map(|e| brief(e).to_string()).collect();
            panic!("no {what} came; the last {} events:\n{}\nstderr:\n{}", tail.len(), tail.join("\n"), said.log);
        })
    }

    /// Waits for a finding called `name` (any, if that is empty) whose sentence contains `part`; returns it.
    pub fn finding(&self, name: &str, part: &str) -> Value {
        self.wait_for(&format!("finding {name} about {part}"), |event| {
            event["event"] == "finding"
                && (name.is_empty() || event["name"] == name)
                && event["text"].as_str().is_some_and(|text| text.contains(part))
        })
    }

    /// Waits until the events so far satisfy `ask`; returns whether they do.
    pub fn settles(&self, mut ask: impl FnMut(&[Value]) -> bool) -> bool {
        self.ears.wait(|said| if ask(&said.events) { Some(true) } else { (said.ended == 2).then_some(false) })
            == Some(true)
    }

    /// Whether the events so far satisfy `ask`, without waiting.
    ///
    /// # Panics
    /// If a reader has panicked.
    pub fn settles_now(&self, ask: impl FnOnce(&[Value]) -> bool) -> bool {
        ask(&self.ears.said.lock().unwrap().events)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the process was started here and has not been waited for, so the id is its own.
        unsafe { libc::kill(self.pid() as i32, signal) };
    }

    /// Sends SIGINT, and returns the output to the end.
    #[must_use]
    pub fn stop(self) -> Ended {
        self.signal(libc::SIGINT);
        self.end()
    }

    /// Waits for its end, for whatever reason.
    ///
    /// # Panics
    /// If it does not end, or prints a line that is no event.
    #[must_use]
    pub fn end(mut self) -> Ended {
        // A long stream takes some time to be written out.
        let ended = self.ears.wait_for(patience() * 4, &mut |said| (said.ended == 2).then_some(()));
        assert!(ended.is_some(), "tracer ends; it said:\n{}", self.log());
        let mut child = self.child.take().expect("it runs");
        let status = child.wait().expect("tracer is waited for");
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader ends");
        }
        let mut said = self.ears.said.lock().unwrap();
        assert_eq!(said.broken, None, "every line of the stream is an event");
        let (events, log) = (std::mem::take(&mut said.events), std::mem::take(&mut said.log));
        assert!(!log.contains("the replay DIFFERS"), "a replay says the same:\n{log}");
        Ended { stream: Stream { events }, log, status }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs the tracer to its end, without waiting for it to get ready; for wrong usage, `doctor` and the like. Returns
/// status, stdout and stderr.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn run_to_end(args: &[&str]) -> (ExitStatus, String, String) {
    let mut child = Command::new(tracer_program())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tracer starts");
    let mut err = child.stderr.take().expect("stderr is piped");
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).expect("stderr is UTF-8");
        text
    });
    let mut out = String::new();
    child.stdout.take().expect("stdout is piped").read_to_string(&mut out).expect("stdout is UTF-8");
    if args.contains(&"--json") {
        for line in out.lines() {
            schema::check(&serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}")));
        }
    }
    (child.wait().expect("tracer is waited for"), out, log.join().expect("the reader ends"))
}
