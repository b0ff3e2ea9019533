//! Rows as text.

use std::fmt::Write as _;

use super::aggregate::{Aggregate, By, Discarded, Row};
use super::{
    super::{
        escape,
        ink::{self, Ink},
        stack,
        table::{Column, Layout},
        terminal::{Columns, Size},
        unit::{Count, Micros},
        wrap::Paragraph,
    },
    cells,
};
use tracer_stream::Endpoint;

const COUNT: usize = 9;
/// The most lines of counters; `--json` has all.
const MOST_DISCARDS: usize = 5;

/// How the table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether nothing is cut, and everything is shown.
    pub wide: bool,
    /// The columns of a line.
    pub columns: Columns,
    /// Whether times are in UTC.
    pub utc: bool,
    /// Whether to use colours.
    pub color: bool,
    /// The most rows.
    pub rows: Option<usize>,
}

/// The time that rates refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    /// The time of day; `None` for the table at the end, whose rates cover the whole trace.
    pub time: Option<String>,
    /// The time that the rates cover.
    pub over_ns: u64,
}

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Count,
    Rate,
    Reason,
    Location,
    Owner,
    Flow,
    Details,
}

/// Returns the columns of the parts that separate rows.
fn columns(by: By, wide: bool) -> Vec<(Field, Column)> {
    // Without the flow, the others have its room.
    let (reason, location, owner) = if by.flow { (18, 16, 15) } else { (26, 30, 24) };
    let flow = if wide { 54 } else { 110 };
    let columns = [
        (true, Field::Count, Column::number("PACKETS", COUNT)),
        (true, Field::Rate, Column::number("/S", 7).optional(2)),
        (by.reason, Field::Reason, Column::text("REASON", [10, reason, 26], 3)),
        (by.location, Field::Location, Column::text("LOCATION", [8, location, 34], 1).optional(1)),
        (by.owner, Field::Owner, Column::text("OWNER", [10, owner, 24], 2)),
        (by.flow, Field::Flow, Column::text("FLOW", [22, 30, flow], 4)),
        (wide, Field::Details, Column::text("", [0; 3], 0)),
    ];
    columns.into_iter().filter(|(shown, _, _)| *shown).map(|(_, field, column)| (field, column)).collect()
}

/// Appends totals, names of columns, and as many rows as `size` and `options` leave room for. Returns
/// the number of lines. Lines of a redrawn table are never longer than the terminal.
pub(super) fn write(
    out: &mut Vec<u8>,
    aggregate: &Aggregate,
    rows: &[&Row],
    options: &TableOptions,
    figures: &Figures,
    size: Option<Size>,
) -> usize {
    // The columns of the layout, and those that no line exceeds.
    let (line, columns) = match (size, &figures.time) {
        (Some(size), Some(_)) => (Columns::new(size.columns).get(), size.columns),
        _ if options.wide => (usize::MAX, usize::MAX),
        _ => (options.columns.get(), options.columns.get()),
    };
    let plain = |out: &mut Vec<u8>, text: &str| {
        let mut line = String::new();
        escape::push_cut_plain(&mut line, text.trim_end(), columns);
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    };
    // With `--rows` the final table shows them all, even beyond the terminal.
    let most_lines = size.filter(|_| figures.time.is_some() || options.rows.is_none()).map(|size| size.lines);
    let mut above = String::new();
    Paragraph { first: 0, rest: 2, columns: line }.push(&mut above, &totals(aggregate, figures));
    for row in aggregate.discards().iter().take(MOST_DISCARDS) {
        above.push('\n');
        Paragraph { first: 0, rest: COUNT + 1, columns: line }.push(&mut above, &discarded(row));
    }
    let mut lines = 0;
    for text in above.lines().take(most_lines.unwrap_or(usize::MAX).max(1)) {
        plain(out, text);
        lines += 1;
    }
    if rows.is_empty() || most_lines.is_some_and(|most| lines >= most) {
        return lines;
    }
    let (fields, sized): (Vec<Field>, Vec<Column>) = self::columns(aggregate.by(), options.wide).into_iter().unzip();
    let layout = if options.wide { Layout::full(&sized) } else { Layout::new(&sized, line) };
    let mut header = String::new();
    layout.header(&mut header);
    plain(out, &header);
    lines += 1;
    let mut shown = 0;
    let mut block = Vec::new();
    for row in rows.iter().take(options.rows.unwrap_or(usize::MAX)) {
        block.clear();
        write_row(&mut block, row, (&layout, &fields), options, figures, columns);
        let height = 1 + stack::append(&mut block, &row.stack, columns);
        let below = usize::from(shown + 1 < rows.len());
        if most_lines.is_some_and(|most| lines + height + below > most) {
            break;
        }
        out.extend_from_slice(&block);
        lines += height;
        shown += 1;
    }
    let rest = rows.get(shown..).unwrap_or_default();
    if !rest.is_empty() && most_lines.is_none_or(|most| lines < most) {
        let packets = rest.iter().map(|row| row.count).sum();
        let how = if figures.time.is_some() { "" } else { ": --rows N, or --json, shows them" };
        let rest = some(rest.len() as u64, "more row");
        plain(out, &format!("and {rest} with {}{how}", some(packets, "packet")));
        lines += 1;
    }
    lines
}

fn totals(aggregate: &Aggregate, figures: &Figures) -> String {
    let mut line = String::new();
    let over = Micros(figures.over_ns / 1000);
    let packets = aggregate.packets();
    // Writing to a String does not fail.
    let _ = match &figures.time {
        Some(time) => write!(line, "{time}  {} dropped", some(packets, "packet")),
        None => write!(line, "{} dropped in {over}", some(packets, "packet")),
    };
    if packets > 0 {
        let count = if figures.time.is_some() { aggregate.recent() } else { packets };
        let _ = write!(line, ", {}/s, in ", cells::rate(count, figures.over_ns));
        line.push_str(&some(aggregate.len() as u64, "row"));
    }
    match aggregate.lost() {
        0 => line.push_str("; nothing lost"),
        lost => drop(write!(line, "; LOST {}", Count(lost))),
    }
    // The number is unknown: the kernel side skips most of them.
    if aggregate.hides_quiet() {
        line.push_str("; harmless ones with --all");
    }
    line
}

/// Formats a counter's discards.
fn discarded(row: &Discarded) -> String {
    let mut line = format!("{:>COUNT$} by {}", Count(row.discard.count), row.discard.counter);
    if let Some(iface) = &row.discard.iface {
        line.push_str(" of ");
        escape::push(&mut line, iface);
    }
    if let Some((addr, port)) = row.local {
        let _ = write!(line, " {}", Endpoint { addr: Some(addr), port: Some(port), ifindex: None });
    }
    if let Some(owner) = &row.owner {
        line.push_str(" of ");
        escape::push(&mut line, &owner.comm);
        let _ = write!(line, "[{}]", owner.pid);
    }
    if let (Some(queue), Some(backlog)) = (row.discard.queue, row.discard.backlog) {
        let _ = write!(line, ", queue {queue} of {backlog}");
    }
    line
}

fn some(count: u64, what: &str) -> String {
    format!("{} {what}{}", Count(count), if count == 1 { "" } else { "s" })
}

fn write_row(
    out: &mut Vec<u8>,
    row: &Row,
    (layout, fields): (&Layout, &[Field]),
    options: &TableOptions,
    figures: &Figures,
    columns: usize,
) {
    let recent = if figures.time.is_some() { row.recent } else { row.count };
    let mut line = String::new();
    layout.row(&mut line, options.color, |line, at, width| {
        let width = if options.wide { usize::MAX } else { width };
        match fields.get(at) {
            Some(Field::Count) => line.push_str(&Count(row.count).to_string()),
            Some(Field::Rate) => line.push_str(&cells::rate(recent, figures.over_ns)),
            Some(Field::Reason) => {
                cells::reason(line, row, width);
                return row.key.reason.as_ref().map_or(Ink::Plain, |reason| reason.class.into());
            }
            Some(Field::Location) => cells::location(line, row, width),
            Some(Field::Owner) => cells::owner(line, row, width),
            Some(Field::Flow) => cells::flow(line, row, width),
            Some(Field::Details) => {
                let begin = line.len();
                cells::details(line, row);
                // The gap is there already.
                if line.len() > begin {
                    line.remove(begin);
                }
            }
            None => {}
        }
        Ink::Plain
    });
    ink::push_cut(out, line.trim_end(), columns);
    out.push(b'\n');
}
