//! Connections in large numbers, and the account of what became of their events.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::generator::traffic_program;
use crate::netns::Netns;

/// What the churn makes, in the kinds of the stream.
const KINDS: [&str; 5] = ["listen", "connect", "established", "accept", "close"];

/// Starts the traffic generator in `netns`; its stdout is piped.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn traffic(netns: &Netns, args: &[&str]) -> Child {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns.name()]).arg(traffic_program()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the generator starts")
}

/// So many connections in `netns`, one after another, by four threads; what the generator says it did.
///
/// # Panics
/// If it fails.
pub fn churn(netns: &Netns, connections: usize) -> Value {
    let made = traffic(netns, &["churn", "--connections", &connections.to_string(), "--threads", "4"]);
    let out = made.wait_with_output().expect("the generator ends");
    assert!(out.status.success(), "the generator does what it should");
    serde_json::from_slice(&out.stdout).expect("the generator says what it did")
}

/// The events of the lifecycle of a churn with so many connections.
#[must_use]
pub const fn happened(connections: usize) -> u64 {
    6 * connections as u64 + 2
}

/// Those among `events`. A close that the tracer makes up at its end, for a socket whose own was lost, is
/// none.
pub fn delivered<'a>(events: impl IntoIterator<Item = &'a Value>) -> u64 {
    let is = |event: &&Value| {
        KINDS.iter().any(|kind| event["event"] == *kind)
            && event["verdict"] != "open_at_end"
            && event["incomplete"] != true
    };
    events.into_iter().filter(is).count() as u64
}
