//! `tracer drops`: rows of dropped packets, as a table or as objects.

pub mod aggregate;
mod cells;
mod json;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use self::aggregate::{Aggregate, By, Order, Part};
pub use self::json::{DiscardRow, DropRow};
use self::table::Figures;
pub use self::table::TableOptions;
use super::{
    clock::{TimeOfDay, WallClock},
    output::Output,
    summary::Summary,
    terminal::{self, Size},
};
use tracer_stream::{Event, Sink};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One object for each row.
    Json,
    /// A table.
    Table(TableOptions),
}

/// Takes the stream, adds its drops up, and shows them on request.
#[derive(Debug)]
pub struct DropsSink<W> {
    output: Output<W>,
    aggregate: Aggregate,
    shape: Shape,
    order: Order,
    clock: WallClock,
    time: TimeOfDay,
    /// The beginning of the trace, `CLOCK_BOOTTIME` ns.
    begin_ns: u64,
    /// The time of the last drawing on the terminal, and its number of lines.
    drawn: Option<(u64, usize)>,
}

impl<W: Write> DropsSink<W> {
    /// Makes a sink that writes to `to`. The trace began at `begin_ns`, `CLOCK_BOOTTIME`.
    pub fn new(to: W, aggregate: Aggregate, shape: Shape, order: Order, clock: WallClock, begin_ns: u64) -> Self {
        let utc = matches!(shape, Shape::Table(TableOptions { utc: true, .. }));
        let time = TimeOfDay::new(utc);
        Self { output: Output::new(to), aggregate, shape, order, clock, time, begin_ns, drawn: None }
    }

    /// Returns the sums.
    pub const fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    /// Returns the error that ended the writing.
    pub fn error(&self) -> Option<&io::Error> {
        self.output.error()
    }

    /// Returns the writer.
    pub fn into_inner(self) -> W {
        self.output.into_inner()
    }

    /// Draws the table on a terminal of this size, in the place of the one before.
    pub fn draw(&mut self, boot_ns: u64, size: Size) {
        let Shape::Table(options) = self.shape else { return };
        let since = self.drawn.map_or(self.begin_ns, |(at, _)| at);
        self.erase();
        let mut time = Vec::new();
        self.time.write(&mut time, self.clock.wall_ns(boot_ns));
        let figures =
            Figures { time: Some(String::from_utf8_lossy(&time).into_owned()), over_ns: boot_ns.saturating_sub(since) };
        // The cursor takes the line below the table.
        let rows = self.aggregate.rows(self.order);
        let room = Size { lines: size.lines.saturating_sub(1), ..size };
        let lines = table::write(self.output.line(), &self.aggregate, &rows, &options, &figures, Some(room));
        self.output.flush();
        self.aggregate.refresh();
        self.drawn = Some((boot_ns, lines));
    }

    /// Erases the table from the terminal.
    fn erase(&mut self) {
        let (_, lines) = self.drawn.unwrap_or_default();
        terminal::erase(self.output.line(), lines);
    }

    /// Shows the final state. `size`: of the terminal, if it is one.
    pub fn finish(&mut self, end_ns: u64, size: Option<Size>, summary: &Summary) {
        let order = if self.order == Order::Rate { Order::Count } else { self.order };
        match self.shape {
            Shape::Json => {
                let rows = self.aggregate.rows(order);
                json::write(self.output.line(), self.clock, &rows);
                json::write_discards(self.output.line(), self.clock, &self.aggregate.discards());
                json::summary(self.output.line(), self.clock, end_ns, summary);
            }
            Shape::Table(options) => {
                self.erase();
                let figures = Figures { time: None, over_ns: end_ns.saturating_sub(self.begin_ns) };
                let rows = self.aggregate.rows(order);
                table::write(self.output.line(), &self.aggregate, &rows, &options, &figures, size);
            }
        }
        self.output.flush();
    }
}

impl<W: Write> Sink for DropsSink<W> {
    fn event(&mut self, event: &Event<'_>) {
        self.aggregate.event(event);
    }
}
