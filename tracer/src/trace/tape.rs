//! A test option of debug builds: `TRACER_TEST_REPLAY=FILE` writes every input down, applies what was written to another
//! core at the end, and compares what both have said (docs/testing.md).

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracer_common::decode::Record;

use crate::{
    core::{Core, Input, forms::Packed},
    filter::Filter,
    stream::{Sink, summary::Summary},
};

/// The variable with the path of the file that gets a line for each comparison.
const VARIABLE: &str = "TRACER_TEST_REPLAY";
/// The version of the inputs' form.
const VERSION: u32 = 1;

/// The first line of a tape.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    /// The most events.
    limit: Option<u64>,
}

/// The inputs of a trace, a line of JSON each.
#[derive(Debug)]
pub struct Tape {
    lines: Vec<u8>,
    filter: Filter,
    report: File,
}

impl Tape {
    /// An empty tape, if the variable asks for one.
    pub fn new(filter: &Filter, limit: Option<u64>) -> Option<Self> {
        if !cfg!(debug_assertions) {
            return None;
        }
        let path = std::env::var_os(VARIABLE)?;
        let report = OpenOptions::new().create(true).append(true).open(path).ok()?;
        let mut tape = Self { lines: Vec::new(), filter: filter.apart(), report };
        tape.line(&Head { version: VERSION, limit });
        Some(tape)
    }

    fn line(&mut self, value: &impl Serialize) {
        // What cannot be written is missing from the replay, which then differs.
        let _ = serde_json::to_writer(&mut self.lines, value);
        self.lines.push(b'\n');
    }

    /// Whether the variable asks for a tape.
    #[must_use]
    pub fn is_wanted() -> bool {
        cfg!(debug_assertions) && std::env::var_os(VARIABLE).is_some()
    }

    /// Writes an input down.
    pub fn write(&mut self, input: &Input<Record<'_>>) {
        self.line(input);
    }

    /// Applies the inputs to a new core, whose events go to `sink`. Returns its summary.
    fn replay(&self, sink: &mut dyn Sink) -> anyhow::Result<Summary> {
        let mut lines = self.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let head: Head = serde_json::from_slice(lines.next().context("an empty tape")?)?;
        anyhow::ensure!(head.version == VERSION, "version {}", head.version);
        let mut core = Core::new(self.filter.apart(), head.limit);
        for line in lines {
            let input: Input<Packed> =
                serde_json::from_slice(line).with_context(|| String::from_utf8_lossy(line).into_owned())?;
            input.open(|input| core.apply(input, sink))?;
        }
        Ok(core.into_summary())
    }

    /// Replays into `again`, and compares its output and summary with those of the trace. Reports the result, and
    /// returns whether both are equal. `finish` ends the output with the summary.
    pub fn compare<S: Sink>(
        mut self,
        summary: &Summary,
        output: &[u8],
        mut again: S,
        finish: impl FnOnce(S, &Summary) -> Vec<u8>,
    ) -> bool {
        let result = self.replay(&mut again).and_then(|replayed| {
            let bytes = finish(again, &replayed);
            anyhow::ensure!(bytes == output, "{}", first_difference(output, &bytes));
            anyhow::ensure!(replayed == *summary, "the summary was {summary:?} and is {replayed:?}");
            Ok(())
        });
        let inputs = self.lines.iter().filter(|byte| **byte == b'\n').count();
        let said = match &result {
            Ok(()) => format!("equal: {inputs} inputs, {} bytes\n", output.len()),
            Err(error) => format!("DIFFERS: {inputs} inputs: {error:#}\n"),
        };
        if result.is_err() {
            crate::stderr::line(format_args!("the replay {said}"));
        }
        // One write, because tracers of several tests share the file.
        self.report.write_all(said.as_bytes()).is_ok() && result.is_ok()
    }
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
