//! `tracer live`.

use std::process::ExitCode;

use super::{
    destination::{Destination, Home},
    status::status,
    traced,
};
use crate::cli::LiveArgs;

/// Traces until the end.
///
/// # Errors
/// If no trace is possible, or its output cannot be written.
pub fn run(args: &LiveArgs) -> anyhow::Result<ExitCode> {
    let LiveArgs { filter, output, kernel } = args;
    let filter = traced::filter_of_events(filter, output, kernel);
    let destination = Destination::open(output, Home::Stdout, &filter, kernel.sandbox())?;
    let course = traced::course("the TCP connections of this host", filter, output, kernel);
    status(course.open()?.run(destination)?, output)
}
