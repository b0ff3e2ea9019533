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
    privilege::Sandbox,
    stderr,
    stream::{Event, Sink},
    trace::{
        Ended, Outcome, Output, Presenter, Rehearsal, Stop, Witness,
        queue::{Gauge, Queue},
    },
    view::{
        clock::WallClock,
        json::JsonSink,
        summary::Summary,
        terminal::Columns,
        text::{TextOptions, TextSink},
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
    /// No summary on stderr.
    quiet: bool,
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

impl<W: Write> Witness for Shape<W> {}

/// The form of the output.
#[derive(Clone, Copy)]
struct Form {
    /// `None`: JSON.
    text: Option<TextOptions>,
    clock: WallClock,
}

impl Form {
    /// Whether a replay gives the output `was` again ([`Rehearsal::compare`]).
    fn gives_again(self, was: &[u8], rehearsal: Rehearsal, summary: &Summary, end_ns: u64) -> bool {
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
        rehearsal.compare(summary, was, Shape::new(Vec::new(), self), finish)
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
        let (quiet, columns) = (output.quiet, Columns::of(&io::stderr()));
        Ok(Self { shape, form, gauge, shares_stderr, columns, quiet })
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

impl Output for Destination {
    /// Writes the summary: as an object with `--json`, and as text on stderr.
    fn summary(&mut self, boot_ns: u64, summary: &Summary) {
        if let Shape::Json(json) = &mut self.shape {
            json.summary(boot_ns, summary);
            json.flush();
            if self.shares_stderr {
                return;
            }
        }
        if !self.quiet {
            stderr::say(crate::view::summary::to_text(summary, self.columns));
        }
    }

    fn finish(self, runtime: &Runtime, outcome: Outcome) -> anyhow::Result<Ended> {
        let Outcome { stop, summary, lost, rehearsal, end_ns, .. } = outcome;
        // Writing the summary has already failed.
        let error = self.error().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
        if let Some(error) = error.filter(|_| !matches!(stop, Stop::Output(_))) {
            let copy = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            return Err(unwritable("events", copy));
        }
        let whole = self.error().is_none();
        let form = self.form;
        let (queue, bytes) = self.shape.into_inner().into_parts();
        let unwritten = finish(runtime, &queue, &stop)?;
        let differs =
            rehearsal.filter(|_| whole).is_some_and(|rehearsal| !form.gives_again(&bytes, rehearsal, &summary, end_ns));
        Ok(Ended { stop, lost: lost || unwritten > 0, differs })
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
