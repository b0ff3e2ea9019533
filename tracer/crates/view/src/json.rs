//! The stream as JSON, one object a line: schema version 1.
//!
//! [`Line`](tracer_stream::Line) and the types behind it say what a line holds: `tracer schema` shows that. Lines are
//! appended to one reused buffer.

mod fast;
mod terminal;

use std::io::{self, Write};

use tracer_stream::{Event, Sink};

use super::clock::{Rfc3339, WallClock};
use super::output::Output;
use super::owners::Owners;
use super::summary::Summary;

pub(super) use fast::{head, name, ownership, socket};
pub(super) use terminal::members;
pub use terminal::{append, line};

/// Takes the stream and writes JSON.
#[derive(Debug)]
pub struct JsonSink<W> {
    output: Output<W>,
    clock: WallClock,
    time: Rfc3339,
    owners: Owners<Vec<u8>>,
}

impl<W: Write> JsonSink<W> {
    /// Makes a sink that writes to `to`.
    pub fn new(to: W, clock: WallClock) -> Self {
        Self { output: Output::new(to), clock, time: Rfc3339::default(), owners: Owners::default() }
    }

    /// Writes the gathered lines; the caller flushes after each batch of events.
    pub fn flush(&mut self) {
        self.output.flush();
    }

    /// Returns the error that ended the writing.
    pub fn error(&self) -> Option<&io::Error> {
        self.output.error()
    }

    /// Returns the number of printed events.
    pub fn printed(&self) -> u64 {
        self.output.printed()
    }

    /// Returns the writer.
    pub fn into_inner(self) -> W {
        self.output.into_inner()
    }

    /// Writes the summary, the last line. `boot_ns`: `CLOCK_BOOTTIME` at the end of the trace.
    pub fn summary(&mut self, boot_ns: u64, summary: &Summary) {
        let out = self.output.line();
        head(out, &mut self.time, self.clock, "summary", boot_ns);
        members(out, summary);
        out.extend_from_slice(b"}\n");
        self.output.flush();
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn event(&mut self, event: &Event<'_>) {
        let out = self.output.line();
        head(out, &mut self.time, self.clock, event.kind.name(), event.boot_ns);
        if let Some(socket) = &event.socket {
            fast::socket(out, socket, &mut self.owners);
        }
        fast::kind(out, &event.kind);
        out.extend_from_slice(b"}\n");
        self.output.line_done();
    }
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
