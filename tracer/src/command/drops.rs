//! `tracer drops`: dropped packets, added up.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Context as _;
use tokio::runtime::Runtime;

use super::{
    copied::Copied,
    destination::{self, Home},
    status::status,
    traced,
};
use crate::{
    cli::DropsArgs,
    clock,
    drops::{Aggregate, By, Order, Part},
    stderr,
    stream::{Event, Sink},
    trace::{
        Ended, Outcome, Output, Presenter, Rehearsal, Witness,
        queue::{Gauge, Queue},
    },
    view::{
        clock::WallClock,
        drops::{DropsSink, Shape, TableOptions},
        summary::Summary,
        terminal::{self, Columns, Size},
    },
};

/// Traces until the end, and shows the drops.
///
/// # Errors
/// If no trace is possible, or its output cannot be written.
pub fn run(args: &DropsArgs) -> anyhow::Result<ExitCode> {
    let (output, kernel) = (&args.output, &args.kernel);
    let filter = traced::filter(&args.drops_only(), kernel);
    let (to, color) = destination::writer(output, Home::Stdout)?;
    let columns = Columns::of(&to);
    let queue = Queue::new(to, kernel.sandbox()).context("cannot start a thread")?;
    let quiet = output.json || output.all || filter.asks_for_reason();
    let screen = Screen::of(args);
    let mut course = traced::course("the packets that this host drops", filter, output, kernel);
    course.asks.quiet_drops = quiet;
    course.limits.refresh = (screen == Screen::Live).then_some(args.interval);
    // `--count` counts packets, and an event may stand for many.
    course.limits.count = None;
    let ready = course.open()?;
    let rows = args.rows.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
    let table = TableOptions { wide: output.wide, columns, utc: output.utc, color, rows };
    let form = Form {
        by: &args.by,
        quiet,
        shape: if output.json { Shape::Json } else { Shape::Table(table) },
        order: args.sort,
        clock: WallClock { offset_ns: clock::wall_offset_ns() },
        began_ns: ready.opened_ns(),
    };
    let gauge = queue.gauge();
    let sink = form.sink(Copied::new(queue, Rehearsal::is_wanted()));
    let board = Board {
        sink,
        form,
        screen,
        gauge,
        count: output.count,
        end: None,
        columns: Columns::of(&io::stderr()),
        quiet: output.quiet,
    };
    status(ready.run(board)?, output)
}

/// The form of the sums.
#[derive(Clone, Copy)]
struct Form<'a> {
    by: &'a [Part],
    /// With harmless drops.
    quiet: bool,
    shape: Shape,
    order: Order,
    clock: WallClock,
    began_ns: u64,
}

impl Form<'_> {
    fn sink<W: io::Write>(&self, to: W) -> DropsSink<W> {
        let sums = Aggregate::new(By::new(self.by), self.quiet);
        DropsSink::new(to, sums, self.shape, self.order, self.clock, self.began_ns)
    }
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
struct Board<'a> {
    sink: DropsSink<Copied<Queue>>,
    form: Form<'a>,
    screen: Screen,
    gauge: Gauge,
    /// The number of packets after which the trace ends.
    count: Option<u64>,
    /// The size of the terminal at the end, if there is one.
    end: Option<Size>,
    /// Of the summary.
    columns: Columns,
    /// No summary on stderr.
    quiet: bool,
}

impl Sink for Board<'_> {
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

impl Witness for Replayed {}

impl Presenter for Board<'_> {
    fn flush(&mut self) {}

    fn refresh(&mut self) {
        // A terminal that is not read gets the next picture once it has taken this one.
        if self.screen == Screen::Live && self.gauge.is_empty() {
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

impl Output for Board<'_> {
    fn summary(&mut self, boot_ns: u64, summary: &Summary) {
        self.end = (self.screen != Screen::None).then(|| Size::of(&io::stdout()));
        self.sink.finish(boot_ns, self.end, summary);
    }

    fn finish(self, runtime: &Runtime, outcome: Outcome) -> anyhow::Result<Ended> {
        let Outcome { stop, summary, lost, rehearsal, end_ns, .. } = outcome;
        let whole = self.sink.error().is_none() && self.screen != Screen::Live;
        let (queue, written) = self.sink.into_inner().into_parts();
        let unwritten = destination::finish(runtime, &queue, &stop)?;
        let finish = |Replayed(mut again): Replayed, summary: &Summary| {
            again.finish(end_ns, self.end, summary);
            again.into_inner()
        };
        let differs = rehearsal.filter(|_| whole).is_some_and(|rehearsal| {
            !rehearsal.compare(&summary, &written, Replayed(self.form.sink(Vec::new())), finish)
        });
        if !self.quiet {
            stderr::say(crate::view::summary::to_text(&about_drops(summary), self.columns));
        }
        Ok(Ended { stop, lost: lost || unwritten > 0, differs })
    }
}
