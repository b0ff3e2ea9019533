//! The exit status of a trace.

use std::{io, process::ExitCode};

use super::unwritable;
use crate::{
    cli::OutputArgs,
    trace::{Ended, Stop},
};

/// Exit status if a replay said something else than the trace (`trace/rehearsal.rs`).
const DIFFERENT: u8 = 70;
/// Exit status with `--strict` if events were lost.
const LOST: u8 = 3;

/// Returns the exit status of a trace that has ended.
///
/// # Errors
/// If the output could not be written.
pub fn status(ended: Ended, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    if ended.differs {
        return Ok(ExitCode::from(DIFFERENT));
    }
    match ended.stop {
        // The reader of the pipe has seen enough.
        Stop::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Stop::Output(error) => {
            return Err(unwritable("events", error));
        }
        Stop::Signal | Stop::Duration | Stop::Count | Stop::Command(_) => {}
    }
    Ok(if output.strict && ended.lost { ExitCode::from(LOST) } else { ExitCode::SUCCESS })
}
