//! The tracer's output in a soak: counted while it comes, because it is too long to keep.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The number of connections known to have closed, in each of two generations.
const REMEMBERED: usize = 1 << 17;
/// The number of bytes of stderr that are kept.
const ERRORS: usize = 4096;
/// How long the tracer may take to get ready.
const READY: Duration = Duration::from_secs(60);

/// Counts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Closes in the namespace of the connections.
    pub closed: u64,
    /// Connections with a second close.
    pub closed_again: u64,
    /// Dropped packets, single and folded.
    pub dropped: u64,
    /// Events that the tracer reports as lost.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counts {
    closed: AtomicU64,
    closed_again: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
}

/// Reads a tracer's output.
pub struct Listener {
    counts: Arc<Counts>,
    errors: Arc<Mutex<String>>,
    ready: mpsc::Receiver<()>,
    stdout: Option<JoinHandle<Result<Value>>>,
    stderr: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts reading from the first line. `netns`: the namespace in which connections are counted.
    pub fn start(child: &mut Child, netns: u64) -> Result<Self> {
        let (stdout, stderr) = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
        let counts = Arc::new(Counts::default());
        let errors = Arc::new(Mutex::new(String::new()));
        let (say_ready, ready) = mpsc::channel();
        let (to, into) = (Arc::clone(&counts), Arc::clone(&errors));
        Ok(Self {
            stdout: Some(thread::spawn(move || read_events(stdout, netns, &to))),
            stderr: Some(thread::spawn(move || read_errors(stderr, &say_ready, &into))),
            counts,
            errors,
            ready,
        })
    }

    /// Waits for the ready line; returns whether it came.
    pub fn is_ready(&self) -> bool {
        self.ready.recv_timeout(READY).is_ok()
    }

    /// The end of its stderr.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counts so far.
    pub fn said(&self) -> Said {
        let Counts { closed, closed_again, dropped, lost } = &*self.counts;
        Said {
            closed: closed.load(Ordering::Relaxed),
            closed_again: closed_again.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            lost: lost.load(Ordering::Relaxed),
        }
    }

    /// The summary, when it has ended.
    pub fn end(&mut self) -> Result<Summary> {
        if let Some(Err(_)) = self.stderr.take().map(JoinHandle::join) {
            bail!("the tracer's stderr could not be read");
        }
        let last = match self.stdout.take().map(JoinHandle::join) {
            Some(Ok(last)) => last?,
            _ => bail!("the tracer's output could not be read"),
        };
        Ok(Summary { said: self.said(), last })
    }
}

fn read_errors(stderr: ChildStderr, ready: &mpsc::Sender<()>, errors: &Mutex<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line == "tracer: ready" {
            // The receiver is gone if this took too long.
            let _ = ready.send(());
        }
        let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < ERRORS {
            errors.push_str(&line);
            errors.push('\n');
        }
    }
}

/// Counts the events; returns the summary.
fn read_events(stdout: ChildStdout, netns: u64, counts: &Counts) -> Result<Value> {
    let of_netns = format!("\"netns\":{netns},");
    let mut closed = Closed::default();
    let mut last = Value::Null;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("the stream")?;
        // The order of the keys is the tracer's own; in any other order nothing would be found, and the soak would
        // fail.
        let kind = line.split("\"event\":\"").nth(1).and_then(|rest| rest.split('"').next());
        match kind {
            Some("close") if line.contains(&of_netns) => {
                counts.closed.fetch_add(1, Ordering::Relaxed);
                let conn = line.split("\"conn\":\"").nth(1).and_then(|rest| rest.split('"').next());
                if !closed.is_new(conn.with_context(|| format!("no conn: {line}"))?) {
                    eprintln!("closed once more: {line}");
                    counts.closed_again.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some("drop") => {
                let event: Value = serde_json::from_str(&line).context("an event")?;
                counts.dropped.fetch_add(event["count"].as_u64().unwrap_or(1), Ordering::Relaxed);
            }
            Some("lost") => {
                eprintln!("{line}");
                let event: Value = serde_json::from_str(&line).context("an event")?;
                counts.lost.fetch_add(event["count"].as_u64().unwrap_or(1), Ordering::Relaxed);
            }
            Some("summary") => last = serde_json::from_str(&line).context("the summary")?,
            _ => {}
        }
    }
    Ok(last)
}

/// The last closed connections: numbers are not reused, so a connection that closes again does so soon, if at all.
#[derive(Debug, Default)]
struct Closed {
    now: HashSet<String>,
    before: HashSet<String>,
}

impl Closed {
    fn is_new(&mut self, conn: &str) -> bool {
        if self.before.contains(conn) || !self.now.insert(conn.to_owned()) {
            return false;
        }
        if self.now.len() >= REMEMBERED {
            self.before = std::mem::take(&mut self.now);
        }
        true
    }
}

/// The end of a soak.
pub struct Summary {
    said: Said,
    last: Value,
}

impl Summary {
    /// Violations, one sentence each: `made` connections were made, `offered` datagrams sent.
    pub fn wrong(&self, made: u64, offered: u64) -> Vec<String> {
        let Self { said, last } = self;
        let mut wrong = Vec::new();
        // Both ends, and the listener.
        let due = 2 * made + 1;
        if said.closed != due {
            wrong.push(format!("{} of {due} closes came", said.closed));
        }
        if said.closed_again > 0 {
            wrong.push(format!("{} connections closed twice", said.closed_again));
        }
        if said.dropped < offered {
            wrong.push(format!("{} of at least {offered} drops came", said.dropped));
        }
        // The audit has accounted for calls that the kernel kept from a program.
        for (class, count) in last["lost"].as_object().into_iter().flatten().filter(|(class, _)| *class != "missed") {
            wrong.push(format!("{count} {class} events were lost"));
        }
        match last["audit"].as_array() {
            Some(audit) if !audit.is_empty() => {
                wrong.extend(
                    audit
                        .iter()
                        .filter(|hook| hook["exact"] != true)
                        .map(|hook| format!("the audit is not exact: {hook}")),
                );
            }
            _ => wrong.push("there is no audit".to_owned()),
        }
        wrong
    }

    pub fn print(&self, made: u64, offered: u64) {
        let Self { said, last } = self;
        println!("\n{made} connections made, {} closes; {offered} datagrams sent, {} drops", said.closed, said.dropped);
        println!("{:.1} s of CPU; lost {}", last["cost"]["cpu_seconds"].as_f64().unwrap_or_default(), last["lost"]);
        for ring in last["rings"].as_array().into_iter().flatten() {
            println!(
                "ring {:<8} {:>9} of {} bytes filled at the most",
                text(ring, "ring"),
                number(ring, "highest"),
                number(ring, "bytes")
            );
        }
        println!("\n    happened    delivered     filtered       folded     lost   missed  audit");
        for hook in last["audit"].as_array().into_iter().flatten() {
            let exact = if hook["exact"] == true { "exact" } else { "NOT EXACT" };
            println!(
                "{:>12} {:>12} {:>12} {:>12} {:>8} {:>8}  {}, {exact}",
                number(hook, "happened"),
                number(hook, "delivered"),
                number(hook, "filtered"),
                number(hook, "folded"),
                number(hook, "lost"),
                number(hook, "missed"),
                text(hook, "hook"),
            );
        }
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summary(said: Said, lost: &Value, exact: bool) -> Summary {
        Summary { said, last: json!({ "lost": lost, "audit": [{ "hook": "kfree_skb", "exact": exact }] }) }
    }

    const FINE: Said = Said { closed: 21, closed_again: 0, dropped: 100, lost: 0 };

    #[test]
    fn what_holds() {
        assert_eq!(summary(FINE, &json!({}), true).wrong(10, 100), Vec::<String>::new());
        // The host may drop packets of its own; and misses are accounted for.
        assert_eq!(summary(FINE, &json!({ "missed": 3 }), true).wrong(10, 99), Vec::<String>::new());
    }

    #[test]
    fn what_does_not() {
        let wrong = |said, lost: &Value, exact| summary(said, lost, exact).wrong(10, 100).join("; ");
        assert_eq!(wrong(Said { closed: 20, ..FINE }, &json!({}), true), "20 of 21 closes came");
        assert_eq!(wrong(Said { closed_again: 1, ..FINE }, &json!({}), true), "1 connections closed twice");
        assert_eq!(wrong(Said { dropped: 99, ..FINE }, &json!({}), true), "99 of at least 100 drops came");
        assert_eq!(wrong(FINE, &json!({ "drop": 7 }), true), "7 drop events were lost");
        assert!(wrong(FINE, &json!({}), false).starts_with("the audit is not exact: {"));
        assert_eq!(Summary { said: FINE, last: json!({}) }.wrong(10, 100), ["there is no audit"]);
    }

    #[test]
    fn one_that_closes_again_is_found() {
        let mut closed = Closed::default();
        assert!((0..3 * REMEMBERED).all(|number| closed.is_new(&number.to_string())));
        assert!(!closed.is_new(&(2 * REMEMBERED).to_string()));
        assert!(!closed.is_new(&(3 * REMEMBERED - 1).to_string()));
    }
}
