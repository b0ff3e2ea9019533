//! The tape of a trace: its filter and limit, and then every input of its core, a line of JSON each.
//!
//! A tape has all that its replay needs, in forms without pointers and without a place in a process (`core/forms.rs`). A
//! reader knows a version as a whole; a field that a later one adds has a value for tapes without it.

use std::io::{self, BufRead, Write};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tracer_common::decode::Record;

use crate::{
    core::{Core, Input, causes::Causes, forms::Packed},
    filter::Filter,
    stream::{Sink, summary::Summary},
};

/// The version of the form.
const VERSION: u32 = 2;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head<F> {
    version: u32,
    /// The most events.
    limit: Option<u64>,
    /// The filter as it was at the beginning.
    filter: F,
}

/// A tape that is written.
#[derive(Debug)]
pub struct Tape<W> {
    to: W,
    /// The first error: nothing is written after it.
    error: Option<io::Error>,
}

impl<W: Write> Tape<W> {
    /// Begins the tape of a trace with this filter, and with this limit of events.
    pub fn begin(to: W, filter: &Filter, limit: Option<u64>) -> Self {
        let mut tape = Self { to, error: None };
        tape.line(&Head { version: VERSION, limit, filter });
        tape
    }

    fn line(&mut self, value: &impl Serialize) {
        if self.error.is_none() {
            let written = serde_json::to_writer(&mut self.to, value).map_err(io::Error::from);
            self.error = written.and_then(|()| self.to.write_all(b"\n")).err();
        }
    }

    /// Writes an input down.
    pub fn write(&mut self, input: &Input<Record<'_>>) {
        self.line(input);
    }

    /// Ends the tape, and returns where it was written.
    ///
    /// # Errors
    /// The first error of a write.
    pub fn end(mut self) -> io::Result<W> {
        self.to.flush()?;
        self.error.map_or(Ok(self.to), Err)
    }
}

/// Takes what a replay gives again.
pub trait Witness: Sink {
    /// Takes the causes at the end, if they were wanted.
    fn diagnosed(&mut self, causes: &Causes) {
        let _ = causes;
    }
}

/// Applies the inputs of a tape to a new core, whose events go to `sink`. Returns its summary, and the number of inputs.
///
/// # Errors
/// If the tape cannot be read, or is of another version.
pub fn replay(from: impl BufRead, sink: &mut impl Witness) -> anyhow::Result<(Summary, u64)> {
    let mut lines = from.split(b'\n');
    let head = lines.next().context("the tape is empty")?.context("cannot read the tape")?;
    let Head { version, limit, filter } = serde_json::from_slice::<Head<Filter>>(&head)?;
    ensure!(version == VERSION, "the tape has version {version}, and this tracer reads {VERSION}");
    let (mut core, mut inputs) = (Core::new(filter, limit), 0);
    for line in lines {
        let line = line.context("cannot read the tape")?;
        let input: Input<Packed> =
            serde_json::from_slice(&line).with_context(|| String::from_utf8_lossy(&line).into_owned())?;
        input.open(|input| core.apply(input, sink))?;
        inputs += 1;
    }
    if let Some(causes) = core.causes() {
        sink.diagnosed(causes);
    }
    Ok((core.into_summary(), inputs))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::{
        core::{Lost, TraceAccount},
        stream::Event,
    };

    /// Counts lost events.
    struct Losses(u64);

    impl Witness for Losses {}

    impl Sink for Losses {
        fn event(&mut self, event: &Event<'_>) {
            self.0 += u64::from(event.kind.name() == "lost");
        }
    }

    fn tape(limit: Option<u64>) -> Vec<u8> {
        let mut tape = Tape::begin(Vec::new(), &Filter::default(), limit);
        for count in 1..4 {
            tape.write(&Input::Lost { boot_ns: count, class: "drop", count });
        }
        tape.write(&Input::End { boot_ns: 9, followed: None });
        let account = TraceAccount { lost: Lost { drop: 6, ..Lost::default() }, ..TraceAccount::default() };
        tape.write(&Input::Account(Box::new(account)));
        tape.end().unwrap()
    }

    #[test]
    fn a_tape_has_all_that_its_replay_needs() {
        for (limit, shown) in [(None, 3), (Some(2), 2)] {
            let mut losses = Losses(0);
            let (summary, inputs) = replay(&*tape(limit), &mut losses).unwrap();
            assert_eq!((losses.0, inputs), (shown, 5));
            assert_eq!((&*summary.events, &*summary.lost), (&[("lost", shown)][..], &[("drop", 6)][..]));
        }
    }

    #[test]
    fn what_is_no_tape_of_this_version_is_an_error() {
        let error = |tape: &[u8]| replay(tape, &mut Losses(0)).unwrap_err().to_string();
        assert_eq!(error(b""), "the tape is empty");
        let whole = String::from_utf8(tape(None)).unwrap();
        assert!(error(whole.replacen("\"version\":2", "\"version\":3", 1).as_bytes()).contains("version 3"));
        assert!(error(whole.replacen("lost", "last", 1).as_bytes()).contains("last"));
        assert!(error(&whole.as_bytes()[..whole.len() - 9]).contains("account"), "cut");
    }

    /// Takes as many bytes as it has room for.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_tape_that_cannot_be_written_says_so_at_its_end() {
        let mut tape = Tape::begin(Full(1500), &Filter::default(), None);
        for _ in 0..20 {
            tape.write(&Input::Settled);
        }
        assert!(tape.error.is_none());
        for _ in 0..200 {
            tape.write(&Input::Settled);
        }
        assert_eq!(tape.end().err().unwrap().kind(), io::ErrorKind::StorageFull);
    }
}
