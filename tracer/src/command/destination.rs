//! The destination of events, and their form.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::Context as _;
use log::warn;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use super::{
    copied::Copied,
    output_file::{create, own_description},
    unwritable,
};
use crate::{
    cli::OutputArgs,
    clock,
    filter::Filter,
    present::{
        clock::WallClock,
        json::JsonSink,
        summary::Summary,
        terminal::Columns,
        text::{TextOptions, TextSink},
    },
    privilege::Sandbox,
    stderr,
    stream::{Event, Sink},
    trace::{
        Presenter, Rehearsal, Stop,
        queue::{Gauge, Queue},
    },
};

/// The destination of events without `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// `live`
    Stdout,
    /// `run`, which leaves stdout to its command.
    Stderr,
}

/// An open destination.
pub struct Destination {
    shape: Shape<Copied<Queue>>,
    form: Form,
    gauge: Gauge,
    /// Whether events share stderr with messages.
    shares_stderr: bool,
    /// Of the summary.
    columns: Columns,
}

enum Shape<W> {
    Json(Box<JsonSink<W>>),
    Text(Box<TextSink<W>>),
}

impl<W: Write> Shape<W> {
    fn new(to: W, form: Form) -> Self {
        match form {
            Form { text: None, clock } => Self::Json(Box::new(JsonSink::new(to, clock))),
            Form { text: Some(options), clock } => {
                let mut text = TextSink::new(to, clock, options);
                text.header();
                text.flush();
                Self::Text(Box::new(text))
            }
        }
    }

    fn into_inner(self) -> W {
        match self {
            Self::Json(json) => json.into_inner(),
            Self::Text(text) => text.into_inner(),
        }
    }
}

impl<W: Write> Sink for Shape<W> {
    fn event(&mut self, event: &Event<'_>) {
        match self {
            Self::Json(json) => json.event(event),
            Self::Text(text) => text.event(event),
        }
    }
}

/// The form of the output.
#[derive(Clone, Copy)]
struct Form {
    /// `None`: JSON.
    text: Option<TextOptions>,
    clock: WallClock,
}

/// What was written, if a test asks for it.
pub struct Written {
    form: Form,
    bytes: Vec<u8>,
}

impl Written {
    /// Replays the tape, and compares the output with what was written ([`Rehearsal::compare`]).
    #[must_use]
    pub fn compare(&self, rehearsal: Rehearsal, summary: &Summary, end_ns: u64) -> bool {
        let again = Shape::new(Vec::new(), self.form);
        let finish = |mut again: Shape<Vec<u8>>, summary: &Summary| {
            match &mut again {
                Shape::Json(json) => {
                    json.summary(end_ns, summary);
                    json.flush();
                }
                Shape::Text(text) => text.flush(),
            }
            again.into_inner()
        };
        rehearsal.compare(summary, &self.bytes, again, finish)
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").finish_non_exhaustive()
    }
}

impl Destination {
    /// Opens the destination in `output`; `sandbox`: for the thread that writes.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn open(output: &OutputArgs, home: Home, filter: &Filter, sandbox: Sandbox) -> anyhow::Result<Self> {
        let (to, color) = writer(output, home)?;
        let columns = Columns::of(&to);
        let to = Queue::new(to, sandbox).context("cannot start a thread")?;
        let gauge = to.gauge();
        let clock = WallClock { offset_ns: clock::wall_offset_ns() };
        let options = || TextOptions { columns, ..output.text_options(filter, color) };
        let form = Form { text: (!output.json).then(options), clock };
        let shape = Shape::new(Copied::new(to, Rehearsal::is_wanted()), form);
        let shares_stderr = output.output.is_none() && home == Home::Stderr;
        Ok(Self { shape, form, gauge, shares_stderr, columns: Columns::of(&io::stderr()) })
    }

    /// Waits until everything is written; returns the number of discarded lines ([`finish`]), and what was written,
    /// unless writing ended early.
    ///
    /// # Errors
    /// If writing fails; a reader that has gone away is no error.
    pub fn finish(self, runtime: &Runtime, stop: &Stop) -> anyhow::Result<(u64, Option<Written>)> {
        // Writing the summary has already failed.
        let error = self.error().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
        if let Some(error) = error.filter(|_| !matches!(stop, Stop::Output(_))) {
            let copy = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            return Err(unwritable("events", copy));
        }
        let whole = self.error().is_none();
        let (queue, bytes) = self.shape.into_inner().into_parts();
        let unwritten = finish(runtime, &queue, stop)?;
        Ok((unwritten, whole.then_some(Written { form: self.form, bytes })))
    }

    /// Writes the summary: as an object with `--json`, and as text on stderr.
    pub fn summary(&mut self, boot_ns: u64, summary: &Summary, quiet: bool) {
        if let Shape::Json(json) = &mut self.shape {
            json.summary(boot_ns, summary);
            json.flush();
            if self.shares_stderr {
                return;
            }
        }
        if !quiet {
            stderr::say(crate::present::summary::to_text(summary, self.columns));
        }
    }
}

impl Sink for Destination {
    fn event(&mut self, event: &Event<'_>) {
        self.shape.event(event);
    }
}

impl Presenter for Destination {
    fn flush(&mut self) {
        match &mut self.shape {
            Shape::Json(json) => json.flush(),
            Shape::Text(text) => text.flush(),
        }
    }

    fn gauge(&self) -> Option<Gauge> {
        Some(self.gauge.clone())
    }

    fn error(&self) -> Option<&io::Error> {
        match &self.shape {
            Shape::Json(json) => json.error(),
            Shape::Text(text) => text.error(),
        }
    }
}

/// Opens the file or stream in `output`; `true`: with colours.
///
/// # Errors
/// If the file cannot be created.
pub fn writer(output: &OutputArgs, home: Home) -> anyhow::Result<(File, bool)> {
    let ours = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).context("cannot use the standard output");
    let (file, color) = match (&output.output, home) {
        (Some(path), _) => {
            let file = create(path)?;
            let color = output.color.enabled(&file);
            (file, color)
        }
        (None, Home::Stdout) => (ours(io::stdout().as_fd())?, output.color.enabled(&io::stdout())),
        (None, Home::Stderr) => (ours(io::stderr().as_fd())?, output.color.enabled(&io::stderr())),
    };
    Ok((own_description(file), color))
}

/// Waits until everything in `queue` is written; after a signal only as long as its reader reads, and not
/// beyond the next signal. Returns the number of discarded lines, and warns about them.
///
/// # Errors
/// If writing fails; a reader that has gone away is no error.
pub fn finish(runtime: &Runtime, queue: &Queue, stop: &Stop) -> anyhow::Result<u64> {
    let again = async {
        let caught = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        if let [Ok(mut int), Ok(mut term), Ok(mut hup)] = caught {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
        }
    };
    let hurry = matches!(stop, Stop::Signal);
    match runtime.block_on(queue.finish(hurry, again)) {
        Ok(0) => Ok(0),
        Ok(thrown) => {
            let lines = if thrown == 1 { "line was" } else { "lines were" };
            warn!("{thrown} {lines} thrown away: the reader of the output has stopped");
            Ok(thrown)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(unwritable("events", error)),
    }
}
