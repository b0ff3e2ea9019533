//! Where the events go, and in which shape.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;

use crate::{
    agent::Presenter,
    cli::OutputArgs,
    clock,
    filter::Filter,
    present::{clock::WallClock, json::JsonSink, queue::Queue, summary::Summary, text::TextSink},
    privilege::Sandbox,
    stream::{Event, Sink},
};

/// Where events go if `-o` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// `live`
    Stdout,
    /// `run`, which leaves stdout to its command.
    Stderr,
}

/// An open destination.
pub struct Destination {
    shape: Shape,
    /// Events and what is said for people meet on stderr.
    shares_stderr: bool,
}

enum Shape {
    Json(Box<JsonSink<Queue>>),
    Text(Box<TextSink<Queue>>),
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").finish_non_exhaustive()
    }
}

impl Destination {
    /// Opens what `output` names; `sandbox`: of the thread that writes.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn open(output: &OutputArgs, home: Home, filter: &Filter, sandbox: Sandbox) -> anyhow::Result<Self> {
        let (to, terminal) = writer(output, home)?;
        let to = Queue::new(to, sandbox).context("cannot start a thread")?;
        let clock = WallClock { offset_ns: clock::wall_offset_ns() };
        let shape = if output.json {
            Shape::Json(Box::new(JsonSink::new(to, clock)))
        } else {
            let mut text = TextSink::new(to, clock, output.text_options(filter, terminal));
            text.header();
            text.flush();
            Shape::Text(Box::new(text))
        };
        Ok(Self { shape, shares_stderr: output.output.is_none() && home == Home::Stderr })
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// If it cannot be; a reader that has gone away is no error.
    pub fn finish(self) -> anyhow::Result<()> {
        let written = match self.shape {
            Shape::Json(json) => json.into_inner().drain(),
            Shape::Text(text) => text.into_inner().drain(),
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the events: make room, or write elsewhere with -o FILE")
            }
            _ => Ok(()),
        }
    }

    /// Says how it ended: as an object where events are objects, and for people on stderr.
    pub fn summary(&mut self, boot_ns: u64, summary: &Summary, quiet: bool) {
        if let Shape::Json(json) = &mut self.shape {
            json.summary(boot_ns, summary);
            json.flush();
            if self.shares_stderr {
                return;
            }
        }
        if !quiet {
            eprint!("{}", summary.to_text());
        }
    }
}

impl Sink for Destination {
    fn event(&mut self, event: &Event<'_>) {
        match &mut self.shape {
            Shape::Json(json) => json.event(event),
            Shape::Text(text) => text.event(event),
        }
    }
}

impl Presenter for Destination {
    fn flush(&mut self) {
        match &mut self.shape {
            Shape::Json(json) => json.flush(),
            Shape::Text(text) => text.flush(),
        }
    }

    fn error(&self) -> Option<&io::Error> {
        match &self.shape {
            Shape::Json(json) => json.error(),
            Shape::Text(text) => text.error(),
        }
    }
}

/// What `output` names, opened, and whether it is to be coloured.
///
/// # Errors
/// If the file cannot be created.
pub fn writer(output: &OutputArgs, home: Home) -> anyhow::Result<(Box<dyn Write + Send>, bool)> {
    Ok(match (&output.output, home) {
        (Some(path), _) => {
            let file = create(path)?;
            let color = output.color.enabled(&file);
            (Box::new(file), color)
        }
        (None, Home::Stdout) => (Box::new(io::stdout()), output.color.enabled(&io::stdout())),
        (None, Home::Stderr) => (Box::new(io::stderr()), output.color.enabled(&io::stderr())),
    })
}

fn create(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write to {}: name a file that can be created with -o", path.display()))
}
