//! Rows as text.

use std::fmt::Write as _;

use super::aggregate::{Aggregate, By, Discarded, Row};
use super::{
    super::{
        escape, stack,
        text::drop_sequence,
        unit::{Count, Micros},
    },
    Size, cells,
};
use tracer_stream::Endpoint;

/// Columns of a line without `--wide`.
pub const COLUMNS: usize = 100;
const COUNT: usize = 9;
const RATE: usize = 7;
/// The most lines of counters; `--json` has all.
const MOST_DISCARDS: usize = 5;

/// How the table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether lines may have more than 100 columns: nothing is cut.
    pub wide: bool,
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

/// Columns of the shown cells; the last cell takes the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Widths {
    reason: usize,
    location: usize,
    owner: usize,
    flow: usize,
}

impl Widths {
    /// Divides a line of `columns`.
    fn new(by: By, wide: bool, columns: usize) -> Self {
        let (reason, location, owner, flow) = match (wide, by.flow) {
            (true, _) => (26, 34, 24, 54),
            (false, true) => (18, 16, 15, 0),
            (false, false) => (26, 30, 24, 0),
        };
        // The three share the columns that a narrow terminal lacks.
        let lacking = if wide { 0 } else { COLUMNS.saturating_sub(columns).div_ceil(3).min(8) };
        let (reason, location, owner) = (reason - lacking, location - lacking, owner - lacking);
        // The flow gets the room of hidden columns.
        let used = [(by.reason, reason), (by.location, location), (by.owner, owner)];
        let used: usize = used.iter().filter(|(shown, _)| *shown).map(|(_, columns)| columns + 1).sum();
        let left = columns.min(COLUMNS).saturating_sub(COUNT + 1 + RATE + 1 + used);
        Self { reason, location, owner, flow: if wide { flow } else { left } }
    }
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
    let room = match (size, &figures.time) {
        (Some(size), Some(_)) => size.columns,
        _ => usize::MAX,
    };
    let columns = if options.wide { room } else { room.min(COLUMNS) };
    let plain = |out: &mut Vec<u8>, text: &str| {
        let mut line = String::new();
        escape::push_cut_plain(&mut line, text.trim_end(), columns);
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    };
    plain(out, &totals(aggregate, figures));
    let discards = aggregate.discards();
    for row in discards.iter().take(MOST_DISCARDS) {
        plain(out, &discarded(row));
    }
    let above = 1 + discards.len().min(MOST_DISCARDS);
    if rows.is_empty() {
        return above;
    }
    let widths = Widths::new(aggregate.by(), options.wide, columns);
    plain(out, &header(aggregate.by(), widths));
    let mut lines = above + 1;
    // With `--rows` the final table shows them all, even beyond the terminal.
    let most_lines = size.filter(|_| figures.time.is_some() || options.rows.is_none()).map(|size| size.lines);
    let mut shown = 0;
    let mut block = Vec::new();
    for row in rows.iter().take(options.rows.unwrap_or(usize::MAX)) {
        block.clear();
        write_row(&mut block, row, aggregate.by(), widths, options, figures, columns);
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

fn header(by: By, widths: Widths) -> String {
    let mut line = format!("{:>COUNT$} {:>RATE$} ", "PACKETS", "/S");
    for (shown, name, columns) in [
        (by.reason, "REASON", widths.reason),
        (by.location, "LOCATION", widths.location),
        (by.owner, "OWNER", widths.owner),
        (by.flow, "FLOW", 0),
    ] {
        if shown {
            let _ = write!(line, "{name:columns$} ");
        }
    }
    line
}

fn write_row(
    out: &mut Vec<u8>,
    row: &Row,
    by: By,
    widths: Widths,
    options: &TableOptions,
    figures: &Figures,
    columns: usize,
) {
    let recent = if figures.time.is_some() { row.recent } else { row.count };
    let mut line = format!("{:>COUNT$} {:>RATE$} ", Count(row.count), cells::rate(recent, figures.over_ns));
    let word = line.len();
    let mut end = word;
    let cell = |line: &mut String, columns: usize, write: fn(&mut String, &Row, usize)| {
        let begin = line.len();
        write(line, row, if options.wide { usize::MAX } else { columns });
        let written = line.len();
        let used = escape::width(line.get(begin..).unwrap_or_default());
        line.extend(std::iter::repeat_n(' ', columns.saturating_sub(used) + 1));
        written
    };
    if by.reason {
        end = cell(&mut line, widths.reason, cells::reason);
    }
    if by.location {
        cell(&mut line, widths.location, cells::location);
    }
    if by.owner {
        cell(&mut line, widths.owner, cells::owner);
    }
    if by.flow {
        cell(&mut line, widths.flow, cells::flow);
    }
    if options.wide {
        line.pop();
        cells::details(&mut line, row);
    }
    let mut cut = String::new();
    escape::push_cut_plain(&mut cut, line.trim_end(), columns);
    let sequence = row.key.reason.as_ref().map_or("", |reason| drop_sequence(reason.class));
    match (cut.get(..word), cut.get(word..end), cut.get(end..)) {
        (Some(before), Some(name), Some(after)) if options.color && !sequence.is_empty() => {
            for part in [before, sequence, name, "\x1b[0m", after] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        _ => out.extend_from_slice(cut.as_bytes()),
    }
    out.push(b'\n');
}
