//! `tracer why`: what is wrong, ranked.

mod certainty;
mod containers;
mod names;
mod untraced;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Context as _;
use tokio::runtime::Runtime;

use self::certainty::Certainty;
use super::{
    copied::Copied,
    destination::{self, Home},
    status::status,
    traced,
};
use crate::{
    cli::WhyArgs,
    clock,
    core::{causes::Causes, what::What},
    filter::FilterArgs,
    privilege::missing,
    stderr,
    stream::{Diagnosis, Event, Sink},
    trace::{Ended, Outcome, Output, Presenter, Rehearsal, Stop, Witness, queue::Queue},
    view::{
        clock::WallClock,
        summary::Summary,
        terminal::Columns,
        why::{self, Asked, CauseSink, Options},
    },
};

/// Traces for some seconds, and says what is wrong.
///
/// # Errors
/// If no trace is possible, or its output cannot be written.
pub fn run(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let (output, kernel) = (args.output(), &args.kernel);
    let filter = traced::filter(&FilterArgs::default(), kernel);
    let (to, color) = destination::writer(&output, Home::Stdout)?;
    let columns = |of: Columns| if args.wide { Columns::ENDLESS } else { of };
    let options = Options { color, columns: columns(Columns::of(&to)) };
    let queue = Queue::new(to, kernel.sandbox()).context("cannot start a thread")?;
    let mut course = traced::course("this host to find out what is wrong", filter, &output, kernel);
    course.asks.resets = true;
    course.brief = true;
    course.limits.diagnose = true;
    let words = names::resolved(&args.what, args.quiet);
    if let Some(remedy) = missing::remedy() {
        return without_a_trace(args, &words, options, queue, &remedy);
    }
    let ready = course.open()?;
    let messages = io::stderr();
    let live = !args.quiet && !args.json && messages.is_terminal() && io::stdout().is_terminal();
    let form = Form {
        asked: Asked { what: names::shown(&words), ..Asked::default() },
        shape: if args.json { None } else { Some(options) },
        clock: WallClock { offset_ns: clock::wall_offset_ns() },
    };
    let board = Board {
        words: &words,
        sink: CauseSink::new(Copied::new(queue, Rehearsal::is_wanted()), form.clock),
        form,
        diagnosis: Diagnosis::default(),
        certainty: Certainty::new(ready.opened_ns()),
        quiet: args.quiet,
        ends_early: args.time.is_none(),
        live: live.then(|| Options { color: args.color.enabled(&messages), columns: columns(Columns::of(&messages)) }),
    };
    status(ready.run(board)?, &output)
}

/// Answers from what this user may see. `remedy`: what a trace needs.
fn without_a_trace(
    args: &WhyArgs,
    words: &[What],
    options: Options,
    queue: Queue,
    remedy: &str,
) -> anyhow::Result<ExitCode> {
    if !args.quiet {
        stderr::line(format_args!("{remedy}; until then it sees no failures, retransmissions and drops"));
    }
    let (diagnosis, summary) = untraced::diagnosis(words, remedy);
    let clock = WallClock { offset_ns: clock::wall_offset_ns() };
    let mut to = CauseSink::new(queue, clock);
    if args.json {
        to.write(clock::boot_ns(), &diagnosis, &summary);
    } else {
        let asked = Asked { what: names::shown(words), ..Asked::default() };
        to.text(&why::text(&diagnosis, &asked, None, options));
    }
    let runtime = crate::trace::runtime()?;
    destination::finish(&runtime, &to.into_inner(), &Stop::Duration)?;
    Ok(ExitCode::SUCCESS)
}

/// The form of the answer.
struct Form {
    asked: Asked,
    /// `None`: JSON.
    shape: Option<Options>,
    clock: WallClock,
}

impl Form {
    fn write<W: io::Write>(&self, to: &mut CauseSink<W>, boot_ns: u64, diagnosis: &Diagnosis, summary: &Summary) {
        match self.shape {
            None => to.write(boot_ns, diagnosis, summary),
            Some(options) => to.text(&why::text(diagnosis, &self.asked, Some(summary), options)),
        }
    }
}

/// Takes the causes, and writes them at the end.
struct Board<'a> {
    words: &'a [What],
    sink: CauseSink<Copied<Queue>>,
    form: Form,
    /// The latest one.
    diagnosis: Diagnosis,
    certainty: Certainty,
    quiet: bool,
    /// The trace ends once the causes are certain.
    ends_early: bool,
    /// How causes look on the terminal while the trace goes on, if there is one.
    live: Option<Options>,
}

impl Sink for Board<'_> {
    fn event(&mut self, _: &Event<'_>) {}
}

impl Presenter for Board<'_> {
    fn flush(&mut self) {}

    fn diagnosed(&mut self, causes: &Causes) {
        self.diagnosis = causes.diagnosis(self.words);
        let fresh = self.certainty.take(clock::boot_ns(), causes.scene().before.is_some(), &self.diagnosis);
        if let Some(options) = self.live {
            fresh.into_iter().for_each(|cause| stderr::say(why::found(cause, options)));
        }
    }

    fn is_full(&self) -> bool {
        self.ends_early && self.certainty.is_settled()
    }

    fn error(&self) -> Option<&io::Error> {
        self.sink.error()
    }
}

impl Output for Board<'_> {
    fn summary(&mut self, _: u64, _: &Summary) {
        // Whether the trace has ended early is known only later.
    }

    fn finish(mut self, runtime: &Runtime, outcome: Outcome) -> anyhow::Result<Ended> {
        let Outcome { stop, summary, lost, rehearsal, end_ns, .. } = outcome;
        if self.form.shape.is_none() && !self.quiet {
            self.diagnosis.remarks.iter().for_each(stderr::line);
        }
        self.form.asked.traced_ns = summary.duration_ns;
        self.form.asked.early = matches!(stop, Stop::Count);
        self.form.write(&mut self.sink, end_ns, &self.diagnosis, &summary);
        let whole = self.sink.error().is_none();
        let (queue, written) = self.sink.into_inner().into_parts();
        let unwritten = destination::finish(runtime, &queue, &stop)?;
        let again = Replayed { words: self.words, diagnosis: Diagnosis::default() };
        let finish = |Replayed { diagnosis, .. }: Replayed<'_>, summary: &Summary| {
            let mut sink = CauseSink::new(Vec::new(), self.form.clock);
            self.form.write(&mut sink, end_ns, &diagnosis, summary);
            sink.into_inner()
        };
        let differs =
            rehearsal.filter(|_| whole).is_some_and(|rehearsal| !rehearsal.compare(&summary, &written, again, finish));
        Ok(Ended { stop, lost: lost || unwritten > 0, differs })
    }
}

/// The causes of a replay.
struct Replayed<'a> {
    words: &'a [What],
    diagnosis: Diagnosis,
}

impl Sink for Replayed<'_> {
    fn event(&mut self, _: &Event<'_>) {}
}

impl Witness for Replayed<'_> {
    fn diagnosed(&mut self, causes: &Causes) {
        self.diagnosis = causes.diagnosis(self.words);
    }
}
