//! `tracer drops`: dropped packets, added up.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{
    copied::Copied,
    destination::{self, Home},
    report, runtime,
    session::{self, Extra},
};
use crate::{
    cli::{self, DropsArgs},
    clock,
    drops::{Aggregate, By},
    present::{
        clock::WallClock,
        drops::{DropsSink, Shape, TableOptions},
        summary::Summary,
        terminal::{self, Columns, Size},
    },
    proc::root::ProcRoot,
    stderr,
    stream::{Event, Sink},
    trace::{
        Earlier, Limits, Outcome, Presenter, Rehearsal, Seeding, Trace,
        queue::{Gauge, Queue},
    },
};

/// Traces until the end, and shows the drops.
///
/// # Errors
/// If no trace is possible, or its output cannot be written.
pub fn run(args: &DropsArgs) -> anyhow::Result<ExitCode> {
    let output = &args.output;
    let filter = match session::filter(&args.drops_only(), &args.kernel) {
        Ok(filter) => filter,
        Err(error) => cli::wrong_usage(error).exit(),
    };
    let (to, color) = destination::writer(output, Home::Stdout)?;
    let (columns, summary_columns) = (Columns::of(&to), Columns::of(&io::stderr()));
    let queue = Queue::new(to, args.kernel.sandbox()).context("cannot start a thread")?;
    let gauge = queue.gauge();
    let root = ProcRoot::default();
    let earlier = Earlier::start(&root, Seeding::Everything, args.kernel.sandbox())?;
    let quiet = output.json || output.all || filter.asks_for_reason();
    let extra = Extra { quiet_drops: Some(quiet), ..Extra::from(&args.kernel) };
    let opened = session::open(&filter, output, &extra)?;
    let opened_ns = opened.opened_ns;
    let screen = Screen::of(args);
    let shape = if output.json {
        Shape::Json
    } else {
        let rows = args.rows.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
        Shape::Table(TableOptions { wide: output.wide, columns, utc: output.utc, color, rows })
    };
    let clock = WallClock { offset_ns: clock::wall_offset_ns() };
    let mut board = Board {
        sink: DropsSink::new(
            Copied::new(queue, Rehearsal::is_wanted()),
            Aggregate::new(By::new(&args.by), quiet),
            shape,
            args.sort,
            clock,
            opened_ns,
        ),
        is_live: screen == Screen::Live,
        gauge,
        count: output.count,
    };
    let refresh = board.is_live.then_some(args.interval);
    // `--count` counts packets, and an event may stand for many.
    let limits = Limits { duration: output.duration, count: None, refresh, no_counters: output.no_counters };
    let runtime = runtime()?;
    let mut outcome = runtime.block_on(async {
        let banner = report::banner(&opened, "the packets that this host drops", output);
        let trace = Trace::new(opened, earlier, filter, root, limits, &mut board)?;
        stderr::say(banner);
        trace.run(None).await
    })?;
    let end_ns = outcome.end_ns;
    let _detaching = std::mem::take(&mut outcome.detaching);
    let size = (screen != Screen::None).then(|| Size::of(&io::stdout()));
    board.sink.finish(end_ns, size, &outcome.summary);
    let whole = board.sink.error().is_none() && !board.is_live;
    let (queue, written) = board.sink.into_inner().into_parts();
    let unwritten = destination::finish(&runtime, &queue, &outcome.stop)?;
    if let Some(rehearsal) = outcome.rehearsal.take().filter(|_| whole) {
        let again = Replayed(DropsSink::new(
            Vec::new(),
            Aggregate::new(By::new(&args.by), quiet),
            shape,
            args.sort,
            clock,
            opened_ns,
        ));
        let finish = |Replayed(mut again): Replayed, summary: &Summary| {
            again.finish(end_ns, size, summary);
            again.into_inner()
        };
        if !rehearsal.compare(&outcome.summary, &written, again, finish) {
            return Ok(ExitCode::from(report::DIFFERENT));
        }
    }
    let Outcome { summary, stop, lost, .. } = outcome;
    if !output.quiet {
        stderr::say(crate::present::summary::to_text(&about_drops(summary), summary_columns));
    }
    report::status(stop, lost || unwritten > 0, output)
}

/// Returns the part of the summary that the table lacks.
fn about_drops(summary: Summary) -> Summary {
    Summary { verdicts: Vec::new(), drops: Vec::new(), processes: Vec::new(), destinations: Vec::new(), ..summary }
}

/// The kind of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Screen {
    /// No terminal, or not for the table.
    None,
    /// A terminal that gets one table, at the end.
    Once,
    /// A terminal on which the table is drawn again and again.
    Live,
}

impl Screen {
    fn of(args: &DropsArgs) -> Self {
        let output = &args.output;
        if output.json || output.output.is_some() || !io::stdout().is_terminal() {
            return Self::None;
        }
        // A dumb terminal cannot move its cursor.
        if output.duration.is_some() || terminal::is_dumb() { Self::Once } else { Self::Live }
    }
}

/// Takes the stream, and draws it on time.
struct Board {
    sink: DropsSink<Copied<Queue>>,
    is_live: bool,
    gauge: Gauge,
    /// The number of packets after which the trace ends.
    count: Option<u64>,
}

impl Sink for Board {
    fn event(&mut self, event: &Event<'_>) {
        self.sink.event(event);
    }
}

/// The sums of a replay.
struct Replayed(DropsSink<Vec<u8>>);

impl Sink for Replayed {
    fn event(&mut self, event: &Event<'_>) {
        self.0.event(event);
    }
}

impl Presenter for Board {
    fn flush(&mut self) {}

    fn refresh(&mut self) {
        // A terminal that is not read gets the next picture once it has taken this one.
        if self.is_live && self.gauge.is_empty() {
            self.sink.draw(clock::boot_ns(), Size::of(&io::stdout()));
        }
    }

    fn is_full(&self) -> bool {
        self.count.is_some_and(|count| self.sink.aggregate().packets() >= count)
    }

    fn error(&self) -> Option<&io::Error> {
        self.sink.error()
    }
}
