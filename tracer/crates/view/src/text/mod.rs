//! The stream as text, in fixed columns; a line is as wide as the terminal without `--wide`.
//!
//! ```text
//! 12:01:02.123 connect         curl[4121]       10.0.0.1:* → 10.0.0.5:443
//! 12:01:02.124 established     curl[4121]       10.0.0.1:40000 → 10.0.0.5:443    1.2ms
//! 12:01:03.361 closed_local    curl[4121]       10.0.0.1:40000 → 10.0.0.5:443    1.24s ↑1.2MB ↓345B
//! ```
//!
//! The last line of a connection has its verdict in place of the kind.

mod details;
pub(super) mod ends;

use std::fmt::Write as _;
use std::io::{self, Write};

use tracer_stream::{Event, Finding, Kind, Owner, Role, Sink, Socket, Stack, Verdict};

use super::clock::{TimeOfDay, WallClock};
use super::escape;
use super::output::Output;
use super::owners::Owners;
use super::stack;
use crate::ink::Ink;
use crate::table::{Column, Layout};
use crate::terminal::Columns;
use crate::wrap::Paragraph;
use details::{Details, IcmpText};
use tracer_explain::numbers::Errno;

/// Columns of the word; the longest is `listener_closed`.
const KIND: usize = 15;
/// The column of the line about a drop's hint: under its word.
const HINT: usize = TimeOfDay::WIDTH + 1;
/// Columns of the process in a wide line: a `comm` of 15 characters and an id of 7 digits.
const WIDE_PROCESS: usize = 24;
/// Columns of the connection in a wide line: two IPv4 addresses with ports.
const WIDE_ENDS: usize = 45;
/// The least columns of connection and details: both ports, and an address that lost its middle.
const LEAST_TAIL: usize = 24;
/// Columns of the details where all line up.
const DETAILS: usize = 22;

/// The columns of a line's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    /// The whole line.
    line: usize,
    time: usize,
    process: usize,
    /// The connection, so that the details line up.
    ends: usize,
    /// Connection and details.
    tail: usize,
}

impl Parts {
    fn new(wide: bool, columns: Columns) -> Self {
        if wide {
            let (process, ends) = (WIDE_PROCESS, WIDE_ENDS);
            return Self { line: usize::MAX, time: TimeOfDay::WIDTH, process, ends, tail: usize::MAX };
        }
        let line = columns.get();
        let columns = [
            Column::text("", [TimeOfDay::SECONDS, TimeOfDay::WIDTH, TimeOfDay::WIDTH], 3),
            Column::text("", [KIND; 3], 3),
            // An id of 7 digits, and a letter of the name.
            Column::text("", [10, 16, WIDE_PROCESS], 2),
            Column::text("", [LEAST_TAIL, 54, usize::MAX], 1),
        ];
        let layout = Layout::new(&columns, line);
        let [time, _, process, tail] = [0, 1, 2, 3].map(|at| layout.width(at));
        Self { line, time, process, ends: tail.saturating_sub(DETAILS).clamp(DETAILS, WIDE_ENDS), tail }
    }

    /// The column behind the word.
    const fn behind_word(self) -> usize {
        self.time + 1 + KIND + 1
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Whether nothing is cut, and everything is shown.
    pub wide: bool,
    /// The columns of a line.
    pub columns: Columns,
    /// Whether times are in UTC.
    pub utc: bool,
    /// Whether to use colours.
    pub color: bool,
    /// Whether to show `open`: sockets older than the trace.
    pub open: bool,
    /// Whether to show the `close` of sockets still open at the end.
    pub open_at_end: bool,
    /// Whether to show harmless drops.
    pub quiet_drops: bool,
    /// Whether to show resets, which verdicts imply.
    pub resets: bool,
}

/// Returns the word for an event, and its ink.
fn word(kind: &Kind<'_>) -> (&'static str, Ink) {
    let ink = match kind {
        Kind::Finding(_) => Ink::Warning,
        Kind::Connect { errno: Some(_) } | Kind::Error { .. } | Kind::Bind { .. } | Kind::Lost { .. } => Ink::Failure,
        Kind::Established { .. } => Ink::Good,
        Kind::Open { .. } | Kind::State { .. } => Ink::Faint,
        Kind::Listen { .. } | Kind::Connect { .. } | Kind::Accept { .. } | Kind::Process(_) => Ink::Plain,
        Kind::Retransmit { .. } | Kind::Reset { .. } => Ink::Warning,
        Kind::Drop(drop) => drop.class.into(),
        Kind::Discard(_) => Ink::Failure,
        Kind::Close(close) => {
            let ink = match close.verdict {
                Verdict::ResetLocal | Verdict::ResetRemote | Verdict::TimedOut => Ink::Warning,
                verdict if verdict.is_failure() => Ink::Failure,
                _ if close.unanswered == Some(true) => Ink::Warning,
                _ => Ink::Faint,
            };
            return (if close.verdict == Verdict::Unknown { "closed" } else { close.verdict.name() }, ink);
        }
    };
    (kind.name(), ink)
}

/// Takes the stream and writes lines.
#[derive(Debug)]
pub struct TextSink<W> {
    output: Output<W>,
    clock: WallClock,
    time: TimeOfDay,
    options: TextOptions,
    parts: Parts,
    line: Vec<u8>,
    ends: Vec<u8>,
    details: Details,
    owners: Owners<String>,
}

impl<W: Write> TextSink<W> {
    /// Makes a sink that writes to `to`.
    pub fn new(to: W, clock: WallClock, options: TextOptions) -> Self {
        Self {
            output: Output::new(to),
            clock,
            time: TimeOfDay::new(options.utc),
            options,
            parts: Parts::new(options.wide, options.columns),
            line: Vec::new(),
            ends: Vec::new(),
            details: Details::default(),
            owners: Owners::default(),
        }
    }

    /// Writes the names of the columns.
    pub fn header(&mut self) {
        let Parts { time: width, process, ends, tail, .. } = self.parts;
        let time = match (self.options.utc, width < TimeOfDay::WIDTH) {
            (true, false) => "TIME (UTC)",
            (true, true) => "UTC",
            (false, _) => "TIME",
        };
        let details = if ends + " DETAILS".len() > tail { "" } else { "DETAILS" };
        let names = format!("{time:width$} {:KIND$} {:process$} {:ends$} {details}", "EVENT", "PROCESS", "CONNECTION");
        let names = format!("{}\n", names.trim_end());
        self.output.line().extend_from_slice(names.as_bytes());
    }

    /// Writes the gathered lines; the caller flushes after each batch of events.
    pub fn flush(&mut self) {
        self.output.flush();
    }

    /// Returns the error that ended the writing.
    pub fn error(&self) -> Option<&io::Error> {
        self.output.error()
    }

    /// Returns the number of printed events.
    pub fn printed(&self) -> u64 {
        self.output.printed()
    }

    /// Returns the writer.
    pub fn into_inner(self) -> W {
        self.output.into_inner()
    }

    fn hides(&self, kind: &Kind<'_>) -> bool {
        match kind {
            Kind::Open { .. } => !self.options.open,
            Kind::Close(close) => close.verdict == Verdict::OpenAtEnd && !self.options.open_at_end,
            Kind::Drop(drop) => drop.class.is_quiet() && !self.options.quiet_drops,
            Kind::Reset { .. } => !self.options.resets,
            _ => false,
        }
    }

    fn word(&mut self, kind: &Kind<'_>) {
        let (word, ink) = word(kind);
        let (begin, end) = ink.ends(self.options.color);
        for part in [begin, word, end] {
            self.line.extend_from_slice(part.as_bytes());
        }
        pad(&mut self.line, word.len(), KIND);
    }

    fn process(&mut self, owner: Option<&Owner>) {
        let columns = self.parts.process;
        match owner {
            Some(owner) => {
                let process = self.owners.written(owner, || process(owner, columns));
                self.line.extend_from_slice(process.as_bytes());
            }
            None => {
                self.line.push(b'-');
                pad(&mut self.line, 1, columns);
            }
        }
    }

    /// Appends the connection and the details in the rest of the line. The details line up, unless
    /// moving them makes room for a whole address. If that is not enough, the local address goes, then
    /// the middle of the remote one, then the last details. Ports stay.
    fn tail(&mut self, socket: &Socket<'_>, least_ends: usize) {
        let Parts { ends, tail, .. } = self.parts;
        let details = self.details.width();
        let room = tail.saturating_sub(details + usize::from(details > 0));
        self.ends.clear();
        let mut used = ends::whole(&mut self.ends, socket);
        if used > room {
            let mut short = String::new();
            ends::short(&mut short, socket, room.max(least_ends.min(tail)));
            used = escape::width(&short);
            self.ends.clear();
            self.ends.extend_from_slice(short.as_bytes());
        }
        self.line.extend_from_slice(&self.ends);
        if details > 0 {
            let begin = ends.min(room).max(used);
            pad(&mut self.line, used, begin);
            self.line.push(b' ');
            self.details_in(tail.saturating_sub(begin + 1));
        }
    }

    /// Appends the details that fit into `columns`; all of them in a line below, if none does.
    fn details_in(&mut self, columns: usize) {
        match self.details.cut(columns) {
            [] if self.details.width() > 0 => {
                let details = String::from_utf8_lossy(self.details.cut(usize::MAX)).into_owned();
                self.below(&details);
            }
            details => self.line.extend_from_slice(details),
        }
    }

    /// Appends a sentence instead of the columns, in as many lines as it takes.
    fn finding(&mut self, finding: &Finding) {
        let first = self.parts.behind_word();
        let (mut text, mut lines) = (String::new(), String::new());
        escape::push(&mut text, &finding.text);
        Paragraph { first, rest: first, columns: self.parts.line }.push(&mut lines, &text);
        self.line.extend_from_slice(lines.as_bytes());
        self.line_done(None);
    }

    /// Appends a hint in a line below.
    fn hint(&mut self, text: &str) {
        let mut escaped = String::new();
        escape::push(&mut escaped, text);
        self.below(&escaped);
    }

    /// Appends a line below, with text that is already escaped.
    fn below(&mut self, text: &str) {
        while self.line.last() == Some(&b' ') {
            self.line.pop();
        }
        self.line.push(b'\n');
        pad(&mut self.line, 0, HINT);
        let room = self.parts.line.saturating_sub(HINT + 2);
        let mut shown = String::from("└ ");
        escape::push_cut_plain(&mut shown, text, room);
        self.line.extend_from_slice(shown.as_bytes());
    }

    fn line_done(&mut self, stack: Option<&Stack>) {
        let out = self.output.line();
        out.extend_from_slice(self.line.trim_ascii_end());
        out.push(b'\n');
        if let Some(stack) = stack {
            let _ = stack::append(out, stack, self.parts.line);
        }
        self.output.line_done();
    }

    fn wide_tail(&mut self, socket: &Socket<'_>, kind: &Kind<'_>) {
        self.details.wide(socket, kind);
        let used = ends::whole(&mut self.line, socket);
        pad(&mut self.line, used, self.parts.ends);
        self.line.push(b' ');
        self.line.extend_from_slice(self.details.cut(usize::MAX));
    }
}

impl<W: Write> Sink for TextSink<W> {
    fn event(&mut self, event: &Event<'_>) {
        if self.hides(&event.kind) {
            return;
        }
        self.line.clear();
        self.time.write(&mut self.line, self.clock.wall_ns(event.boot_ns));
        // A narrow line has no room for milliseconds.
        self.line.truncate(self.parts.time);
        self.line.push(b' ');
        self.word(&event.kind);
        self.line.push(b' ');
        if let Kind::Finding(finding) = event.kind {
            return self.finding(finding);
        }
        self.process(match event.kind {
            Kind::Process(process) => Some(process),
            _ => event.socket.as_ref().and_then(|socket| socket.owner),
        });
        self.line.push(b' ');
        self.details.of(&event.kind, self.options.wide);
        let tail = self.parts.tail;
        let ends_of_packet = ends_of_packet(event);
        match ends_of_packet.as_ref().or(event.socket.as_ref()) {
            Some(socket) if self.options.wide => self.wide_tail(socket, &event.kind),
            // Two names of states take more room than other details, and need each other.
            Some(socket) => {
                self.tail(socket, if matches!(event.kind, Kind::State { .. }) { 26 } else { self.parts.ends })
            }
            None if matches!(event.kind, Kind::Process(_)) => self.details.append_cut(&mut self.line, tail),
            None => self.details_in(tail),
        }
        if let Kind::Drop(drop) = event.kind
            && let Some(hint) = &drop.hint
        {
            self.hint(&hint.text);
        }
        if let Kind::Close(close) = event.kind
            && let (Some(icmp), Some(errno), false) = (close.icmp, close.errno, self.options.wide)
        {
            self.hint(&format!("{} ({})", Errno(errno), IcmpText(icmp)));
        }
        self.line_done(match event.kind {
            Kind::Drop(drop) => Some(&drop.stack),
            _ => None,
        });
    }
}

/// Returns the ends of a dropped packet: from its source to its destination, whichever is local.
fn ends_of_packet<'a>(event: &Event<'a>) -> Option<Socket<'a>> {
    let Kind::Drop(drop) = event.kind else { return None };
    let ends = drop.ends?;
    Some(Socket {
        laddr: Some(ends.saddr),
        lport: ends.sport,
        raddr: Some(ends.daddr),
        rport: ends.dport,
        role: Role::Client,
        ..event.socket?
    })
}

/// Formats name and id in `columns`, with the name cut to fit.
fn process(owner: &Owner, columns: usize) -> String {
    let mut text = String::new();
    let id = 2 + owner.pid.checked_ilog10().map_or(1, |digits| digits as usize + 1);
    let used = escape::push_cut(&mut text, &owner.comm, columns.saturating_sub(id));
    // Writing to a String does not fail.
    let _ = write!(text, "[{}]{:rest$}", owner.pid, "", rest = columns.saturating_sub(id + used));
    text
}

fn pad(out: &mut Vec<u8>, used: usize, columns: usize) {
    out.resize(out.len() + columns.saturating_sub(used), b' ');
}

#[cfg(test)]
mod tests;
