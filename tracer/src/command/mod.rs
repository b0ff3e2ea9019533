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
pub mod run;
pub mod schema;
pub mod sockets;
pub mod status;
pub mod traced;
pub mod why;

/// Makes the error for an output that cannot be written, with a remedy.
pub fn unwritable(what: &str, error: std::io::Error) -> anyhow::Error {
    // Only events have the option.
    let elsewhere = if what == "events" { "elsewhere with -o FILE" } else { "elsewhere" };
    let why = format!("cannot write the {what} ({error}): make room, or write {elsewhere}");
    anyhow::Error::new(error).context(why)
}
