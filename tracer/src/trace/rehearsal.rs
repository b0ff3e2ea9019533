//! A test option of debug builds: `TRACER_TEST_REPLAY=FILE` writes the tape of a trace, reads it anew at the end, applies
//! it to another core, and compares what both have said (docs/testing.md).

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Seek as _, Write as _},
};

use anyhow::Context as _;
use tracer_common::decode::Record;

use super::tape::{self, Tape, Witness};
use crate::{core::Input, filter::Filter, stream::summary::Summary};

/// The variable with the path of the file that gets a line for each comparison.
const VARIABLE: &str = "TRACER_TEST_REPLAY";

/// The tape of this trace, and where the comparison is reported.
#[derive(Debug)]
pub struct Rehearsal {
    tape: Tape<BufWriter<File>>,
    report: File,
}

impl Rehearsal {
    /// Begins a tape, if the variable asks for one. The tape lies beside the report, and goes with this process.
    pub fn begin(filter: &Filter, limit: Option<u64>) -> Option<Self> {
        if !cfg!(debug_assertions) {
            return None;
        }
        let path = std::env::var_os(VARIABLE)?;
        match Self::beside(path, filter, limit) {
            Ok(rehearsal) => Some(rehearsal),
            Err(error) => {
                // The test finds no report.
                crate::stderr::line(format_args!("{VARIABLE}: no tape can be written: {error}"));
                None
            }
        }
    }

    fn beside(report: OsString, filter: &Filter, limit: Option<u64>) -> io::Result<Self> {
        let mut tape = report.clone();
        tape.push(format!(".{}", std::process::id()));
        let report = OpenOptions::new().create(true).append(true).open(report)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&tape)?;
        fs::remove_file(&tape)?;
        Ok(Self { tape: Tape::begin(BufWriter::new(file), filter, limit), report })
    }

    /// Whether the variable asks for it.
    #[must_use]
    pub fn is_wanted() -> bool {
        cfg!(debug_assertions) && std::env::var_os(VARIABLE).is_some()
    }

    /// Writes an input down.
    pub fn write(&mut self, input: &Input<Record<'_>>) {
        self.tape.write(input);
    }

    /// Replays the tape into `again`, and compares its output and summary with those of the trace. Reports the result,
    /// and returns whether both are equal. `finish` ends the output with the summary.
    pub fn compare<S: Witness>(
        self,
        summary: &Summary,
        output: &[u8],
        again: S,
        finish: impl FnOnce(S, &Summary) -> Vec<u8>,
    ) -> bool {
        let Self { tape, mut report } = self;
        let result = replay(tape, summary, output, again, finish);
        let said = match &result {
            Ok(inputs) => format!("equal: {inputs} inputs, {} bytes\n", output.len()),
            Err(error) => format!("DIFFERS: {error:#}\n"),
        };
        if result.is_err() {
            crate::stderr::line(format_args!("the replay {said}"));
        }
        // One write, because tracers of several tests share the file.
        report.write_all(said.as_bytes()).is_ok() && result.is_ok()
    }
}

fn replay<S: Witness>(
    tape: Tape<BufWriter<File>>,
    summary: &Summary,
    output: &[u8],
    mut again: S,
    finish: impl FnOnce(S, &Summary) -> Vec<u8>,
) -> anyhow::Result<u64> {
    let mut file = tape.end().and_then(|to| to.into_inner().map_err(Into::into)).context("cannot write the tape")?;
    file.rewind()?;
    let (replayed, inputs) = tape::replay(BufReader::new(file), &mut again)?;
    let bytes = finish(again, &replayed);
    anyhow::ensure!(bytes == output, "{}", first_difference(output, &bytes));
    anyhow::ensure!(replayed == *summary, "the summary was {summary:?} and is {replayed:?}");
    Ok(inputs)
}

fn first_difference(was: &[u8], is: &[u8]) -> String {
    let (mut was, mut is) = (was.split(|byte| *byte == b'\n'), is.split(|byte| *byte == b'\n'));
    let mut number = 0;
    loop {
        number += 1;
        match (was.next(), is.next()) {
            (Some(a), Some(b)) if a == b => {}
            (a, b) => {
                let text = |line: Option<&[u8]>| line.map_or("nothing".into(), String::from_utf8_lossy).into_owned();
                return format!("line {number} was {} and is {}", text(a), text(b));
            }
        }
    }
}
