//! How `tracer net` shows the state of a network namespace: one page for people, one object for
//! programs.

mod json;
mod page;
mod sections;
mod text;
mod whole;

pub use json::write as write_json;
pub use text::{Options, write as write_text};

use crate::net::Picture;
use crate::net::change::Changes;
use crate::net::health::Finding;

/// What there is to show of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its state.
    pub picture: &'a Picture,
    /// How it moved since the last time, with `--watch`.
    pub changes: Option<&'a Changes>,
    /// What is not calm.
    pub findings: &'a [Finding],
}

/// `count` per second.
fn per_second(count: u64, changes: &Changes) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
    let count = count as f64;
    if changes.seconds > 0.0 { count / changes.seconds } else { 0.0 }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
