//! The output of `tracer net`: a page of text for people, an object for programs.

mod json;
mod page;
mod sections;
mod text;
mod whole;

pub use json::{NetLine, write as write_json};
pub use text::{Options, write as write_text};

use tracer_host::net::Picture;
use tracer_host::net::change::Changes;
use tracer_host::net::health::Finding;

/// The data to show of a namespace.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its state.
    pub picture: &'a Picture,
    /// The changes since the last picture, with `--watch`.
    pub changes: Option<&'a Changes>,
    /// The findings.
    pub findings: &'a [Finding],
}

/// Returns `count` per second.
fn per_second(count: u64, changes: &Changes) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
    let count = count as f64;
    if changes.seconds > 0.0 { count / changes.seconds } else { 0.0 }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;
