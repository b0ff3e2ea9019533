//! `tracer why` under test.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, ExitStatus};

use serde_json::Value;

use crate::agent::{Agent, tracer_program};
use crate::netns;

/// A running `tracer why --json`.
pub struct Why(Agent);

/// What it said.
pub struct Answer {
    /// The causes, the first one first.
    pub causes: Vec<Value>,
    /// The last line.
    pub summary: Value,
    /// Everything on stderr.
    pub log: String,
    /// Its exit status.
    pub status: ExitStatus,
}

impl Why {
    /// Starts `tracer why --json ARGS`, and waits until it is ready.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(tracer_program());
        command.args(["why", "--json"]).args(args);
        let agent = Agent::start(&mut command, None);
        agent.await_ready();
        Self(agent)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the lines are no causes and a summary, or their ranks are out of order.
    #[must_use]
    pub fn end(self) -> Answer {
        Answer::of(self.0)
    }

    /// Calls `step` again and again until it has ended.
    ///
    /// # Panics
    /// As [`Why::end`].
    #[must_use]
    pub fn during(self, mut step: impl FnMut()) -> Answer {
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| self.end());
            while !ended.is_finished() {
                step();
            }
            ended.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
        })
    }

    /// Sends SIGINT, and waits for its end.
    #[must_use]
    pub fn stop(self) -> Answer {
        self.0.signal(libc::SIGINT);
        self.end()
    }
}

impl Answer {
    fn of(agent: Agent) -> Self {
        let ended = agent.end();
        let summary = ended.stream.summary().clone();
        let causes: Vec<Value> = ended.stream.kind("cause").cloned().collect();
        assert_eq!(causes.len() + 1, ended.stream.events.len(), "causes and a summary, nothing else");
        for (rank, cause) in (1..).zip(&causes) {
            assert_eq!(cause["rank"], rank, "{cause}");
        }
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        Self { causes, summary, log: ended.log, status: ended.status }
    }

    /// The causes above harmless.
    #[must_use]
    pub fn harmful(&self) -> Vec<&Value> {
        self.causes.iter().filter(|cause| cause["severity"] != "harmless").collect()
    }

    /// The causes, in short, for messages.
    #[must_use]
    pub fn brief(&self) -> String {
        let line = |cause: &Value| {
            let names = |list: &str| {
                let of = |party: &Value| format!("{}[{}]", party["comm"].as_str().unwrap_or_default(), party["pid"]);
                cause[list].as_array().into_iter().flatten().map(of).collect::<Vec<_>>().join(", ")
            };
            format!(
                "{} {} {}: {}\n    sufferers {}; culprits {}; where {}\n    {}",
                cause["rank"],
                cause["severity"],
                cause["name"],
                cause["text"],
                names("sufferers"),
                names("culprits"),
                cause["where"],
                cause["evidence"]
            )
        };
        self.causes.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The first cause.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn first(&self) -> &Value {
        self.causes.first().unwrap_or_else(|| panic!("there is a cause: {}\n{}", self.summary, self.log))
    }
}

/// A cause has this process among its `sufferers` or `culprits`.
#[must_use]
pub fn has(cause: &Value, list: &str, comm: &str) -> bool {
    cause[list].as_array().is_some_and(|parties| parties.iter().any(|party| party["comm"] == comm))
}

/// Runs `tracer why ARGS`, calls `meanwhile` once it is ready, and returns its text.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn text(args: &[&str], meanwhile: impl FnOnce()) -> String {
    let path = netns::scratch().join(format!("why-{}", netns::unique()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file is made");
    std::fs::remove_file(&path).expect("its name is removed");
    netns::leave_scratch();
    let mut command = Command::new(tracer_program());
    command.arg("why").args(args);
    let agent = Agent::start(&mut command, Some(file.try_clone().expect("a file is cloned")));
    agent.await_ready();
    meanwhile();
    let ended = agent.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("the text is read");
    text
}
