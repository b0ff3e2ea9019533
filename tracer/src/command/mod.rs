//! One module a subcommand, and their shared helpers.

pub mod completions;
pub mod copied;
pub mod destination;
pub mod doctor;
pub mod drops;
pub mod explain;
#[cfg(test)]
mod explain_tests;
pub mod live;
pub mod man;
pub mod net;
pub mod output_file;
pub mod report;
pub mod run;
pub mod schema;
pub mod session;
pub mod sockets;

use anyhow::Context as _;

/// Makes the error for an output that cannot be written, with a remedy.
pub fn unwritable(what: &str, error: std::io::Error) -> anyhow::Error {
    // Only events have the option.
    let elsewhere = if what == "events" { "elsewhere with -o FILE" } else { "elsewhere" };
    let why = format!("cannot write the {what} ({error}): make room, or write {elsewhere}");
    anyhow::Error::new(error).context(why)
}

/// Makes a runtime of one thread: the ring has one reader, and the host needs its processors.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}
